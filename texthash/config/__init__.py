"""Typed configuration, one file per section. The same dotted keys are used in YAML, on the command line and in MLflow.

A value comes from the first of these that has one:

1. the command line (``method.bits=64``); in code, and in the arguments of a Serve application, the argument
2. the environment, if the key has a variable: :func:`environment_variables` lists all of them
3. the YAML file
4. the default of the section

An unknown key is an error that names the nearest known one. Ranges of numbers are defined here, so that a value out of
range is an error before any work; those of hyper-parameters are defined on the class of their method.
"""

from texthash.api.answers import KeywordAnalysis, VectorKind
from texthash.config.cluster import ClusterConfig
from texthash.config.corpus import CorpusConfig, Edition, SplitRule, Weighting
from texthash.config.evaluation import EvaluationConfig
from texthash.config.index import IndexConfig
from texthash.config.method import MethodConfig, Preset
from texthash.config.root import Config, load_config, parse_config
from texthash.config.section import (
    LISTED_ONCE,
    Bits,
    Section,
    Seed,
    Seeds,
    Widths,
    environment_variables,
    parse_section,
)
from texthash.config.service import (
    DOCUMENT_COPIES_BYTES,
    MAPPED_FILES_BYTES,
    AutoscalingConfig,
    LimitsConfig,
    RerankConfig,
    ServiceConfig,
    limit_variable,
)
from texthash.config.shipped import find_config
from texthash.config.tracking import TrackingConfig
from texthash.config.training import IRRELEVANT_TO_WEIGHTS, TrainingConfig
from texthash.config.tuning import Range, TuningConfig

__all__ = [
    "DOCUMENT_COPIES_BYTES",
    "IRRELEVANT_TO_WEIGHTS",
    "LISTED_ONCE",
    "MAPPED_FILES_BYTES",
    "AutoscalingConfig",
    "Bits",
    "ClusterConfig",
    "Config",
    "CorpusConfig",
    "Edition",
    "EvaluationConfig",
    "IndexConfig",
    "KeywordAnalysis",
    "LimitsConfig",
    "MethodConfig",
    "Preset",
    "Range",
    "RerankConfig",
    "Section",
    "Seed",
    "Seeds",
    "ServiceConfig",
    "SplitRule",
    "TrackingConfig",
    "TrainingConfig",
    "TuningConfig",
    "VectorKind",
    "Weighting",
    "Widths",
    "environment_variables",
    "find_config",
    "limit_variable",
    "load_config",
    "parse_config",
    "parse_section",
]
