"""Interface of a hashing method, and the stages of its fitting.

A method is a :class:`torch.nn.Module` that maps a :class:`~texthash.corpora.prepared.batches.Batch` to activations
(:meth:`HashMethod.activations`) and owns a binarizer that turns them into bits. It never touches devices, files,
processes or test data: the training loop and the :class:`~texthash.models.hasher.Hasher` do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from texthash.arguments import shown
from texthash.config import Bits, Weighting
from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import CorpusShape, Split
from texthash.corpora.prepared.embeddings.sources import gives_token_vectors
from texthash.corpora.prepared.inputs import OF_TEXT, VECTORS, Inputs
from texthash.errors import UsageError
from texthash.methods import hyperparameters as declared
from texthash.nn.binarizers import Binarizer
from texthash.nn.workers import Workers

if TYPE_CHECKING:
    import numpy as np

Role = Literal["document", "query"]
InputKind = Literal["tokens", "dense", "token_vectors", "neighbours", "labels", "pairs"]
Fidelity = Literal[
    "paper", "code", "code, loss re-weighted", "code, other encoder", "reconstructed", "reconstruction failed", "own"
]
Serves = Literal["hamming", "hamming+rerank", "rerank_only"]
Optimizers = dict[str, torch.optim.Optimizer]
_BITS = TypeAdapter(Bits, config={"strict": True})


@dataclass(frozen=True)
class Printed:
    """Published hyper-parameters, from a paper or from its authors' code.

    Attributes:
        source: Citation, and how much of it was read.
        values: Values by name; a missing one is unknown.
    """

    source: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Card:
    """Description of a method for its users; ``texthash methods`` prints it.

    Attributes:
        name: Registry name, for instance ``"vdsh"``.
        title: Title of the paper.
        venue: Venue and year of publication.
        survey_entry: Number (1-36) in "A Survey on Deep Text Hashing"; None for a classical baseline.
        tags: The survey's tags, for instance ``("Rec", "Prior(G)")``.
        citation: Authors, year and identifier of the paper.
        inputs_needed: Inputs that a batch has to hold besides the bag of words.
        supervision: Kind of supervision: none, labels or pairs.
        fidelity: ``paper``: built from the paper; ``code``: from the authors' code; ``code, loss re-weighted``: the
            same with another balance of its terms; ``code, other encoder``: on the vectors of another encoder, which
            is not trained, or on words; ``reconstructed``: from secondary sources; ``reconstruction failed``: no
            better than a classical baseline, so that its figures say nothing about the paper's method; ``own``: of
            this project, without a paper.
        deviations: Differences of this implementation from its source.
        serving_mode: Kind of search: by Hamming distance, with or without a second look at the candidates of it; or
            ``rerank_only``, the candidates of another search: such a method is neither indexed nor released.
        paper: Published hyper-parameters; None if none are known.
        random: Whether the seed of the training changes the model. It does not change one of closed form that draws
            nothing, or draws from a generator of its own.
    """

    name: str
    title: str
    venue: str
    survey_entry: int | None
    tags: tuple[str, ...]
    citation: str
    inputs_needed: frozenset[InputKind] = frozenset()
    supervision: Literal["none", "labels", "pairs"] = "none"
    fidelity: Fidelity = "paper"
    deviations: tuple[str, ...] = ()
    serving_mode: Serves = "hamming"
    paper: Printed | None = None
    random: bool = True

    @property
    def only_reranks(self) -> bool:
        """True if the method scores candidates, and has no code of a document to search by."""
        return self.serving_mode == "rerank_only"

    def supervised(self, name: str, short: str, *deviations: str, paper: Printed | None = None) -> Card:
        """Return the card of the same method whose code also predicts labels.

        Args:
            name: Registry name.
            short: Name in the literature, for instance ``"VDSH-S"``.
            deviations: Differences from its source besides those of this method.
            paper: Published hyper-parameters; None if none are known.
        """
        return replace(
            self,
            name=name,
            title=f"{self.title} (supervised, {short})",
            tags=(*self.tags, "SFC"),
            inputs_needed=frozenset({"labels"}),
            supervision="labels",
            deviations=(*self.deviations, *deviations),
            paper=paper,
        )


@dataclass
class Progress:
    """Progress of training, with the random generator and the group of workers.

    Attributes:
        step: Number of optimiser steps done in this stage.
        total: Number of optimiser steps of this stage.
        epoch: Number of epochs done in this stage.
        generator: Seeded random generator on the batch's device; None for torch's global one.
        workers: Group of training processes; losses that couple the documents of a batch act on
            ``workers.gather(codes)``, and every update goes through ``workers.optimizer_step``.
    """

    step: int
    total: int
    epoch: int = 0
    generator: torch.Generator | None = None
    workers: Workers = field(default_factory=Workers)

    @property
    def fraction(self) -> float:
        """Share of the stage that is done, 0 to 1, as the argument of schedules."""
        return self.step / max(1, self.total)


@dataclass(frozen=True)
class ClosedForm:
    """A stage without gradients: an eigenproblem, k-means, a teacher.

    It runs in one process; the others receive the resulting parameters and buffers.

    Attributes:
        name: Name in progress bars and metrics.
        fit: Function of the training split, which stores its results in the method's parameters and buffers. Torch's
            global generator is seeded before the call.
    """

    name: str
    fit: Callable[[Split], None]


def _constant(progress: Progress) -> float:
    return 1.0


@dataclass(frozen=True)
class GradientStage:
    """A stage of minibatch training.

    Attributes:
        name: Name in progress bars and metrics.
        optimizers: Function that creates the optimisers by name; usually one, named ``"main"``.
        epochs: Default number of epochs.
        batch_size: Default global batch size.
        step: Function of one update, usually the method's: ``(batch, progress, optimizers) -> {term: value}``.
        learning_rate: Schedule: ``progress -> factor on the learning rate of each optimiser``.
        selected: Keep the epoch with the best validation score. False for pretraining, whose codes mean nothing yet:
            it is not validated, and its last epoch is kept.
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
    """Return the sum of the terms of a loss."""
    return torch.stack(list(terms.values())).sum()


class HashMethod(nn.Module):
    """Base class of all methods.

    A subclass defines ``card``, hyper-parameters (:mod:`texthash.methods.hyperparameters`), ``search_space``,
    :meth:`make_layers`, and either a ``loss`` (gradient methods) or its own ``stages``.

    The results of a stage have to be parameters and buffers whose shapes follow from ``shape``, ``bits`` and the
    hyper-parameters alone: these are sent to other workers, written to checkpoints, and loaded from saved models.

    Attributes:
        inputs: Inputs of a document in a batch: by default those of ``card.inputs_needed``. A method with other needs
            (more neighbours, another graph, shorter texts) replaces it in :meth:`make_layers`. Training builds the
            graph first; a method that walks on it opens it in :meth:`setup`, by ``train.neighbours``.
        clip: Norm to which the default :meth:`step` clips gradients; None for no clipping.
        training_only: Names of buffers and modules, created in :meth:`setup`, that training needs and encoding does
            not: memories of the training documents. A checkpoint holds them, a saved model does not.
        nested: Whether the first bits of a code are a code of their own, so that :meth:`cut` needs no training.
        hyperparameters: All hyper-parameters, including those at their defaults; each is also an attribute.

    Raises:
        UsageError: The length of the code or a hyper-parameter is out of range, or the method learns from vectors and
            the corpus has none.
    """

    card: ClassVar[Card]
    search_space: ClassVar[Mapping[str, Any]] = {}
    training_only: ClassVar[frozenset[str]] = frozenset()
    nested: ClassVar[bool] = False
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
        check_vectors(self.card, shape)
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
        """Return all hyper-parameters: those of ``given``, and the defaults of the others.

        Raises:
            UsageError: A hyper-parameter does not exist or is out of range, or two contradict each other.
        """
        values = declared.checked(cls, cls.card.name, given)
        cls.check_together(values)
        return values

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        """Raise :class:`~texthash.errors.UsageError` if hyper-parameters contradict each other."""

    @classmethod
    def keeps_codes(cls) -> bool:
        """Return whether the training documents have codes that training found, in place of those of the encoder."""
        return cls.database_codes is not HashMethod.database_codes

    @classmethod
    def space_of(cls, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a sweep searches while some hyper-parameters are fixed: ``search_space`` unless they matter."""
        return cls.search_space

    def make_layers(self) -> None:
        """Create the layers. Called once, after the hyper-parameters are set, with torch's generator seeded."""

    def require_vectors(self, chosen: str, need: str, otherwise: str) -> None:
        """Raise :class:`~texthash.errors.UsageError` if a hyper-parameter needs vectors and the corpus has none.

        Args:
            chosen: Hyper-parameter and value, ``name=value``.
            need: What the method does with vectors, in the third person.
            otherwise: Hyper-parameter and value that need none.
        """
        if self.shape.encoder is None:
            raise UsageError(
                f"method.params.{chosen}: {self.card.name} {need}, and the corpus has none.",
                f"set corpus.features: column:NAME or npy:FILE for your own, minilm or another sentence encoder; or "
                f"{otherwise}.",
            )

    @property
    def reads_words(self) -> bool:
        """Whether codes depend on the words of a text."""
        return True

    @property
    def reads_features(self) -> bool:
        """Whether codes depend on the vectors of ``corpus.features``."""
        return bool(self.encoding_inputs.needs & VECTORS)

    @property
    def encoding_inputs(self) -> Inputs:
        """Inputs of a document that is encoded.

        They are those of :attr:`inputs` that a text has, unless a method needs some of them in training only.
        """
        return self.inputs.only(OF_TEXT)

    # -- fitting ----------------------------------------------------------------------------------------------

    def setup(self, train: Split) -> None:
        """Prepare training in every process before the first stage.

        Methods that look up training documents by row (memories, walks) need it. Buffers that it creates have to be
        listed in ``training_only``.
        """

    def stages(self) -> Sequence[Stage]:
        """Return the stages of fitting, in order."""
        raise NotImplementedError(f"{type(self).__name__} defines no stages")

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return the terms of the loss by name, each a scalar mean over the documents of the batch.

        Their sum is minimised.
        """
        raise NotImplementedError(f"{type(self).__name__} has no gradient stage")

    def step(self, batch: Batch, progress: Progress, optimizers: Optimizers) -> Mapping[str, Tensor]:
        """Take one optimisation step, and return the terms of the loss.

        The default minimises the sum of the terms of :meth:`loss` with the optimiser ``main``.
        """
        terms = self.loss(batch, progress)
        progress.workers.optimizer_step(sum_terms(terms), optimizers["main"], self.clip)
        return terms

    # -- encoding ---------------------------------------------------------------------------------------------

    def activations(self, batch: Batch, role: Role = "document") -> Tensor:
        """Return activations, the real values of the bits before the threshold.

        Args:
            batch: Documents or queries.
            role: Role of the batch, which matters only for methods with two encoders.

        Returns:
            Tensor [B, bits].
        """
        raise NotImplementedError(f"{type(self).__name__} has no codes")

    def serving_layers(self) -> Sequence[nn.Module]:
        """Return the layers of :meth:`activations` in order, for :mod:`texthash.models.direct`; by default none.

        They are a bag of words followed by dense layers alone. Layers of a class whose subclass overrides
        ``activations`` do not count.
        """
        return ()

    def query_shift(self) -> Tensor | None:
        """Return what is added to the values of queries that are compared with bits, [bits]; None: nothing."""
        return None

    def inference_state_dict(self) -> dict[str, Tensor]:
        """Return the state dict without ``training_only`` entries: all that codes depend on."""
        return {
            name: tensor for name, tensor in self.state_dict().items() if name.split(".")[0] not in self.training_only
        }

    def cut(self, bits: int) -> HashMethod:
        """Return the method whose codes are the first bits of this one's, for use and not for further training.

        Args:
            bits: Length of the shorter code.

        Raises:
            UsageError: The first bits are no code of their own (:attr:`nested`), or there are not as many.
        """
        name = self.card.name
        if not self.nested:
            raise UsageError(
                f"bits={bits}: the first {bits} bits of a code of {name} are no code of their own.",
                f"train {name} with method.bits={bits}, or a method with nested codes, such as texthash.",
            )
        check_bits(bits)
        if bits > self.bits:
            raise UsageError(f"bits={bits}: the codes of this {name} have {self.bits}.", f"choose at most {self.bits}.")
        with torch.random.fork_rng(devices=[]):
            shorter = type(self)(self.shape, bits, **self.hyperparameters)
        # Every tensor with a place a bit has it in its last dimension, first bits first.
        whole, parts = self.inference_state_dict(), shorter.state_dict()
        shorter.load_state_dict({name: whole[name][tuple(map(slice, part.shape))] for name, part in parts.items()})
        return shorter.to(self.binarizer.thresholds.device).eval()

    def database_codes(self) -> np.ndarray | None:
        """Return packed codes of the training documents, uint8 [documents, bits / 8], if the method defines them.

        A method such as Self-Taught Hashing defines them separately from ``activations``; others return None.
        """
        return None


declared.declare(HashMethod)


def check_vectors(card: Card, shape: CorpusShape) -> None:
    """Raise :class:`~texthash.errors.UsageError` if a method learns from vectors and the corpus has none."""
    if card.inputs_needed & VECTORS and shape.encoder is None:
        raise UsageError(
            f"{card.name} learns from vectors of the documents, and the corpus has none.",
            "set corpus.features, such as minilm, another sentence encoder or column:NAME of your own tables, and "
            "prepare the corpus; or choose a method that learns from words.",
        )
    if "token_vectors" in card.inputs_needed and shape.encoder and not gives_token_vectors(shape.encoder):
        raise UsageError(
            f"{card.name} learns from vectors of word pieces, and {shape.encoder} gives one vector a document.",
            "set corpus.features to a sentence encoder that is computed here, such as minilm; or choose a method that "
            "reads one vector a document, such as sapvae.",
        )


def check_searchable(card: Card) -> None:
    """Raise :class:`~texthash.errors.UsageError` if a method only re-ranks, so that no index can be searched by it."""
    if card.only_reranks:
        raise UsageError(
            f"{card.name} only re-ranks what another search has found: it has no code of a document to search by.",
            f"index and release a method with codes, such as bpr or nash; `texthash train {card.name}` trains this one "
            "without a release.",
        )


def check_bits(bits: int) -> None:
    """Raise :class:`~texthash.errors.UsageError` if no code can have this length."""
    try:
        _BITS.validate_python(bits)
    except ValidationError as error:
        raise UsageError(
            f"bits={shown(bits)}: {error.errors()[0]['msg']}.", "choose a multiple of 8 from 8 to 1024."
        ) from None
