"""SimEx-Hash: codes of the key words of a text, sharpened by a tanh whose scale grows.

pieces     h_i = [ReLU(conv_w(x))_i], windows w = 1, 3, 5, of the vectors of word pieces x_i of a frozen encoder
key        s = softmax_i(v . tanh(A h_i));  g = sum_i s_i h_i;  redundant  r = sum_i (1 - s_i) / (T - 1) h_i
codes      c = tanh(beta W g), c_i = tanh(beta W h_i);   beta = sqrt(1 + (b^2 - 1) f), f the share of training done
loss       - I_D(c_i; c)  +  w_r |cos(g, r)|  +  w_s L_s  +  w_b ||mean c||^2  +  w_d ||c^T c / B - I||_F^2
pairs      L_s = mean_ij (c_i . c'_j / m - 1[i = j])^2,   c'_j the code of one of the k nearest of document j by the
           sentence vectors, drawn anew
bits       1[W g > 0]

I_D is the Jensen-Shannon estimate (:mod:`texthash.nn.jensen_shannon`). The paper could not be read: its abstract names
a key-information module, a de-redundancy loss, an activation that sharpens with time, and losses of balance and of
independence, and compares with DHIM. All formulas above are a reconstruction.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from texthash.corpora.prepared.batches import Batch
from texthash.methods.base import Card, Progress, Role
from texthash.methods.neighbouring import VectorNeighbourMethod
from texthash.methods.token_method import TokenMethod
from texthash.nn.balance import bit_balance, decorrelation
from texthash.nn.encoders import xavier_linear
from texthash.nn.jensen_shannon import Bilinear, token_information
from texthash.nn.quantization import root_scale, scaled_tanh
from texthash.nn.spaces import LogUniform
from texthash.nn.tokens import KeyPieces


class SimEx(VectorNeighbourMethod, TokenMethod):
    """Codes of key words, for texts with few of them."""

    card = Card(
        name="simex",
        title="Efficient similar exercise retrieval model based on unsupervised semantic hashing",
        venue="JCA'2024",
        survey_entry=3,
        tags=("MMI", "Pse", "Pse", "CB", "Quan(STanh)"),
        citation="Tong et al., 2024, doi:10.11772/j.issn.1001-9081.2023091260",
        inputs_needed=frozenset({"token_vectors", "dense", "neighbours"}),
        fidelity="reconstructed",
        deviations=(
            "reconstructed from the abstract and the survey's tags, over the parts of DHIM with which it compares",
            "the sentence encoder of corpus.features; the paper's exercises are Chinese, and not public",
            "documents that are no neighbours are asked to be orthogonal, not opposite",
            "vectors of pieces are reduced to their 64 leading principal components",
        ),
    )
    search_space = {
        **TokenMethod.search_space,
        "redundancy": LogUniform(0.01, 1.0),
        "similarity": LogUniform(0.1, 30.0),
        "bit_balance": LogUniform(0.01, 3.0),
        "decorrelation": LogUniform(0.001, 1.0),
        "end_scale": LogUniform(2.0, 20.0),
    }

    redundancy: float = Field(0.1, ge=0, description="Weight w_r of the likeness of key and redundant features.")
    similarity: float = Field(0.1, ge=0, description="Weight w_s of the similarities of pairs.")
    bit_balance: float = Field(0.1, ge=0, description="Weight w_b of the balance of bits.")
    decorrelation: float = Field(0.1, ge=0, description="Weight w_d of the independence of bits.")
    end_scale: float = Field(10.0, ge=1, description="Scale b of the tanh at the end of training.")

    def make_layers(self) -> None:
        super().make_layers()
        self.key = KeyPieces(self.convolution.width)
        self.logits = xavier_linear(self.convolution.width, self.bits)
        self.of_pieces = Bilinear(self.bits)

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        features, mask = self.pieces(batch)
        key, redundant = self.key(features, mask)
        scale = root_scale(progress.fraction, self.end_scale)
        local, code = scaled_tanh(self.logits(features), scale), scaled_tanh(self.logits(key), scale)
        everywhere, first = progress.workers.gather(code), progress.workers.rank * len(batch)
        scores = self.of_pieces(everywhere, local.flatten(0, 1))
        terms = {
            "pieces": -token_information(scores, mask, first).mean(),
            "redundancy": self.redundancy * F.cosine_similarity(key, redundant, dim=1).abs().mean(),
            "bit_balance": self.bit_balance * bit_balance(everywhere),
            "decorrelation": self.decorrelation * decorrelation(everywhere),
        }
        if self.similarity:
            near = scaled_tanh(self.activations(self.drawn_neighbours(batch, progress)), scale)
            likeness = everywhere @ progress.workers.gather(near).T / self.bits
            target = torch.eye(len(likeness), device=likeness.device)
            terms["similarity"] = self.similarity * (likeness - target).square().mean()
        return terms

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        return self.logits(self.key(*self.pieces(batch))[0])
