"""Typed configuration. The same dotted names are used in YAML, on the command line and as MLflow parameters.

A value comes from the first of these that has one:

1. the command line (``method.bits=64``); in code, and in the arguments of a Serve application, the value that is given
2. the environment, where a variable stands for the key: :func:`environment_variables` names them all
3. the YAML file
4. the default below

A key that does not exist is an error that names the nearest one that does. Every number has its range here, so that a
value out of range is an error before any work; hyper-parameters have theirs on the class of their method.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from texthash.api.answers import VectorKind
from texthash.errors import UsageError, nearest_name
from texthash.progress import log_line
from texthash.uri import without_secrets

S = TypeVar("S", bound="Section")
_FORMER_METRIC = "choose_by"
_HOST_NAME = r"^(\*|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)$"
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every source of randomness takes
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1)]
Preset = Literal["default", "paper"]
Bits = Annotated[int, Field(ge=8, le=1024, multiple_of=8)]
_DATA, _GRPC_PORT = "TEXTHASH_DATA", "TEXTHASH_GRPC_PORT"
Widths = Annotated[tuple[Bits, ...], Field(min_length=1)]
Weighting = Literal["tfidf", "sublinear_tfidf", "binary_tfidf", "binary", "counts", "bm25"]


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values are checked, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def derive(self, **changes: Any) -> Self:
        """Return the section with other values, which are checked like those of a file.

        A mapping in place of a section inside changes the keys that it names and leaves the others:
        ``config.derive(training={"seed": 3})``.

        Raises:
            UsageError: an unknown key or a value out of range.
        """
        return parse_section(type(self), self._changed(changes), "the configuration")

    def _changed(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in type(self).model_fields}
        for name, change in changes.items():
            old = values.get(name)
            values[name] = old._changed(change) if isinstance(old, Section) and isinstance(change, Mapping) else change
        return values


def _count_or_share(value: int | float) -> int | float:
    if isinstance(value, float) and value > 1:
        raise ValueError("a count is a whole number, a share is a number from 0 to 1")
    return value


CountOrShare = Annotated[int | float, Field(ge=0), AfterValidator(_count_or_share)]


class SplitRule(Section):
    """How documents are divided into train, validation and test."""

    kind: Literal["given", "random", "halve_test"] = Field(
        "given",
        description="given: the corpus' own three splits; random: by seed, ignoring the corpus' own; "
        "halve_test: the corpus' train, its test divided into validation and test",
    )
    train: float = Field(0.6, gt=0, lt=1, description="share of train, for kind=random")
    validation: float = Field(0.2, gt=0, lt=1, description="share of validation, for kind=random")
    seed: Seed = 0

    @model_validator(mode="after")
    def _shares_leave_a_test(self) -> SplitRule:
        if self.train + self.validation >= 1:
            raise ValueError("train and validation leave nothing for test")
        return self


class Edition(Section):
    """How a corpus is prepared; results are only comparable within one corpus and edition."""

    name: str = Field("random60", pattern=r"^[a-z0-9][a-z0-9._-]*$")
    split: SplitRule = SplitRule(kind="random")
    sample: int | None = Field(
        None, ge=1, description="at most so many documents, drawn by split.seed before the split; null: all"
    )
    strip: tuple[Literal["headers", "footers", "quotes"], ...] = Field((), description="20newsgroups only")
    label_set: str | None = Field(
        None, description="where a corpus has several (`texthash corpora show`); null: its own"
    )
    lowercase: bool = True
    token_pattern: str = r"(?u)\b\w\w+\b"
    stop_words: Literal["english"] | None = "english"
    stemmer: Literal["porter"] | None = None
    vocabulary_size: int | None = Field(10_000, ge=1, description="most frequent words of train; null = all")
    min_df: CountOrShare = Field(1, description="drop rarer words: a count, or a share of train documents")
    max_df: CountOrShare = Field(1.0, description="drop more frequent words: a count, or a share")
    min_tokens: int = Field(1, ge=0, description="documents with fewer vocabulary words are left out (counted)")
    max_tokens: int | None = Field(None, ge=1, description="documents with more are left out (counted)")

    @field_validator("token_pattern")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _leaves_documents(self) -> Edition:
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens={self.min_tokens} is above max_tokens={self.max_tokens}")
        return self


def _as_list(value: Any) -> Any:
    """One name stands for a list of it."""
    return (value,) if isinstance(value, str) else value


class CorpusConfig(Section):
    name: str = Field("pydoc", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    path: str | None = Field(
        None, description="a corpus of your own: JSONL, JSON, CSV, TSV, Parquet or a folder of text"
    )
    text: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
        ("text",),
        min_length=1,
        description="columns of corpus.path that are encoded, joined by line breaks, such as [title, text]; the "
        "title alone is shown, never encoded",
    )
    format: Literal["rows", "dpr", "answers"] | None = Field(
        None,
        description="of corpus.path: rows (or a folder of text), questions with passages in the JSON of DPR, or "
        "tables of answer selection; null: what it looks like",
    )
    data_dir: str | None = Field(None, description="where official files lie; else TEXTHASH_DATA")
    edition: Edition = Edition()
    shards: int = Field(8, ge=1, description="Parquet files per split, whatever the number of workers")
    features: str | None = Field(
        None,
        description="sentence encoder, for methods that learn from its vectors: minilm, a folder, owner/name; "
        "minilm[128] cuts texts after 128 word pieces",
    )
    limit: int | None = Field(None, ge=1, description="only the first documents, for a quick trial")

    @model_serializer(mode="wrap")
    def _without_the_usual_text(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out ``text`` where it is the column of that name: so it was before it could be chosen, and what was
        prepared and recorded then stays the same."""
        values: dict[str, Any] = serialize(self)
        if self.text == type(self).model_fields["text"].default:
            values.pop("text", None)
        return values


class MethodConfig(Section):
    name: str = "nash"
    bits: Bits = 32
    preset: Preset = Field(
        "default",
        description="where hyper-parameters come from that params does not name: default, as "
        "`texthash methods show NAME` prints them; paper: what was printed, as far as it is known",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="hyper-parameters of the method")


class TrainingConfig(Section):
    epochs: int | None = Field(None, ge=1, description="null: the method's own")
    batch_size: int | None = Field(None, ge=1, description="global batch, over all workers; null: the method's")
    labelled: float = Field(
        1.0, gt=0, le=1, description="share of the training documents, drawn by the seed, whose labels a method sees"
    )
    workers: int = Field(1, ge=1)
    use_gpu: bool = False
    cpus_per_worker: float = Field(0.5, gt=0)
    autocast: Literal["bf16"] | None = None
    patience: int | None = Field(
        10, ge=1, description="stop after so many validations without a better one; null: all epochs"
    )
    validate_every: int = Field(1, ge=1, description="epochs between two validations")
    max_failures: int = Field(2, ge=0, description="worker deaths that a run survives")
    seed: Seed = 0
    resume: bool = True


class Range(Section):
    """Where one hyper-parameter is searched: exactly one of these."""

    uniform: tuple[float, float] | None = Field(None, description="from, to")
    log: tuple[float, float] | None = Field(None, description="from, to, every order of magnitude alike")
    whole: tuple[int, int] | None = Field(None, description="from, to, whole numbers, both included")
    choice: tuple[Any, ...] | None = Field(None, description="one of these values")

    @model_validator(mode="after")
    def _one_of_them(self) -> Range:
        if len(self.only()) != 1:
            raise ValueError("name one of uniform, log, whole and choice")
        return self

    @model_serializer
    def only(self) -> dict[str, Any]:
        """The kind that is named, and its values."""
        given = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: list(values) for name, values in given if values is not None}


class TuningConfig(Section):
    trials: int = Field(0, ge=0, description="0: no search, the hyper-parameters of method.params and method.preset")
    space: dict[str, Range] = Field(
        default_factory=dict,
        description="hyper-parameter to where it is searched, beside or instead of the method's own",
    )
    scheduler: Literal["asha", "pbt"] = Field(
        "asha",
        description="asha: ends poor trials early; pbt: all run to their end, and a poor one now and then goes on from "
        "the weights of a good one with its values changed (population based training)",
    )
    perturb_epochs: int = Field(2, ge=1, description="pbt: epochs between two such moments")
    concurrent: int = Field(2, ge=1, description="trials at a time; pbt: as many as the cluster has CPUs for")
    cpus_per_trial: float = Field(0.8, gt=0, description="claimed of the cluster; a trial has as many threads, or one")
    epochs: int | None = Field(None, ge=1, description="epochs of one trial; null: the method's own")
    grace_epochs: int = Field(2, ge=1, description="epochs before ASHA may stop a trial")
    seeds: Seeds | None = Field(None, description="final models are trained once on each; null: on training.seed alone")
    seed: Seed = Field(0, description="of the search itself")
    resume: bool = Field(False, description="go on with the latest unfinished sweep of the same configuration")


class EvaluationConfig(Section):
    k: int = Field(100, ge=1, le=1_000_000_000, description="main cut: documents retrieved per query")
    curve: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 10, 20, 50, 100, 200, 500, 1000),
        min_length=1,
        description="cuts at which the main figure is drawn; those beyond the number of documents are left out",
    )
    selection_metric: str | None = Field(
        None,
        description="the metric on validation by which epochs, trials and champions are chosen, such as map or "
        "ndcg_at_100; null: p_at_<k>, in a pair corpus recall_at_<k>",
    )

    @model_validator(mode="before")
    @classmethod
    def _former_name(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or _FORMER_METRIC not in values:
            return values
        log_line(f"evaluation.{_FORMER_METRIC} is called evaluation.selection_metric now; change the configuration.")
        renamed = {name: value for name, value in values.items() if name != _FORMER_METRIC}
        return {"selection_metric": values[_FORMER_METRIC], **renamed}


def _shown(uri: str | None) -> str | None:
    return None if uri is None else without_secrets(uri)


class TrackingConfig(Section):
    uri: Annotated[str | None, PlainSerializer(_shown, when_used="json")] = Field(
        None,
        repr=False,
        description="null: SQLite under TEXTHASH_HOME. A password in it stays in memory: parameters, records and files "
        "have the address without it; TEXTHASH_TRACKING_PASSWORD gives it too",
    )
    experiment: str | None = Field(None, description="null: texthash-<corpus>-<edition>")
    register_model: bool = True
    promote: Literal["if_better", "always", "never"] = Field(
        "if_better", description="when a registered model becomes the champion, which is served; judged on validation"
    )

    @field_validator("promote", mode="before")
    @classmethod
    def _one_spelling(cls, value: Any) -> Any:
        if value != "better":
            return value
        log_line("tracking.promote=better is written tracking.promote=if_better")
        return "if_better"


class IndexConfig(Section):
    shards: int = Field(2, ge=1)
    vectors: VectorKind | None = Field(
        None,
        description="kept beside the codes, float16, for `--rescore float`. activations: the method's real values "
        "before their cut to bits; features: the sentence vectors of corpus.features; null: none",
    )


class LimitsConfig(Section):
    """Limits of the service; each has a variable of the environment, TEXTHASH_<NAME>, and is shown by ``/v1/info``."""

    max_batch: int = Field(256, ge=1, description="texts or queries in one request")
    max_text_bytes: int = Field(65_536, ge=1, description="of one text, in UTF-8")
    max_body_bytes: int = Field(2_000_000, ge=1, description="of one request")
    max_limit: int = Field(1_000, ge=1, description="hits per query; limit + offset may be ten times as many")
    max_hits: int = Field(25_600, ge=1, description="of all queries of one request: queries x (limit + offset)")
    max_oversample: int = Field(100, ge=1, le=100, description="of rescore: so many times the limit are ordered again")
    request_timeout_s: float = Field(30.0, gt=0, description="from the first byte of a request to its answer")
    max_ongoing_requests: int = Field(256, ge=1, description="that are being answered")
    max_queued_requests: int = Field(512, ge=1, description="that wait; one more is answered 429")
    max_pending_bytes: int = Field(
        256_000_000, ge=1, description="bodies and answers in the memory of an ingress; beyond, 429"
    )
    min_free_bytes: int = Field(
        256_000_000, ge=0, description="free on the disk of the index; with less, writes are answered 507"
    )

    @model_validator(mode="before")
    @classmethod
    def _environment_before_defaults(cls, values: Any) -> Any:
        variables = {name: limit_variable(name) for name in cls.model_fields}
        found = {name: os.environ[variable] for name, variable in variables.items() if variable in os.environ}
        return {**found, **values} if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _one_body_has_room(self) -> LimitsConfig:
        if self.max_pending_bytes < self.max_body_bytes:
            raise ValueError(
                f"max_pending_bytes={self.max_pending_bytes} has no room for one body of "
                f"max_body_bytes={self.max_body_bytes}"
            )
        return self


class ServiceConfig(Section):
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65_535)
    route_prefix: str = Field("/", pattern=r"^/([\w.~-]+(/[\w.~-]+)*)?$", description="path below which it answers")
    grpc_port: int | None = Field(
        None, ge=1, le=65_535, description="of gRPC, on all addresses; null: TEXTHASH_GRPC_PORT, else there is no gRPC"
    )
    max_lag_s: float = Field(
        30.0,
        gt=0,
        description="seconds that the served release may be behind the current one, or not known to be it, until "
        "/health/ready answers 503",
    )
    cors_origins: tuple[str, ...] = Field((), description="origins whose pages may call the service; none by default")
    allowed_hosts: tuple[Annotated[str, Field(pattern=_HOST_NAME)], ...] = Field(
        (),
        description="further names, without a port, by which the service may be called, beside localhost, 127.0.0.1, "
        "[::1] and host; none: these where it listens on loopback without a key, else any name; *: any",
    )
    batch_wait_ms: float = Field(2.0, ge=0, description="how long the ingress waits for requests to batch")
    ingress_replicas: int = Field(1, ge=1)
    encoder_replicas: int = Field(1, ge=1)
    shard_replicas: int = Field(1, ge=1, description="copies of each shard, which share its reads")
    limits: LimitsConfig = Field(default_factory=LimitsConfig)  # when it is needed: it reads the environment

    @model_validator(mode="before")
    @classmethod
    def _environment_before_defaults(cls, values: Any) -> Any:
        found = os.environ.get(_GRPC_PORT)
        return {"grpc_port": found, **values} if found is not None and isinstance(values, Mapping) else values

    @property
    def url(self) -> str:
        """Where programs on this machine reach the service; without a slash at the end."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host
        return f"http://{host}:{self.port}{self.route_prefix.rstrip('/')}"


class Config(Section):
    """The whole configuration of a run."""

    corpus: CorpusConfig = CorpusConfig()
    method: MethodConfig = MethodConfig()
    training: TrainingConfig = TrainingConfig()
    tuning: TuningConfig = TuningConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()
    index: IndexConfig = IndexConfig()
    service: ServiceConfig = Field(default_factory=ServiceConfig)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the final models."""
        return self.tuning.seeds or (self.training.seed,)

    def flat(self) -> dict[str, Any]:
        """Dotted keys and plain values, as MLflow parameters."""
        return dict(_flatten(self.model_dump(mode="json"), ""))

    def to_yaml(self) -> str:
        from omegaconf import OmegaConf

        return OmegaConf.to_yaml(OmegaConf.create(self.model_dump(mode="json")))


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, and lay the environment and then dotted overrides such as ``method.bits=64`` over it.

    Raises:
        UsageError: missing file, broken YAML, unknown key (with the nearest name) or a value out of range.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    for item in overrides:
        if "=" not in item:
            raise UsageError(f"override {item!r} has no '='.", "write it as section.key=value, e.g. method.bits=64.")
    try:
        base = OmegaConf.load(path) if path else OmegaConf.create({})
        if not OmegaConf.is_dict(base):
            raise UsageError(f"{path} holds no mapping of sections.", "see configs/quickstart.yaml for the form.")
        merged = OmegaConf.merge(base, _from_environment(base), OmegaConf.from_dotlist(list(overrides)))
        plain = OmegaConf.to_container(merged, resolve=True)
    except FileNotFoundError:
        raise UsageError(f"there is no configuration file {path}.", "see configs/ for those that exist.") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path or 'an override'} cannot be read: {reason}", "check the YAML syntax.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.", "name a YAML file.") from error
    return parse_config(cast("Mapping[Any, Any]", plain))


def parse_config(values: Mapping[Any, Any]) -> Config:
    """Validate a nested mapping into a :class:`Config`; raises :class:`UsageError`."""
    return parse_section(Config, values, "the configuration")


def parse_section(section: type[S], values: Mapping[Any, Any], what: str) -> S:
    """Validate a nested mapping into a section; raises :class:`UsageError` that says what of ``what`` is wrong."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem, section) for problem in error.errors()]
        raise UsageError(f"{what} is wrong: " + "; ".join(lines), "correct the keys named above.") from None


def environment_variables() -> dict[str, str]:
    """Dotted keys of the configuration to the variables of the environment that stand for them."""
    limits = {f"service.limits.{name}": limit_variable(name) for name in LimitsConfig.model_fields}
    return {"corpus.data_dir": _DATA, "service.grpc_port": _GRPC_PORT, **limits}


def _from_environment(file: Any) -> Any:
    """What the environment says of the keys that the file sets; of the others, the sections ask it themselves."""
    from omegaconf import OmegaConf

    found = OmegaConf.create({})
    for key, variable in environment_variables().items():
        if variable in os.environ and OmegaConf.select(file, key) is not None:
            OmegaConf.update(found, key, os.environ[variable])
    return found


def _explain(problem: Any, root: type[BaseModel]) -> str:
    location = [str(part) for part in problem["loc"]]
    dotted = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _keys_at(root, location[:-1])
        return f"unknown key {dotted!r}" + (f" ({nearest_name(location[-1], known)})" if known else "")
    # A default that is made from the environment fails below its own section, without the names of those above.
    ends = (variable for key, variable in environment_variables().items() if f".{key}".endswith(f".{dotted}"))
    variable = next(ends, "")
    if variable in os.environ and os.environ[variable] == problem.get("input"):
        dotted = variable
    return f"{dotted}={problem.get('input')!r}: {problem['msg']}"


def limit_variable(limit: str) -> str:
    """The environment variable that sets a limit of the service."""
    return f"TEXTHASH_{limit.upper()}"


def _keys_at(root: type[BaseModel], location: Sequence[str]) -> Iterable[str]:
    section = root
    for part in location:
        annotation = section.model_fields[part].annotation if part in section.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return section.model_fields


def _flatten(value: Any, prefix: str) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
