"""MASH: few bits that keep the similarities of many, balanced over the whole corpus.

encoder    l = tanh(h(x) A + a) in (-1, 1)^128, h: V -> H -> H with ReLU and dropout;  z = tanh(l C + c) in (-1, 1)^m
decoder    p(w | z) = softmax(z W + b)_w
loss       - sum_{w in x} x_w log p(w | z)  +  w_rp L_rp(z, l)  +  [ w_bb L_bb(z, E) + w_bd L_bd(z, E) ]
balance    E holds the signs of each document's last z; the bracket counts from ``balance_from`` of training on
bits       1[z_j > median of z_j over the training documents]

L_rp is in :mod:`texthash.nn.few_bit`; L_bb, L_bd and E are in :mod:`texthash.nn.balance`.

Words count by their tf-idf weight x_w, as in the authors' code (``word_weights=input``). If each distinct word counts
once, the reconstruction is 13 times as large beside the other terms: P@100 on validation (20 Newsgroups, random60, 32
bits, best of 30 epochs, one seed) is .500 then, and .515 with the weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import Split
from texthash.methods.base import Card, Printed, Progress, Role, sum_terms
from texthash.methods.generative import BagAutoencoder, WeighsWords
from texthash.nn.balance import ExemplarMemory, memory_bit_balance, memory_decorrelation
from texthash.nn.binarizers import MedianBinarizer
from texthash.nn.decoders import SoftmaxDecoder
from texthash.nn.encoders import xavier_linear
from texthash.nn.few_bit import relevance_propagation
from texthash.nn.spaces import LogUniform, Uniform

PAPER = Printed(
    "the authors' code (hly1998/SMASH), its defaults",
    {
        "hidden": 1000,
        "layers": 2,
        "dropout": 0.1,
        "long_bits": 128,
        "relevance": 0.5,
        "bit_balance": 1.0,
        "decorrelation": 0.01,
        "memory_alpha": 0.5,
        "learning_rate": 1e-3,
        "epochs": 30,
        "batch_size": 128,
        "weighting": "tfidf",
        "word_weights": "input",
    },
)


class MASH(WeighsWords, BagAutoencoder):
    """Relevance propagation and balance over the corpus, without noise."""

    memory: ExemplarMemory
    training_only = frozenset({"memory"})
    card = Card(
        name="mash",
        title="An Efficient and Robust Semantic Hashing Framework for Similar Text Search (without noise, MASH)",
        venue="TOIS'2023",
        survey_entry=5,
        tags=("Rec", "CB", "FE", "Quan(Tanh)"),
        citation="He et al., 2023, doi:10.1145/3570725",
        fidelity="code",
        deviations=(
            "the learning rate is constant; the code multiplies it by 0.96 every 5,000 steps",
            "the balance terms count from a fixed share of training on; the code waits until precision on its test "
            "queries has stayed below its best for 5 epochs",
            "the memory is written with every batch; the code stops writing between epoch 10 and that moment",
            "L_max of the memory is the largest loss of a batch, not of an epoch's mean",
            "the decoder's bias starts at the log frequencies of the words",
        ),
        paper=PAPER,
    )
    search_space = {
        **BagAutoencoder.search_space,
        "learning_rate": LogUniform(5e-4, 5e-3),
        "relevance": LogUniform(0.1, 300.0),
        "bit_balance": LogUniform(1e-3, 1.0),
        "decorrelation": LogUniform(1e-3, 10.0),
        "balance_from": Uniform(0.1, 0.9),
    }

    hidden = 1000
    dropout = 0.1
    learning_rate = 1e-3
    word_weights = "input"
    epochs = 30
    batch_size = 128
    long_bits: int = Field(128, ge=1, description="Width of the longer code l.")
    relevance: float = Field(0.5, ge=0, description="Weight w_rp of relevance propagation.")
    bit_balance: float = Field(1.0, ge=0, description="Weight w_bb of the balance of bits.")
    decorrelation: float = Field(0.01, ge=0, description="Weight w_bd of the decorrelation of bits.")
    balance_from: float = Field(
        0.5, ge=0, le=1, description="Share of training after which the balance terms are added."
    )
    memory_alpha: float = Field(
        0.5, ge=0, le=1, description="Share of an epoch for which signs in the memory stay valid at the start."
    )

    def make_layers(self) -> None:
        super().make_layers()
        self.long = xavier_linear(self.hidden, self.long_bits)
        self.short = xavier_linear(self.long_bits, self.bits)
        self.decoder = SoftmaxDecoder(self.bits, self.shape.vocabulary)
        self.binarizer = MedianBinarizer(self.bits)

    def setup(self, train: Split) -> None:
        memory = ExemplarMemory(len(train), self.bits, self.memory_alpha)
        self.memory = memory.to(self.binarizer.thresholds.device)

    def codes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the code z [B, m] and the longer code l [B, 128] of each document."""
        long = torch.tanh(self.long(self.encoder(batch)))
        return torch.tanh(self.short(long)), long

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        short, long = self.codes(batch)
        terms = {**self.meaning(batch, short, long, progress), **self.label_term(short, batch, progress)}
        return {**terms, **self.balance(batch, short, sum_terms(terms), progress)}

    def meaning(self, batch: Batch, short: Tensor, long: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the terms of reconstruction and relevance for the codes z and l."""
        return {
            "reconstruction": -self.word_likelihood(self.decoder(short), batch).mean(),
            "relevance": self.relevance * self.propagation(short, long, progress),
        }

    def propagation(self, short: Tensor, long: Tensor, progress: Progress) -> Tensor:
        """Return L_rp over the documents of all workers."""
        return relevance_propagation(progress.workers.gather(short), progress.workers.gather(long))

    def balance(self, batch: Batch, short: Tensor, loss: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Write the codes of all workers to the memory; return the terms of balance, once they are added."""
        codes, rows = progress.workers.gather(short), progress.workers.gather(batch.rows)
        self.memory.write(rows, codes, progress.step)
        recent = self.memory.recent(progress.step, period=len(self.memory.seen) / len(rows))
        self.memory.record_loss(progress.workers.mean(loss))
        if progress.fraction < self.balance_from:
            return {}
        return {
            "bit_balance": self.bit_balance * memory_bit_balance(codes, recent),
            "decorrelation": self.decorrelation * memory_decorrelation(codes, recent),
        }

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.codes(batch)[0]
