"""The contract of a hashing method, and the stages in which one is fitted.

A method is a :class:`torch.nn.Module` that turns a :class:`~texthash.corpora.prepared.batches.Batch` into real-valued
codes (:meth:`HashMethod.activations`) and owns a binarizer that cuts them into bits. It never touches devices, files,
processes or test data: the training loop and the :class:`~texthash.models.hasher.Hasher` do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from texthash.config import Bits, Weighting
from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import CorpusShape, Split
from texthash.corpora.prepared.inputs import Inputs
from texthash.errors import UsageError
from texthash.methods import hyperparameters as declared
from texthash.nn.binarizers import Binarizer
from texthash.nn.workers import Workers

if TYPE_CHECKING:
    import numpy as np

Role = Literal["document", "query"]
InputKind = Literal["tokens", "dense", "neighbours", "labels", "pairs"]
Serves = Literal["hamming", "hamming+rerank", "rerank_only"]
Optimizers = dict[str, torch.optim.Optimizer]
_BITS = TypeAdapter(Bits, config={"strict": True})


@dataclass(frozen=True)
class Printed:
    """Hyper-parameters that were printed: in a paper, or in the code that its authors published.

    Attributes:
        source: Where they stand, and how far that was read.
        values: By name; one that is not there is not known.
    """

    source: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Card:
    """What a person should know of a method before using it; ``texthash methods`` prints it.

    Attributes:
        name: Registry name, for instance ``"vdsh"``.
        title: Title of the paper.
        venue: Where and when it was published.
        survey_entry: Number (1-36) in "A Survey on Deep Text Hashing"; None for a classical baseline.
        tags: The survey's tags, for instance ``("Rec", "Prior(G)")``.
        citation: Authors, year and where to find the paper.
        inputs_needed: What a batch has to carry besides the bag of words.
        supervision: Whether labels (or pairs) are used.
        fidelity: ``paper``: built from the paper; ``code``: from the authors' code; ``reconstructed``: from
            secondary sources.
        deviations: Each way in which this implementation differs from its source.
        serving_mode: What the service can do with it.
        paper: The hyper-parameters that were printed; None where none are known.
    """

    name: str
    title: str
    venue: str
    survey_entry: int | None
    tags: tuple[str, ...]
    citation: str
    inputs_needed: frozenset[InputKind] = frozenset()
    supervision: Literal["none", "labels", "pairs"] = "none"
    fidelity: Literal["paper", "code", "reconstructed"] = "paper"
    deviations: tuple[str, ...] = ()
    serving_mode: Serves = "hamming"
    paper: Printed | None = None


@dataclass
class Progress:
    """Where training stands, and what a loss may need from its surroundings.

    Attributes:
        step: Optimiser steps done in this stage.
        total: Steps that this stage will take.
        epoch: Epochs done in this stage.
        generator: Seeded source of randomness on the batch's device; None means torch's own.
        workers: The processes that train together; losses that couple the documents of a batch act on
            ``workers.gather(codes)``, and every update goes through ``workers.optimizer_step``.
    """

    step: int
    total: int
    epoch: int = 0
    generator: torch.Generator | None = None
    workers: Workers = field(default_factory=Workers)

    @property
    def fraction(self) -> float:
        """Share of the stage that is done, 0 to 1: what schedules are functions of."""
        return self.step / max(1, self.total)


@dataclass(frozen=True)
class ClosedForm:
    """A stage without gradients: an eigenproblem, k-means, a teacher. Runs in one process; the others receive
    the parameters and buffers that it leaves.

    Attributes:
        name: Shown in progress and metrics.
        fit: Called with the training split; stores what it learns in the method's parameters and buffers. Torch's
            global generator is seeded before it.
    """

    name: str
    fit: Callable[[Split], None]


def _constant(progress: Progress) -> float:
    return 1.0


@dataclass(frozen=True)
class GradientStage:
    """A stage of minibatch training, by ``step`` of the method (or one of its own).

    Attributes:
        name: Shown in progress and metrics.
        optimizers: Makes the optimisers by name; one named ``"main"`` in the usual case.
        epochs: Default number of epochs.
        batch_size: Default global batch size.
        step: ``(batch, progress, optimizers) -> {term: value}``.
        learning_rate: ``progress -> factor on the learning rate of each optimiser``.
        selected: Whether validation chooses the epoch that is kept. False for pretraining, before whose end the codes
            say nothing: it is not validated, and its last epoch is kept.
    """

    name: str
    optimizers: Callable[[], Optimizers]
    epochs: int
    batch_size: int
    step: Callable[[Batch, Progress, Optimizers], Mapping[str, Tensor]]
    learning_rate: Callable[[Progress], float] = _constant
    selected: bool = True


Stage = ClosedForm | GradientStage


def sum_terms(terms: Mapping[str, Tensor]) -> Tensor:
    """Sum of the named terms of a loss."""
    return torch.stack(list(terms.values())).sum()


class HashMethod(nn.Module):
    """Base of all methods.

    A subclass gives ``card``, hyper-parameters (:mod:`texthash.methods.hyperparameters`), ``search_space``,
    :meth:`make_layers`, and either a ``loss`` (gradient methods) or ``stages`` of its own.

    Attributes:
        inputs: Parts of a document that a batch holds: those that ``card.inputs_needed`` names. A method that
            wants it otherwise (more neighbours, by another graph, shorter texts) replaces it in :meth:`make_layers`.
            Training makes the graph before anything else; a method that walks on it opens it in :meth:`setup`, by
            ``train.neighbours``.
        clip: Norm to which the default :meth:`step` clips gradients; None: not at all.
        training_only: Names of buffers and modules, made in :meth:`setup`, on which training depends and no code:
            memories of the training documents. A checkpoint holds them, a saved model does not.
        hyperparameters: All hyper-parameters, those at their defaults too; each is an attribute as well.

    What a stage learns belongs into parameters and buffers whose shapes follow from ``shape``, ``bits`` and the
    hyper-parameters alone: these are what other workers receive, a checkpoint holds, and a saved model is loaded into.

    Raises:
        UsageError: the length of the code or a hyper-parameter is out of range.
    """

    card: ClassVar[Card]
    search_space: ClassVar[Mapping[str, Any]] = {}
    training_only: ClassVar[frozenset[str]] = frozenset()
    inputs: Inputs
    clip: float | None = None
    binarizer: Binarizer
    hyperparameters: Mapping[str, Any]
    weighting: Weighting = Field("tfidf", description="Weighting of the words of the input.")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        declared.declare(cls)
        declared.document(cls)

    def __init__(self, shape: CorpusShape, bits: int, **hyperparameters: Any) -> None:
        check_bits(bits)
        super().__init__()
        self.shape = shape
        self.bits = bits
        self.hyperparameters = self.resolve(hyperparameters)
        for parameter in declared.parameters_of(type(self)).values():
            setattr(self, parameter.attribute, self.hyperparameters[parameter.name])
        self.inputs = Inputs(self.weighting, self.card.inputs_needed, encoder=shape.encoder)
        self.binarizer = Binarizer(bits)
        self.make_layers()

    @classmethod
    def resolve(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all hyper-parameters: the defaults, with those of ``given`` in their place.

        Raises:
            UsageError: one of them does not exist or is out of range, or two contradict each other.
        """
        values = declared.checked(cls, cls.card.name, given)
        cls.check_together(values)
        return values

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        """Raise :class:`~texthash.errors.UsageError` where hyper-parameters that are in range contradict each other."""

    def make_layers(self) -> None:
        """Make what is learned. Called once, when the hyper-parameters are attributes; torch's generator is seeded."""

    # -- fitting ----------------------------------------------------------------------------------------------

    def setup(self, train: Split) -> None:
        """Called in every process before the first stage, for methods that look training documents up by row
        (memories, walks). Buffers that it makes are named in ``training_only``, and so not part of the saved model."""

    def stages(self) -> Sequence[Stage]:
        """The stages of fitting, in order."""
        raise NotImplementedError(f"{type(self).__name__} defines no stages")

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The named terms of the loss, each a scalar mean over the documents of the batch; their sum is minimised."""
        raise NotImplementedError(f"{type(self).__name__} has no gradient stage")

    def step(self, batch: Batch, progress: Progress, optimizers: Optimizers) -> Mapping[str, Tensor]:
        """One optimisation step. Default: minimise the sum of the terms of :meth:`loss` with the optimiser ``main``."""
        terms = self.loss(batch, progress)
        progress.workers.optimizer_step(sum_terms(terms), optimizers["main"], self.clip)
        return terms

    # -- encoding ---------------------------------------------------------------------------------------------

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        """Real-valued codes, before the cut.

        Args:
            batch: Documents or queries.
            role: Which side they are on; only methods with two encoders tell them apart.

        Returns:
            Tensor [B, bits].
        """
        raise NotImplementedError(f"{type(self).__name__} has no codes")

    def inference_state_dict(self) -> dict[str, Tensor]:
        """All that codes depend on: the state dict without what is ``training_only``."""
        return {
            name: tensor for name, tensor in self.state_dict().items() if name.split(".")[0] not in self.training_only
        }

    def database_codes(self) -> np.ndarray | None:
        """Packed codes of the training documents where the method defines them apart from ``activations``
        (Self-Taught Hashing); else None. uint8 [documents, bits / 8]."""
        return None


declared.declare(HashMethod)


def check_bits(bits: int) -> None:
    """Raise :class:`~texthash.errors.UsageError` unless codes can have this length."""
    try:
        _BITS.validate_python(bits)
    except ValidationError as error:
        raise UsageError(
            f"bits={bits!r}: {error.errors()[0]['msg']}.", "choose a multiple of 8 from 8 to 1024."
        ) from None
