"""File that describes a study, and the cells to which it expands."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from texthash.config import (
    IRRELEVANT_TO_WEIGHTS,
    LISTED_ONCE,
    Config,
    Preset,
    Section,
    Seeds,
    Widths,
    find_config,
    load_config,
    parse_section,
)
from texthash.corpora.preparation.steps import resolve as resolve_corpus
from texthash.errors import UsageError
from texthash.evaluation.baselines.cosine import TFIDF
from texthash.evaluation.baselines.quantized_embeddings import WHOLE, Cut
from texthash.evaluation.scoring import check_selection_metric
from texthash.input_files import read_settings
from texthash.methods.registry import decisive as of_method
from texthash.methods.registry import distinct_seeds, resolved

Kind = Literal["model", "encoder", "reference"]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class MethodRow(Section):
    """A row of a study's table: a method with its hyper-parameters."""

    method: str | None = Field(None, description="registry name; null: the name of the row")
    preset: Preset = Field("default", description="same as method.preset")
    params: dict[str, Any] = Field(default_factory=dict, description="same as method.params")
    bits: Widths | None = Field(None, description="code widths; null: those of the study")
    seeds: Seeds | None = Field(None, description="random seeds; null: those of the study")


class EncoderRows(Section):
    """Rows of quantized vectors of a sentence encoder, without a learned hash function."""

    cuts: Annotated[tuple[Cut, ...], LISTED_ONCE] = ("sign", "centred_sign", "prefix", "itq")
    bits: Widths | None = Field(None, description="code widths of prefix and itq; null: those of the study")


class Published(Section):
    """A published value, shown in the report for comparison."""

    corpus: str
    edition: str | None = Field(None, description="edition of the corpus; null: every edition")
    row: str
    bits: int = Field(ge=1)
    figure: float = Field(ge=0, le=1)
    source: str = Field(min_length=1, description="citation of the value, and the edition it was measured on")


class Plan(Section):
    """A study: every method at every width with every seed on every corpus.

    Attributes:
        name: Name of the study; its directory is ``runs/studies/<name>`` in the state directory.
        corpora: Complete configurations, one for each corpus and edition. In a file: names of YAML files in the same
            directory, or mappings; the section ``settings`` of the file overrides each.
        bits, seeds: Widths and seeds of all rows that have none of their own. A method whose models do not depend on
            the seed is trained with the first alone.
        methods: Rows of methods by name.
        encoders: Rows of quantized embeddings by the name of the sentence encoder.
        references: Real-valued vectors whose cosine is a reference: ``tfidf``, or a sentence encoder. Those of
            ``encoders`` are always included.
        test: Use the test split, once per cell, when its model is final.
        across: Also evaluate each model on the other corpora of the study.
        cpus_per_cell: Number of CPUs that a cell reserves on a Ray cluster, and of threads that it uses.
        published: Published values for comparison.
    """

    name: str = Field(pattern=_NAME)
    corpora: tuple[Config, ...] = Field(min_length=1)
    bits: Widths = (32,)
    seeds: Seeds = (0,)
    methods: dict[str, MethodRow] = Field(default_factory=dict)
    encoders: dict[str, EncoderRows] = Field(default_factory=dict)
    references: Annotated[tuple[str, ...], LISTED_ONCE] = (TFIDF,)
    test: bool = False
    across: bool = False
    cpus_per_cell: int = Field(1, ge=1)
    published: tuple[Published, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits whose queries are evaluated."""
        return ("validation", "test") if self.test else ("validation",)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, corpus by corpus, references first.

        Raises:
            UsageError: Two cells are equal, there are no cells, or a method, hyper-parameter or width does not exist.
        """
        found = {cell.id: cell for cell in self._cells()}
        total = sum(1 for _ in self._cells())
        if not found:
            raise UsageError(f"the study {self.name} has no cells.", "list methods, encoders or references.")
        if len(found) < total:
            raise UsageError(
                f"{total - len(found)} of {total} cells of the study {self.name} are duplicates.",
                "list each corpus and edition, width and seed once.",
            )
        return tuple(found.values())

    def _cells(self) -> Iterator[Cell]:
        for config in self.corpora:
            for vectors in dict.fromkeys((*self.references, *self.encoders)):
                yield Cell("reference", f"{vectors} cosine", _with(config, vectors), vectors)
            for encoder, own in self.encoders.items():
                for cut in own.cuts:
                    row = f"{encoder} {cut.replace('_', ' ')}"
                    for bits in (None,) if cut in WHOLE else own.bits or self.bits:
                        yield Cell("encoder", row, _with(config, encoder, bits), cut, bits)
            for row, chosen in self.methods.items():
                for bits in chosen.bits or self.bits:
                    for seed in distinct_seeds(chosen.method or row, chosen.seeds or self.seeds):
                        yield Cell("model", row, _configured(config, row, chosen, bits, seed), "", bits, seed)

    def printed(self, corpus: str, edition: str, row: str, bits: int) -> Published | None:
        """Return the published value of a row, if the plan has one."""
        for one in self.published:
            if (one.corpus, one.row, one.bits) == (corpus, row, bits) and one.edition in (None, edition):
                return one
        return None


@dataclass(frozen=True)
class Cell:
    """One cell of the grid.

    Attributes:
        kind: ``model``: a trained method; ``encoder``: quantized embeddings; ``reference``: cosine of vectors.
        row: Name of the row.
        config: Complete configuration, including ``corpus.features``, ``method`` and ``training.seed``.
        how: Quantizer of an encoder, or vectors of a reference.
        bits: Length of the code; None for one bit per dimension of the encoder, or for no code at all.
        seed: Random seed of the training; None where nothing is random.
    """

    kind: Kind
    row: str
    config: Config
    how: str = ""
    bits: int | None = None
    seed: int | None = None

    @property
    def corpus(self) -> str:
        """Corpus and edition, such as ``20newsgroups-random60``."""
        return f"{self.config.corpus.name}-{self.config.corpus.edition.name}"

    @property
    def label(self) -> str:
        """Readable name of the cell."""
        bits = f" {self.bits}" if self.bits else ""
        seed = f" seed {self.seed}" if self.seed is not None else ""
        return f"{self.row}{bits}{seed} on {self.corpus}"

    @cached_property
    def id(self) -> str:
        """Name of the cell's directory, unique for its contents."""
        bits = f"-{self.bits}b" if self.bits else ""
        seed = f"-s{self.seed}" if self.seed is not None else ""
        row = re.sub(r"[^\w.]+", "-", self.row)
        return f"{self.corpus}-{row}{bits}{seed}-{self._digest()}"

    def _digest(self) -> str:
        """Return a digest of all that determines the results, without paths of files and numbers of processes."""
        config = self.config
        decisive: dict[str, Any] = {
            "kind": self.kind,
            "how": self.how,
            "bits": self.bits,
            "corpus": config.corpus.model_dump(mode="json", exclude={"data_dir", "path", "shards"}),
            "k": config.evaluation.k,
        }
        if self.kind == "model":
            # Part of the identity of cells on disk, which keeps the key that it was first written with.
            if config.evaluation.selection_metric:
                decisive["choose_by"] = config.evaluation.selection_metric
            decisive["method"] = of_method(config.method)
            decisive["training"] = config.training.model_dump(mode="json", exclude=IRRELEVANT_TO_WEIGHTS)
        return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()[:8]


def load_plan(path: str | Path) -> Plan:
    """Read the file of a study, and check it as far as possible before any work.

    Raises:
        UsageError: The file is missing or malformed, a key is unknown, or a cell is impossible.
    """
    try:
        path = find_config(path, what="study")
        values = yaml.safe_load(read_settings(path, "a study"))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}", "check the YAML.") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no mapping.", "see configs/studies/ for the form.")
    return parse_plan(values, path.parent, str(path))


def parse_plan(values: dict[str, Any], folder: Path, what: str) -> Plan:
    """Return the plan of plain values; names of corpora are files in ``folder`` or shipped ones.

    Errors are those of :func:`load_plan`.
    """
    given = {key: value for key, value in values.items() if key != "settings"}
    settings = values.get("settings") or {}
    given["corpora"] = [_corpus(one, settings, folder) for one in values.get("corpora") or ()]
    for rows in ("methods", "encoders"):
        if isinstance(given.get(rows), dict):
            given[rows] = {name: own or {} for name, own in given[rows].items()}
    plan = parse_section(Plan, given, what)
    for one in plan.corpora:
        if one.evaluation.selection_metric is not None:
            check_selection_metric(one.evaluation.selection_metric, one.evaluation.k, "precision", "recall")
    # Preparation resolves paths, and names an edition after its limit; cells need the names that it will use.
    plan = plan.derive(corpora=tuple(one.derive(corpus=resolve_corpus(one.corpus)) for one in plan.corpora))
    _ = plan.cells
    return plan


def _corpus(named: Any, settings: dict[str, Any], folder: Path) -> Any:
    if isinstance(named, str):
        named = load_config(find_config(named, folder)).model_dump(mode="json", exclude={"service"})
    return _merge(named, settings) if isinstance(named, dict) else named


def _merge(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overrides.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _with(config: Config, vectors: str, bits: int | None = None) -> Config:
    """Return the configuration with the vectors of an encoder and a width."""
    width = {} if bits is None else {"bits": bits}
    return config.derive(corpus={"features": None if vectors == TFIDF else vectors}, method=width)


def _configured(config: Config, row: str, chosen: MethodRow, bits: int, seed: int) -> Config:
    method = {"name": chosen.method or row, "preset": chosen.preset, "params": chosen.params, "bits": bits}
    return resolved(config.derive(method=method, training={"seed": seed}))
