"""File that describes a study of retrieval: test collections, and the rows of their tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from texthash.config import Config, Section, Seeds, Widths, find_config, load_config, parse_section
from texthash.errors import UsageError
from texthash.evaluation.metrics import Gain
from texthash.experiments.grid.plan import MethodRow
from texthash.input_files import read_settings
from texthash.methods.registry import resolved

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
KEY = "collections"


class CollectionPlan(Section):
    """A test collection: a folder in BEIR's layout, or the questions or titles of a corpus."""

    path: str | None = Field(None, description="folder in BEIR's layout, absolute or within the folder of the data")
    corpus: str | None = Field(None, description="YAML file of a prepared corpus, in place of path")
    queries: Literal["judged", "questions", "titles"] = Field(
        "judged", description="queries: those of the folder, the questions of a pair corpus, or titles of documents"
    )
    encoders: tuple[str, ...] = Field((), description="sentence encoders that are rows and inputs of methods")

    @model_validator(mode="after")
    def _has_one_source(self) -> CollectionPlan:
        if (self.path is None) == (self.corpus is None) or (self.path is None) == (self.queries == "judged"):
            raise ValueError("name a path, whose queries are judged, or a corpus with queries of questions or titles")
        return self


class Bm25Plan(Section):
    """A row of BM25."""

    k1: float = Field(1.2, ge=0)
    b: float = Field(0.75, ge=0, le=1)


class RetrievalMethod(MethodRow):
    """Rows of a method: Hamming and asymmetric; of one that only re-ranks, in pools by words and behind other rows."""

    features: str | None = Field(None, description="sentence encoder to learn from; a collection without it has no row")


class RetrievalPlan(Section):
    """A study of retrieval.

    Attributes:
        name: Name of the study; its directory is ``runs/retrieval/<name>`` in the state directory.
        collections: Test collections by name.
        settings: Configuration of the documents of folders, such as their edition.
        split: Split of the queries.
        most: Largest number of queries, evenly spaced; None for all.
        precision: Cutoffs of the precision.
        bits, seeds: Widths and seeds of all methods that have none of their own; a row is the mean over the seeds.
        keyword: Rows of BM25 by name; the first is the baseline of the paired tests.
        methods: Rows of methods by name.
        gain: Gain of nDCG.
    """

    name: str = Field(pattern=_NAME)
    collections: dict[str, CollectionPlan] = Field(min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    split: Literal["train", "validation", "test"] = "test"
    most: int | None = Field(None, ge=1)
    precision: tuple[int, ...] = Field((10,), min_length=1)
    bits: Widths = (128,)
    seeds: Seeds = (0,)
    keyword: dict[str, Bm25Plan] = Field(default_factory=lambda: {"bm25": Bm25Plan()}, min_length=1)
    methods: dict[str, RetrievalMethod] = Field(default_factory=dict)
    gain: Gain = "linear"

    def configured(self, base: Config, row: str, bits: int) -> Config:
        """Return the configuration of a row of a method on a corpus; its seed is set when it is trained.

        Raises:
            UsageError: There is no such method or hyper-parameter.
        """
        chosen = self.methods[row]
        method = {"name": chosen.method or row, "preset": chosen.preset, "params": chosen.params, "bits": bits}
        return resolved(base.derive(corpus={"features": chosen.features}, method=method))


def is_retrieval(path: str | Path) -> bool:
    """Return whether the file of a study names test collections."""
    values = _values(path)
    return isinstance(values, dict) and KEY in values


def load_retrieval_plan(path: str | Path) -> RetrievalPlan:
    """Read the file of a study, and check it before any work.

    Raises:
        UsageError: The file is missing or malformed, a key is unknown, or a method or hyper-parameter does not exist.
    """
    values = _values(path)
    for rows in ("methods", "keyword"):
        if isinstance(values.get(rows), dict):
            values[rows] = {name: own or {} for name, own in values[rows].items()}
    plan = parse_section(RetrievalPlan, values, str(path))
    for row, chosen in plan.methods.items():
        for bits in chosen.bits or plan.bits:
            plan.configured(Config(), row, bits)
    for one in plan.collections.values():
        if one.corpus is not None:
            load_config(find_config(one.corpus, find_config(path, what="study").parent))
    return plan


def _values(path: str | Path) -> Any:
    try:
        found = find_config(path, what="study")
        return yaml.safe_load(read_settings(found, "a study"))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}", "check the YAML.") from error
