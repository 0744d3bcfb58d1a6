"""HAS: an answer is kept as a matrix of bits, one row a word, which a question reads by attention.

words      x_t = E_{w_t} of the words in their order, E starting at vectors of their co-occurrence; or the vectors of
           word pieces of a frozen sentence encoder
rows       U = [ReLU(conv_w(x))] W + b in R^{T x L}, windows w = 1, 3, 5: of questions and answers alike
answer     B = tanh(beta U) in training, sgn(U) after it: T x L bits
question   v_q = mean_t U_t, real
attention  a_t = softmax_t( w . tanh(W_1 B_t + W_2 v_q) ),   v_a = sum_t a_t B_t
score      s(q, a) = cos(v_q, v_a)
loss       J = max(0, m - s(q, a+) + s(q, a-)) + delta || B - sgn(B) ||_F^2,  a- the answer of the highest score among a
           hard negative and answers of other questions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.embeddings.sources import gives_token_vectors
from texthash.corpora.prepared.embeddings.token_vectors import token_width
from texthash.errors import UsageError
from texthash.hamming.codes import pack, unpack
from texthash.io.ragged import indptr_of
from texthash.methods.base import Card, ClosedForm, GradientStage, Optimizers, Progress, Role, Stage
from texthash.methods.paired import PairedMethod
from texthash.methods.reranker import TokenCodes
from texthash.methods.token_method import fit_projection
from texthash.nn.encoders import xavier_linear
from texthash.nn.passages import triplet_hinge
from texthash.nn.quantization import quantization_loss, scaled_tanh
from texthash.nn.spaces import Choice, LogUniform, Uniform
from texthash.nn.tokens import TokenConvolution, TokenProjection, masked_mean
from texthash.nn.word_vectors import cooccurrences, positive_information, word_vectors

_CONTEXT = 5  # distance up to which words co-occur
_DOCUMENTS = 256  # documents that are scored at a time


class HAS(PairedMethod):
    """Attention of a question to the bits of the words of an answer."""

    card = Card(
        name="has",
        title="Hashing based Answer Selection",
        venue="AAAI'2020",
        survey_entry=24,
        tags=("SFR", "Quan", "Quan(STanh)"),
        citation="Xu & Li, 2020, arXiv:1905.10718",
        inputs_needed=frozenset({"pairs"}),
        supervision="pairs",
        fidelity="reconstructed",
        deviations=(
            "reconstructed from the abstract and a summary; the form of the attention, the pooling of the question and "
            "the choice of wrong answers are not known",
            "convolutions of word vectors, or of the word pieces of a frozen sentence encoder, not a BERT that is "
            "trained",
            "a wrong answer is the best scored of a negative by BM25 and of answers of other questions in the batch; "
            "another known answer is none",
        ),
        serving_mode="rerank_only",
    )
    search_space = {
        "learning_rate": LogUniform(3e-4, 3e-3),
        "scale": Choice(1.0, 2.0, 5.0, 10.0),
        "sign_weight": LogUniform(1e-6, 1e-3),
        "margin": Uniform(0.05, 0.3),
        "batch_size": Choice(32, 64, 128),
    }

    input: Literal["words", "pieces"] = Field(
        "words", description="What is read in its order: words, or word pieces by the encoder of corpus.features."
    )
    embedding: int = Field(100, ge=1, description="Width of the vectors of words.")
    filters: int = Field(64, ge=1, description="Number of filters of each of the three windows.")
    length: int = Field(64, ge=1, description="Number T of words, or word pieces, after which a text is truncated.")
    scale: float = Field(2.0, gt=0, description="Scale beta of the tanh that stands for the sign in training.")
    sign_weight: float = Field(1e-5, ge=0, description="Weight delta of the distance from the signs.")
    margin: float = Field(0.1, ge=0, description="Margin m of the scores.")
    candidates: int = Field(20, ge=1, description="Number of wrong answers of which the best scored is learned from.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of Adam.")
    epochs: int = Field(15, ge=1, description="Passes over the pairs.")
    batch_size: int = Field(64, ge=1, description="Pairs in a batch.")

    def make_layers(self) -> None:
        encoder, width = self.shape.encoder, self.embedding
        if self.input == "words":
            self.words = nn.Parameter(0.1 * torch.randn(self.shape.vocabulary, self.embedding))
        elif encoder is None or not gives_token_vectors(encoder):
            raise UsageError(
                f"method.params.input=pieces: has reads vectors of word pieces, and the corpus has "
                f"{'none' if encoder is None else f'vectors by {encoder}, one a document'}.",
                "set corpus.features to a sentence encoder that is computed here, such as minilm; or input=words.",
            )
        else:
            width = token_width(self.shape.dense)
            self.projection = TokenProjection(self.shape.dense, width)
        read = frozenset({"tokens" if self.input == "words" else "token_vectors"})
        self.inputs = replace(self.inputs.also(read), max_length=self.length)
        self.convolution = TokenConvolution(width, self.filters, (1, 3, 5))
        self.rows = xavier_linear(self.convolution.width, self.bits)
        self.of_bits, self.of_question = (xavier_linear(self.bits, self.bits) for _ in range(2))
        self.attention = nn.Linear(self.bits, 1, bias=False)

    @property
    def reads_words(self) -> bool:
        return self.input == "words"

    # -- fitting ----------------------------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        start = ("word vectors", self.start_words) if self.input == "words" else ("word pieces", self.set_projection)
        train = GradientStage("train", self.optimizers, self.epochs, self.batch_size, self.step)
        return (ClosedForm(*start), train)

    def start_words(self, train: Split) -> None:
        """Start the vectors of words at those of their co-occurrence, scaled to a mean square of 1."""
        counts = cooccurrences(*train.tokens, self.shape.vocabulary, _CONTEXT)
        vectors = word_vectors(positive_information(counts), self.embedding)
        size = float(np.sqrt(np.square(vectors).mean())) or 1.0
        with torch.no_grad():
            self.words.copy_(torch.from_numpy(vectors / size))

    def set_projection(self, train: Split) -> None:
        """Set the components to which the vectors of the corpus are reduced."""
        fit_projection(self.projection, train, self.shape.encoder or "")

    def optimizers(self) -> Optimizers:
        return {"main": torch.optim.Adam(self.parameters(), lr=self.learning_rate)}

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        query, *documents = self.sides(batch)
        gather = progress.workers.gather
        questions = gather(self.activations(query))
        sides = [self.padded(*self.token_rows(side)) for side in documents]
        bits = torch.cat([gather(scaled_tanh(rows, self.scale)) for rows, _ in sides])
        mask = torch.cat([gather(mask.to(bits.dtype)) for _, mask in sides]) > 0
        chosen, found = self.hardest(questions, bits, mask, self.answering(batch, progress.workers))
        own = torch.arange(len(questions), device=bits.device)
        right, wrong = self.cosines(questions, bits, mask, torch.stack([own, chosen], dim=1)).unbind(dim=1)
        errors = quantization_loss(bits.flatten(0, 1)).view(mask.shape) * mask
        return {
            "ranking": triplet_hinge(right, wrong.masked_fill(~found, -torch.inf), self.margin),
            "signs": self.sign_weight * errors.sum(dim=1).mean(),
        }

    def hardest(self, questions: Tensor, bits: Tensor, mask: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the wrong answer of each question with the highest score, and whether there is any, [B] each.

        Among its hard negative, and the answers of the questions that follow it in the batch.

        Args:
            questions: v_q [B, L].
            bits: B of the answers, then of the hard negatives, [2 B, T, L].
            mask: Mask of their words, [2 B, T].
            answers: Mask of the documents that answer a question, bool [B, 2 B].
        """
        count = len(questions)
        own = torch.arange(count, device=bits.device)[:, None]
        following = torch.arange(1, min(self.candidates, count), device=bits.device)
        places = torch.cat([own + count, (own + following) % count], dim=1)
        wrong = ~answers.gather(1, places)
        with torch.no_grad():
            scores = self.cosines(questions, bits, mask, places).masked_fill(~wrong, -torch.inf)
        return places.gather(1, scores.argmax(dim=1, keepdim=True))[:, 0], wrong.any(dim=1)

    # -- layers -----------------------------------------------------------------------------------------------

    def token_rows(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return U [B, T, L] and the mask of its rows [B, T]."""
        if self.input == "words":
            assert batch.tokens is not None
            assert batch.mask is not None
            vectors, mask = F.embedding(batch.tokens, self.words), batch.mask
        else:
            assert batch.token_vectors is not None
            assert batch.token_mask is not None
            vectors, mask = self.projection(batch.token_vectors), batch.token_mask
        return self.rows(self.convolution(vectors, mask)), mask

    def padded(self, rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows and mask with ``length`` rows a text, so that those of several batches can be joined."""
        more = self.length - mask.shape[1]
        return F.pad(rows, (0, 0, 0, more)), F.pad(mask, (0, more))

    def cosines(self, questions: Tensor, bits: Tensor, mask: Tensor, places: Tensor) -> Tensor:
        """Return s of each question with chosen documents, [B, C].

        Args:
            questions: v_q [B, L].
            bits: B of D documents [D, T, L].
            mask: Mask of their rows [D, T].
            places: Numbers of the documents of each question, int64 [B, C].
        """
        answers = self.answer_vectors(questions, bits, mask, places)
        return (F.normalize(questions, dim=1)[:, None] * F.normalize(answers, dim=2)).sum(dim=2)

    def answer_vectors(self, questions: Tensor, bits: Tensor, mask: Tensor, places: Tensor) -> Tensor:
        """Return v_a of chosen documents as each question reads them, [B, C, L]; 0 of a document without words."""
        asked = self.of_question(questions)[:, None, None]
        scores = self.attention(torch.tanh(self.of_bits(bits)[places] + asked))[..., 0]
        exists = mask[places]
        weights = torch.softmax(scores.masked_fill(~exists, torch.finfo(scores.dtype).min), dim=2) * exists
        return torch.einsum("bct,bctl->bcl", weights, bits[places])

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        """Return the mean row of each text, [B, bits]: v_q of a question.

        Its signs are one code of a document, with which the matrix is compared; no score uses them.
        """
        return masked_mean(*self.token_rows(batch))

    # -- re-ranking -------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def token_codes(self, batch: Batch) -> TokenCodes:
        """Return sgn(U) of documents, L bits a word."""
        rows, mask = self.token_rows(batch)
        return TokenCodes(indptr_of(mask.sum(dim=1).cpu().numpy()), pack((rows[mask] > 0).cpu().numpy()))

    @torch.inference_mode()
    def scores(self, query: Batch, document: TokenCodes) -> Tensor:
        """Return s of Q questions with D documents each, float32 [Q, D]."""
        questions = self.activations(query)
        scores = questions.new_zeros(len(questions), len(document))
        for start in range(0, len(document), _DOCUMENTS):
            some = document.take(np.arange(start, min(start + _DOCUMENTS, len(document))))
            bits, mask = (tensor.to(questions.device) for tensor in self.signs(some))
            places = torch.arange(len(some), device=bits.device)[None]
            for number, question in enumerate(questions):
                scores[number, start : start + len(some)] = self.cosines(question[None], bits, mask, places)[0]
        return scores

    def signs(self, document: TokenCodes) -> tuple[Tensor, Tensor]:
        """Return B [D, T, L] in {-1, 1}, 0 beyond a document, and the mask of its rows [D, T]."""
        lengths = np.diff(document.indptr)
        mask = torch.from_numpy(np.arange(max(1, int(lengths.max(initial=0)))) < lengths[:, None])
        bits = torch.zeros(*mask.shape, self.bits)
        bits[mask] = torch.from_numpy(2.0 * unpack(document.codes).astype(np.float32) - 1)
        return bits, mask
