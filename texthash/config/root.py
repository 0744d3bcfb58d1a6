"""Whole configuration, and its loading from YAML, environment and command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, cast

from pydantic import (
    Field,
    model_validator,
)

from texthash.config.cluster import ClusterConfig
from texthash.config.corpus import CorpusConfig
from texthash.config.evaluation import EvaluationConfig
from texthash.config.index import IndexConfig
from texthash.config.method import MethodConfig
from texthash.config.section import Section, environment_variables, parse_section
from texthash.config.service import ServiceConfig
from texthash.config.shipped import find_config
from texthash.config.tracking import TrackingConfig
from texthash.config.training import TrainingConfig
from texthash.config.tuning import TuningConfig
from texthash.errors import UsageError
from texthash.input_files import read_settings


class Config(Section):
    """Whole configuration of a run."""

    corpus: CorpusConfig = CorpusConfig()
    method: MethodConfig = MethodConfig()
    training: TrainingConfig = TrainingConfig()
    tuning: TuningConfig = TuningConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()
    index: IndexConfig = IndexConfig()
    cluster: ClusterConfig = Field(default_factory=ClusterConfig)
    service: ServiceConfig = Field(default_factory=ServiceConfig)

    @model_validator(mode="after")
    def _accelerators_are_gpus(self) -> Config:
        if self.cluster.accelerator_type is not None and not self.training.use_gpu:
            raise ValueError(f"cluster.accelerator_type={self.cluster.accelerator_type} needs training.use_gpu=true")
        return self

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the final models."""
        return self.tuning.seeds or (self.training.seed,)

    def flat(self) -> dict[str, Any]:
        """Return plain values by dotted key, as MLflow parameters."""
        return dict(_flatten(self.model_dump(mode="json"), ""))

    def to_yaml(self) -> str:
        """Return the configuration as YAML."""
        from omegaconf import OmegaConf

        return OmegaConf.to_yaml(OmegaConf.create(self.model_dump(mode="json")))


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, then apply the environment and overrides such as ``method.bits=64``.

    If the file does not exist, a name such as ``quickstart.yaml`` selects a configuration shipped with texthash.

    Raises:
        UsageError: The file is missing or broken, a key is unknown, or a value is out of range.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    for item in overrides:
        if "=" not in item:
            raise UsageError(f"override {item!r} has no '='.", "write it as section.key=value, e.g. method.bits=64.")
    try:
        base = OmegaConf.load(StringIO(_text(path))) if path else OmegaConf.create({})
        if not OmegaConf.is_dict(base):
            raise UsageError(f"{path} holds no mapping of sections.", "see configs/quickstart.yaml for an example.")
        merged = OmegaConf.merge(base, _from_environment(base), OmegaConf.from_dotlist(list(overrides)))
        plain = OmegaConf.to_container(merged, resolve=True)
    except TypeError as error:  # a list where the overrides have a section, or the other way round
        raise UsageError(
            f"{path or 'an override'} has a list where the command line or the environment names a key of a section, "
            "or the other way round.",
            "write sections as mappings; see configs/quickstart.yaml for an example.",
        ) from error
    except (YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:  # also of a number beyond digits
        reason = " ".join(str(error).split())
        raise UsageError(f"{path or 'an override'} cannot be read: {reason}", "check the YAML syntax.") from error
    return parse_config(cast("Mapping[Any, Any]", plain))


def _text(path: str | Path) -> str:
    return read_settings(find_config(path), "a configuration")


def parse_config(values: Mapping[Any, Any]) -> Config:
    """Validate a nested mapping into a :class:`Config`. Raises the errors of :func:`parse_section`."""
    return parse_section(Config, values, "the configuration")


def _from_environment(file: Any) -> Any:
    """Return values from the environment for keys that the file sets. Sections read the environment for other keys."""
    from omegaconf import OmegaConf

    found = OmegaConf.create({})
    for key, variable in environment_variables().items():
        if variable in os.environ and OmegaConf.select(file, key) is not None:
            OmegaConf.update(found, key, os.environ[variable])
    return found


def _flatten(value: Any, prefix: str) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
