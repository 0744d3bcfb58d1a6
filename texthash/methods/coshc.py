"""CoSHC: code search whose candidates are found by hashing, as many from each category as the question makes likely.

towers     e_q, e_d of a question and a document (:mod:`texthash.methods.towers`), trained first and then frozen
target     S~ = beta cos(e_d, e_d) + (1 - beta) cos(e_q, e_q),  S = (1 - eta) S~ + eta S~ S~^T / B,  S_ii = 1,
           T = min(mu S, 1)
networks   H = A_3 tanh(A_2 tanh(A_1 e)), one for questions and one for documents;  B = tanh(alpha H), alpha = 1 + epoch
loss       |T - B_q B_d^T / m|^2  +  w |T - B_d B_d^T / m|^2  +  w |T - B_q B_q^T / m|^2,  means over pairs of a batch
           + the cross entropy of softmax(C e_q) and the category of the answer
categories k-means of the training documents' e_d; a document has that of the nearest mean
bits       1[H > 0]
search     1 + floor(p_i (N - k)) candidates of category i by Hamming distance, N in all
           (and one more of those with the largest fractions, until they are N), ordered by the cosine of e_q, e_d;
           tables of retrieval have it as a row (:mod:`texthash.experiments.retrieval.towers`); an index keeps the
           category of a document as an attribute (:mod:`texthash.methods.categorizer`), and searches the codes of all
           documents, or of those that a filter on it keeps
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch, batches
from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.inputs import OF_TEXT
from texthash.errors import UsageError
from texthash.methods.base import Card, ClosedForm, Printed, Progress, Role, Stage
from texthash.methods.towers import FrozenTowers
from texthash.nn.code_similarity import joint_similarity, similarity_error
from texthash.nn.encoders import xavier_linear
from texthash.nn.quantization import scaled_tanh
from texthash.nn.spaces import LogUniform, Uniform

_SEED, _ROWS = 0, 1024


class CoSHC(FrozenTowers):
    """Code search with deep hashing and code classification."""

    card = Card(
        name="coshc",
        title="Accelerating Code Search with Deep Hashing and Code Classification",
        venue="ACL'2022",
        survey_entry=8,
        tags=("SFR", "Quan(STanh)"),
        citation="Gu et al., 2022, arXiv:2203.15287",
        inputs_needed=frozenset({"pairs"}),
        supervision="pairs",
        fidelity="reconstructed",
        deviations=(
            "built from a re-implementation by others (kenho211/CoSHC), which cites the equations of the paper",
            "the model that is searched is two linear maps of words or of a frozen sentence encoder, not CodeBERT",
            "the categories of questions are learned beside the hash, from the category of the answer by k-means",
            "the loss is a mean over the pairs of a batch of 128, not a sum, of any size",
        ),
        serving_mode="hamming+rerank",
        paper=Printed(
            "the paper as cited by a re-implementation (kenho211/CoSHC)",
            {"categories": 10, "share": 0.6, "second_order": 0.4, "stretch": 1.5, "own_weight": 0.1, "epochs": 10},
        ),
    )
    search_space = {
        **FrozenTowers.search_space,
        "share": Uniform(0.0, 1.0),
        "second_order": Uniform(0.0, 1.0),
        "stretch": LogUniform(0.5, 4.0),
    }

    categories: int = Field(10, ge=2, description="Number k of categories.")
    share: float = Field(0.6, ge=0, le=1, description="Share beta of the documents in the similarity of two pairs.")
    second_order: float = Field(0.4, ge=0, le=1, description="Share eta of the similarity of second order.")
    stretch: float = Field(1.5, gt=0, description="Factor mu of the similarity, which is cut at 1.")
    own_weight: float = Field(0.1, ge=0, description="Weight w of two questions, and of two documents.")

    means: Tensor

    def make_layers(self) -> None:
        super().make_layers()
        self.query_network, self.document_network = self._network(), self._network()
        self.category_head = xavier_linear(self.width, self.categories)
        self.register_buffer("means", torch.zeros(self.categories, self.width))

    def stages(self) -> Sequence[Stage]:
        *towers, hashing = super().stages()
        return (*towers, ClosedForm("categories", self.cluster), hashing)

    @torch.no_grad()
    def cluster(self, train: Split) -> None:
        """Set the means of the categories, at length 1, by k-means of the training documents."""
        from sklearn.cluster import KMeans  # slow to import

        was_training = self.training
        self.eval()
        device = self.means.device
        documents = batches(train, _ROWS, self.inputs.only(OF_TEXT))
        vectors = torch.cat([self.encoded(batch.to(device), "document").cpu() for batch in documents])
        self.train(was_training)
        found = KMeans(self.categories, n_init=3, random_state=_SEED).fit(F.normalize(vectors, dim=1).numpy())
        self.means.copy_(F.normalize(torch.from_numpy(found.cluster_centers_).float(), dim=1))

    def category(self, vectors: Tensor) -> Tensor:
        """Return the category of documents of these e_d [B, width], int64 [B]."""
        return (F.normalize(vectors, dim=1) @ self.means.T).argmax(dim=1)

    def document_categories(self, batch: Batch) -> Tensor:
        """Return the category of each document, int64 [B]."""
        return self.category(self.encoded(batch, "document"))

    def category_probabilities(self, vectors: Tensor) -> Tensor:
        """Return the probability of each category of the answer, [B, k], of questions of these e_q [B, width]."""
        return torch.softmax(self.category_head(vectors), dim=1)

    def quotas(self, vectors: Tensor, total: int) -> NDArray[np.int64]:
        """Return the number of candidates of each category for questions of these e_q, int64 [B, k], N in all.

        Args:
            vectors: e_q of the questions, [B, width].
            total: Number N of candidates of a question.
        """
        with torch.inference_mode():
            shares = self.category_probabilities(vectors.to(self.means.device))
        return quotas(shares.cpu().numpy(), total)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        questions, documents = (progress.workers.gather(side) for side in self.frozen(batch))
        target = self.stretch * joint_similarity(documents, questions, self.share, self.second_order)
        target = target.clamp(max=1)
        scale = 1.0 + progress.epoch
        b_q = scaled_tanh(self.query_network(questions), scale)
        b_d = scaled_tanh(self.document_network(documents), scale)
        own = similarity_error(b_d, b_d, target) + similarity_error(b_q, b_q, target)
        return {
            "pairs": similarity_error(b_q, b_d, target),
            "own": self.own_weight * own,
            "categories": F.cross_entropy(self.category_head(questions), self.category(documents)),
        }

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        network = self.query_network if role == "query" else self.document_network
        return network(self.encoded(batch, role))

    def _network(self) -> nn.Sequential:
        sizes = [(self.width, self.width), (self.width, self.width), (self.width, self.bits)]
        first, second, last = (xavier_linear(*size) for size in sizes)
        return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), last)


def quotas(shares: NDArray[np.floating], total: int) -> NDArray[np.int64]:
    """Divide candidates over categories: R_i = 1 + floor(p_i (N - k)), and the rest to the largest fractions.

    Args:
        shares: Share p_i of each category, [B, k]; a row sums to 1.
        total: Number N of candidates.

    Returns:
        Number of candidates of each category, int64 [B, k], whose sum is N.

    Raises:
        UsageError: There are fewer candidates than categories, or a share is negative or not finite.
    """
    categories = shares.shape[1]
    if total < categories:
        raise UsageError(
            f"{total} candidates cannot be divided over {categories} categories.", f"ask for {categories} or more."
        )
    if not (np.isfinite(shares).all() and (shares >= 0).all()):
        raise UsageError("a share of a category is negative or not finite.", "give probabilities.")
    exact = shares.astype(np.float64) / shares.sum(axis=1, keepdims=True) * (total - categories)
    whole = np.floor(exact).astype(np.int64)
    left = total - categories - whole.sum(axis=1)
    order = np.argsort(whole - exact, axis=1, kind="stable")  # the largest fraction first
    place = np.argsort(order, axis=1)
    return 1 + whole + (place < left[:, None])
