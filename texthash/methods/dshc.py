"""DSHC: hashing of contexts and responses by two autoencoders over the vectors of trained towers.

towers     e_c, e_r of a context and a response (:mod:`texthash.methods.towers`), trained first and then frozen
encoders   h = E_2 drop(LReLU(E_1 e)),  e^ = D_2 drop(LReLU(D_1 h)):  one for contexts, another for responses
preserve   L_p = mean_i ||e^_ci - e_ci|| + mean_i ||e^_ri - e_ri||
quantise   L_q = mean_i ||h_ci - sgn(h_ci)|| + mean_i ||h_ri - sgn(h_ri)||
hash       L_h = || H_c H_r^T - m I ||_F over the batch: m for a pair, 0 for all others, which is a distance of m / 2
loss       L_h + L_p + w_q L_q,  w_q rising linearly
bits       1[h > 0]
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Printed, Progress, Role
from texthash.methods.towers import FrozenTowers
from texthash.nn.code_similarity import matched_products
from texthash.nn.encoders import xavier_linear
from texthash.nn.quantization import quantization_loss
from texthash.nn.schedules import linear_ramp
from texthash.nn.spaces import IntUniform, LogUniform


class DSHC(FrozenTowers):
    """Deep semantic hashing of dialogue responses."""

    card = Card(
        name="dshc",
        title="Towards Efficient Coarse-grained Dialogue Response Selection",
        venue="TOIS'2023",
        survey_entry=4,
        tags=("SFR",),
        citation="Lan, Mao, Wei, Gao & Huang, 2020, arXiv:2012.09647",
        inputs_needed=frozenset({"pairs"}),
        supervision="pairs",
        fidelity="code, other encoder",
        deviations=(
            "the authors' first code, which the abstract of 2020 describes; which has the tables of 2023 is not known",
            "towers are linear maps of words or of the vectors of a frozen sentence encoder, not two BERTs that are "
            "trained; they learn with hard negatives",
            "batches of 128 pairs at learning rate 1e-3 for 15 epochs, not of 16 at 5e-4 for 5, without clipping",
            "another known answer of a question of the batch is left out of the hash loss",
        ),
        paper=Printed(
            "the authors' code (gmftbyGMFTBY/HashRetrieval)",
            {
                "hidden": 512,
                "tower_width": 768,
                "code_dropout": 0.1,
                "quantization": 0.1,
                "learning_rate": 5e-4,
                "epochs": 5,
                "batch_size": 16,
            },
        ),
    )
    search_space = {
        **FrozenTowers.search_space,
        "hidden": IntUniform(128, 1024),
        "quantization": LogUniform(1e-2, 10.0),
    }

    hidden: int = Field(512, ge=1, description="Width of the hidden layer of each encoder and decoder.")
    code_dropout: float = Field(0.1, ge=0, lt=1, description="Probability of dropping a hidden feature in training.")
    quantization: float = Field(0.1, ge=0, description="Final weight w_q of the quantisation, which starts at 1e-4.")

    def make_layers(self) -> None:
        super().make_layers()
        self.query_encoder = self._layers(self.width, self.bits)
        self.document_encoder = self._layers(self.width, self.bits)
        self.query_decoder = self._layers(self.bits, self.width)
        self.document_decoder = self._layers(self.bits, self.width)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        contexts, responses = self.frozen(batch)
        h_c, h_r = self.query_encoder(contexts), self.document_encoder(responses)
        all_c, all_r = (progress.workers.gather(side) for side in (h_c, h_r))
        others = self.answering(batch, progress.workers)[:, : len(all_r)]
        others &= ~torch.eye(len(others), dtype=torch.bool, device=others.device)
        lost = [self.query_decoder(h_c) - contexts, self.document_decoder(h_r) - responses]
        weight = linear_ramp(progress.fraction, min(1e-4, self.quantization), self.quantization)
        return {
            "hash": matched_products(all_c, all_r, others),
            "preserve": torch.stack([side.norm(dim=1).mean() for side in lost]).sum(),
            "quantise": weight * torch.stack([quantization_loss(side).sqrt().mean() for side in (h_c, h_r)]).sum(),
        }

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        encoder = self.query_encoder if role == "query" else self.document_encoder
        return encoder(self.encoded(batch, role))

    def _layers(self, inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            xavier_linear(inputs, self.hidden),
            nn.LeakyReLU(),
            nn.Dropout(self.code_dropout),
            xavier_linear(self.hidden, outputs),
        )
