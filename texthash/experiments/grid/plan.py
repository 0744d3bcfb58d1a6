"""The file that describes a study, and the cells that it stands for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from texthash.config import Config, Preset, Section, Seeds, Widths, find_config, load_config, parse_section
from texthash.corpora.preparation.steps import resolve as with_places
from texthash.errors import UsageError
from texthash.evaluation.baselines.cosine import TFIDF
from texthash.evaluation.baselines.quantized_embeddings import WHOLE, Cut
from texthash.evaluation.scoring import check_selection_metric
from texthash.methods.registry import decisive as of_method
from texthash.methods.registry import resolved

Kind = Literal["model", "encoder", "reference"]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class MethodRow(Section):
    """One row of a study's table: a method with its hyper-parameters."""

    method: str | None = Field(None, description="registry name; null: the row's own name")
    preset: Preset = Field("default", description="as method.preset")
    params: dict[str, Any] = Field(default_factory=dict, description="as method.params")
    bits: Widths | None = Field(None, description="null: the study's")
    seeds: Seeds | None = Field(None, description="null: the study's")


class EncoderRows(Section):
    """Rows of codes that are cut from a sentence encoder's vectors without learning a hash."""

    cuts: tuple[Cut, ...] = ("sign", "centred_sign", "prefix", "itq")
    bits: Widths | None = Field(None, description="of prefix and itq; null: the study's")


class Published(Section):
    """A figure that is printed somewhere, to stand beside ours."""

    corpus: str
    edition: str | None = Field(None, description="null: beside every edition of that corpus")
    row: str
    bits: int = Field(ge=1)
    figure: float = Field(ge=0, le=1)
    source: str = Field(min_length=1, description="where it is printed, and on which edition it rests")


class Plan(Section):
    """A study: every method at every width with every seed on every corpus.

    Attributes:
        name: Of the study; its directory is ``runs/studies/<name>`` in the state directory.
        corpora: Whole configurations, one for each corpus and edition. In a file: names of YAML files beside it, or
            mappings; what the file has under ``settings`` is laid over each.
        bits, seeds: For all rows that have none of their own.
        methods: Rows by name.
        encoders: Rows of codes cut from sentence encoders, by the encoder's name.
        references: Real-valued vectors whose cosine is drawn as a line: ``tfidf``, or a sentence encoder. Those of
            ``encoders`` are there without being named.
        test: Whether the test split is opened, once a cell, when its model is final.
        across: Whether each model is evaluated on the other corpora of the study too.
        cpus_per_cell: What a cell claims of a Ray cluster, and how many threads it uses.
        published: Figures to stand beside ours.
    """

    name: str = Field(pattern=_NAME)
    corpora: tuple[Config, ...] = Field(min_length=1)
    bits: Widths = (32,)
    seeds: Seeds = (0,)
    methods: dict[str, MethodRow] = Field(default_factory=dict)
    encoders: dict[str, EncoderRows] = Field(default_factory=dict)
    references: tuple[str, ...] = (TFIDF,)
    test: bool = False
    across: bool = False
    cpus_per_cell: int = Field(1, ge=1)
    published: tuple[Published, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """Which splits ask queries."""
        return ("validation", "test") if self.test else ("validation",)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, corpus by corpus, references first.

        Raises:
            UsageError: two cells are the same, there is none, or a method, hyper-parameter or width does not exist.
        """
        found = {cell.id: cell for cell in self._cells()}
        total = sum(1 for _ in self._cells())
        if not found:
            raise UsageError(f"the study {self.name} has no cells.", "name methods, encoders or references.")
        if len(found) < total:
            raise UsageError(
                f"{total - len(found)} of {total} cells of the study {self.name} are there twice.",
                "name each corpus and edition, width and seed once.",
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
                    for seed in chosen.seeds or self.seeds:
                        yield Cell("model", row, _configured(config, row, chosen, bits, seed), "", bits, seed)

    def printed(self, corpus: str, edition: str, row: str, bits: int) -> Published | None:
        """The published figure of a row, if the plan has one."""
        for one in self.published:
            if (one.corpus, one.row, one.bits) == (corpus, row, bits) and one.edition in (None, edition):
                return one
        return None


@dataclass(frozen=True)
class Cell:
    """One entry of the grid.

    Attributes:
        kind: ``model``: trained; ``encoder``: cut from a sentence encoder's vectors; ``reference``: their cosine.
        row: Name of its row.
        config: All that it needs, ``corpus.features``, ``method`` and ``training.seed`` included.
        how: Of an encoder the cut, of a reference the vectors.
        bits: Length of the code; None: as many as the encoder has dimensions, or no code at all.
        seed: Of the training; None where nothing is random.
    """

    kind: Kind
    row: str
    config: Config
    how: str = ""
    bits: int | None = None
    seed: int | None = None

    @property
    def corpus(self) -> str:
        """Corpus and edition, ``20newsgroups-random60``."""
        return f"{self.config.corpus.name}-{self.config.corpus.edition.name}"

    @property
    def label(self) -> str:
        """What it is, in words."""
        bits = f" {self.bits}" if self.bits else ""
        seed = f" seed {self.seed}" if self.seed is not None else ""
        return f"{self.row}{bits}{seed} on {self.corpus}"

    @cached_property
    def id(self) -> str:
        """Name of its directory; a cell of other contents has another."""
        bits = f"-{self.bits}b" if self.bits else ""
        seed = f"-s{self.seed}" if self.seed is not None else ""
        row = re.sub(r"[^\w.]+", "-", self.row)
        return f"{self.corpus}-{row}{bits}{seed}-{self._digest()}"

    def _digest(self) -> str:
        """Of all that decides its figures; not of where files lie or how many processes work on it."""
        config = self.config
        decisive: dict[str, Any] = {
            "kind": self.kind,
            "how": self.how,
            "bits": self.bits,
            "corpus": config.corpus.model_dump(mode="json", exclude={"data_dir", "path", "shards"}),
            "k": config.evaluation.k,
        }
        if self.kind == "model":
            if config.evaluation.selection_metric:
                decisive["selection_metric"] = config.evaluation.selection_metric
            unlike = {"resume", "max_failures", "cpus_per_worker"}
            decisive["method"] = of_method(config.method)
            decisive["training"] = config.training.model_dump(mode="json", exclude=unlike)
        return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()[:8]


def load_plan(path: str | Path) -> Plan:
    """Read the file of a study, and check all that can be checked before any work.

    Raises:
        UsageError: the file is missing or broken, a key is unknown, or a cell cannot be.
    """
    try:
        path = find_config(path, what="study")
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}", "check the YAML.") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no mapping.", "see configs/studies/ for the form.")
    return parse_plan(values, path.parent, str(path))


def parse_plan(values: dict[str, Any], folder: Path, what: str) -> Plan:
    """A plan of plain values; names of corpora are files in ``folder`` or shipped ones. Errors as :func:`load_plan`."""
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
    # As preparation names them: absolute paths, and an edition of its own where only the first documents are taken.
    plan = plan.derive(corpora=tuple(one.derive(corpus=with_places(one.corpus)) for one in plan.corpora))
    _ = plan.cells
    return plan


def _corpus(named: Any, settings: dict[str, Any], folder: Path) -> Any:
    if isinstance(named, str):
        named = load_config(find_config(named, folder)).model_dump(mode="json", exclude={"service"})
    return _laid_over(settings, named) if isinstance(named, dict) else named


def _laid_over(above: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _laid_over(value, merged[key]) if both else value
    return merged


def _with(config: Config, vectors: str, bits: int | None = None) -> Config:
    """The configuration with the vectors of an encoder."""
    width = {} if bits is None else {"bits": bits}
    return config.derive(corpus={"features": None if vectors == TFIDF else vectors}, method=width)


def _configured(config: Config, row: str, chosen: MethodRow, bits: int, seed: int) -> Config:
    method = {"name": chosen.method or row, "preset": chosen.preset, "params": chosen.params, "bits": bits}
    return resolved(config.derive(method=method, training={"seed": seed}))
