"""The configuration: where a value comes from, what a wrong key or value is told, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from texthash.config import (
    Config,
    LimitsConfig,
    Range,
    Section,
    ServiceConfig,
    environment_variables,
    load_config,
    parse_config,
)
from texthash.corpora.catalog import records
from texthash.errors import UsageError
from texthash.methods.registry import methods

CONFIGS = Path(__file__).parents[1] / "configs"


def written(folder, text):
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_override_beats_the_file_and_the_file_the_default(tmp_path):
    path = written(tmp_path, "method: {bits: 64}\ntraining: {epochs: 7}\n")
    config = load_config(path, ["method.bits=128", "corpus.edition.split.seed=3"])
    assert (config.method.bits, config.training.epochs, config.corpus.edition.split.seed) == (128, 7, 3)
    assert config.method.name == Config().method.name


def sections(section: type[Section], prefix: str = "") -> Iterator[tuple[str, Section]]:
    """The sections within one, each with its default."""
    for name, field in section.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(default, Section):
            yield f"{prefix}{name}", default
            yield from sections(type(default), f"{prefix}{name}.")


def test_one_key_of_a_section_leaves_the_others_as_they_were():
    """A section that is given in part has the defaults of its own type, whatever its place had as a whole."""
    found = dict(sections(Config))
    assert len(found) > 10
    assert {name for name, default in found.items() if default != type(default)()} == set()
    split = load_config(None, ["corpus.edition.split.seed=3"]).corpus.edition.split
    assert (split.kind, split.seed) == ("random", 3)


def test_a_shipped_configuration_is_found_by_name_but_a_file_that_is_here_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = load_config(CONFIGS / "quickstart.yaml", ["training.epochs=3"])
    for name in ("quickstart.yaml", "configs/quickstart.yaml", "./quickstart.yaml"):
        assert load_config(name, ["training.epochs=3"]) == expected
    (tmp_path / "quickstart.yaml").write_text("method: {bits: 8}\n", encoding="utf-8")
    assert load_config("quickstart.yaml") == load_config(None, ["method.bits=8"])


def test_a_name_that_is_neither_here_nor_shipped_gets_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no configuration file quikstart\.yaml") as raised:
        load_config("quikstart.yaml")
    assert "did you mean 'quickstart.yaml'?" in raised.value.remedy
    for path in (tmp_path / "quickstart.yaml", "../quickstart.yaml", "elsewhere/quickstart.yaml"):
        with pytest.raises(UsageError, match="there is no configuration file"):
            load_config(path)


def test_a_file_whose_lines_are_all_comments_is_all_defaults(tmp_path):
    assert load_config(written(tmp_path, "# method: nash\n")) == load_config() == Config()


def test_lists_nulls_and_hyper_parameters_are_given_as_in_yaml():
    config = load_config(
        None, ["tuning.seeds=[1,2]", "corpus.edition.vocabulary_size=null", "method.params={hidden: 50, lr: 1e-3}"]
    )
    assert config.tuning.seeds == (1, 2)
    assert config.corpus.edition.vocabulary_size is None
    assert config.method.params == {"hidden": 50, "lr": 0.001}


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("trainning.epochs", "unknown key 'trainning' (did you mean 'training'?)"),
        ("method.bitz", "unknown key 'method.bitz' (did you mean 'bits'?)"),
        ("corpus.edition.stemer", "unknown key 'corpus.edition.stemer' (did you mean 'stemmer'?)"),
        ("corpus.edition.split.knid", "unknown key 'corpus.edition.split.knid' (did you mean 'kind'?)"),
        ("service.limits.max_bach", "unknown key 'service.limits.max_bach' (did you mean 'max_batch'?)"),
        (
            "index.qqq",
            "unknown key 'index.qqq' (known: bm25_b, bm25_k1, discard_writes, keywords, lead_weight, shards, "
            "title_brevity, title_weight, vectors)",
        ),
    ],
)
def test_a_misspelt_key_is_told_the_nearest_of_its_section(tmp_path, key, says):
    with pytest.raises(UsageError) as by_override:
        load_config(None, [f"{key}=1"])
    assert says in by_override.value.problem
    *sections, last = key.split(".")
    text = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(sections))
    with pytest.raises(UsageError) as by_file:
        load_config(written(tmp_path, f"{text}{'  ' * len(sections)}{last}: 1\n"))
    assert by_file.value.problem == by_override.value.problem


def test_every_wrong_key_is_named_at_once():
    with pytest.raises(UsageError) as raised:
        load_config(None, ["method.bits=7", "training.workers=0", "tuning.trails=3"])
    assert all(name in raised.value.problem for name in ("method.bits=7", "training.workers=0", "tuning.trails"))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("method.bits=12", "multiple of 8"),
        ("method.bits=2048", "less than or equal to 1024"),
        ("method.bits=many", "method.bits='many'"),
        ("method=nash", "method='nash'"),
        ("corpus.edition.split.train=0.9", "leave nothing for test"),
        ("corpus.name=../../elsewhere", "corpus.name='../../elsewhere'"),
        ("corpus.edition.name=a/b", "corpus.edition.name='a/b'"),
        ("method.bits=${nowhere}", "nowhere"),
        ("method.bits", "has no '='"),
        ("corpus.text=[title,title]", "title is listed twice"),
        ("corpus.attributes=[year,year:number]", "year is listed twice"),
        ("corpus.edition.strip=[quotes,quotes]", "quotes is listed twice"),
        ("evaluation.curve=[10,10]", "10 is listed twice"),
        ("tuning.seeds=[1,1]", "1 is listed twice"),
        ("corpus.columns={id: key, title: key}", "'key' is the column of id and of title"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(override, says):
    with pytest.raises(UsageError) as raised:
        load_config(None, [override])
    assert says in raised.value.problem
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("text", "override"), [("corpus: [1, 2]\n", "corpus.path=x"), ("corpus: {path: {a: 1}}\n", "corpus.path=[x]")]
)
def test_a_list_in_place_of_a_section_is_one_line_and_a_remedy(tmp_path, text, override):
    with pytest.raises(UsageError) as raised:
        load_config(written(tmp_path, text), [override])
    assert "list" in raised.value.problem
    assert "mappings" in raised.value.remedy


def test_a_file_that_is_no_configuration_is_one_line_and_a_remedy(tmp_path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x9f")
    broken = tmp_path / "broken.yaml"
    broken.write_text("method: [1\n")
    for path in (tmp_path / "nowhere.yaml", tmp_path, binary, broken):
        with pytest.raises(UsageError) as raised:
            load_config(path)
        assert str(path) in raised.value.problem
        assert "\n" not in raised.value.problem
        assert raised.value.remedy


def test_a_list_is_no_configuration(tmp_path):
    with pytest.raises(UsageError, match="holds no mapping"):
        load_config(written(tmp_path, "- method\n"))


def test_a_limit_of_the_environment_holds_however_the_service_is_configured(monkeypatch):
    monkeypatch.setenv("TEXTHASH_MAX_BATCH", "7")
    assert load_config().service.limits.max_batch == 7
    assert load_config(None, ["service.port=8001"]).service.limits.max_batch == 7
    with_another = load_config(None, ["service.limits.max_limit=5", "service.limits.max_batch=9"]).service.limits
    assert (with_another.max_batch, with_another.max_limit) == (9, 5)
    assert ServiceConfig().limits.max_batch == LimitsConfig().max_batch == 7


@pytest.mark.parametrize("overrides", [[], ["service.port=8001"], ["service.limits.max_limit=5"]])
def test_a_wrong_limit_of_the_environment_is_named_as_such(monkeypatch, overrides):
    monkeypatch.setenv("TEXTHASH_MAX_BATCH", "lots")
    with pytest.raises(UsageError, match="TEXTHASH_MAX_BATCH='lots'"):
        load_config(None, overrides)


def test_flat_names_are_those_of_overrides():
    config = load_config(None, ["method.bits=64", "method.params.hidden=50", "corpus.edition.strip=[quotes]"])
    flat = config.flat()
    assert flat["method.bits"] == 64
    assert flat["method.params.hidden"] == 50
    assert flat["corpus.edition.strip"] == ["quotes"]
    assert flat["service.limits.max_batch"] == 256
    keys = [key for key in flat if key != "method.params"]
    overrides = [f"{key}={'null' if flat[key] is None else flat[key]}" for key in keys]
    assert load_config(None, overrides) == config


def test_yaml_comes_back_the_same(tmp_path):
    config = load_config(None, ["method.bits=64", "method.params.rate=1e-5", "tuning.seeds=[3,4]", "training.epochs=2"])
    assert load_config(written(tmp_path, config.to_yaml())) == config
    assert parse_config(config.model_dump(mode="json")) == config


def test_nothing_changes_later():
    with pytest.raises(ValidationError):
        Config().method.bits = 64


def test_every_configuration_of_the_project_that_is_one_run_names_what_there_is():
    found = [*sorted(CONFIGS.glob("*.yaml")), *sorted((CONFIGS / "sweeps").glob("*.yaml"))]
    assert len(found) >= 18
    names = {path.stem for path in found}
    assert {f"{corpus}-hansen" for corpus in ("20newsgroups", "agnews", "reuters", "tmc")} <= names
    for path in found:
        config = load_config(path)
        assert config.method.name in methods(), path
        record = records().get(config.corpus.name)
        assert record is not None or path.stem == "own-corpus", path
        if record is not None and record.survey:
            assert config.corpus.edition.label_set in (None, *record.label_sets), path
            if path.parent == CONFIGS:
                corpus = config.corpus.name.replace("_", "-")
                assert path.stem == f"{corpus}-{config.corpus.edition.name}", "a file is found by corpus and edition"
    prepared = {load_config(path).corpus.name for path in CONFIGS.glob("*.yaml")}
    assert prepared >= {name for name, record in records().items() if record.survey}


RANGES = {
    "training.seed": ["-1", "4294967296", "1.5"],
    "training.epochs": ["0", "-3"],
    "training.batch_size": ["0"],
    "training.labelled": ["0", "1.1", "nan"],
    "training.cpus_per_worker": ["0", "inf", "nan"],
    "training.patience": ["0"],
    "training.validate_every": ["0"],
    "training.max_failures": ["-1"],
    "tuning.trials": ["-1"],
    "tuning.seed": ["-1"],
    "tuning.seeds": ["[]", "[0,-1]"],
    "tuning.cpus_per_trial": ["0", "inf"],
    "tuning.grace_epochs": ["0"],
    "tuning.gpus_per_trial": ["0", "-1", "inf"],
    "cluster.wait_s": ["-1", "inf", "nan"],
    "cluster.placement_strategy": ["NEAR"],
    "service.max_replicas_per_node": ["0", "101"],
    "evaluation.k": ["0"],
    "evaluation.curve": ["[]", "[0]", "[1,-5]"],
    "tracking.promote": ["perhaps"],
    "index.shards": ["0"],
    "corpus.shards": ["0"],
    "corpus.limit": ["0"],
    "corpus.edition.split.seed": ["-1"],
    "corpus.edition.split.train": ["0", "1", "nan"],
    "corpus.edition.min_df": ["-1", "1.5", "nan", "inf"],
    "corpus.edition.max_df": ["-0.1", "1.01"],
    "corpus.edition.min_tokens": ["-1"],
    "corpus.edition.token_pattern": ["(unclosed", "(a+)+$"],
    "service.port": ["0", "65536"],
    "service.batch_wait_ms": ["-1", "inf"],
    "service.limits.request_timeout_s": ["0", "inf", "nan"],
    "method.bits": ["30", "0", "1032"],
    "method.preset": ["published"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in RANGES.items() for value in values])
def test_a_value_out_of_range_is_one_error_that_names_key_and_value(key, value, tmp_path):
    *sections, last = key.split(".")
    text = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(sections))
    quoted = {"nan": ".nan", "inf": ".inf", "(unclosed": "'(unclosed'", "(a+)+$": "'(a+)+$'"}.get(value, value)
    path = written(tmp_path, f"{text}{'  ' * len(sections)}{last}: {quoted}\n")
    for load in (lambda: load_config(path), lambda: load_config(None, [f"{key}={quoted}"])):
        with pytest.raises(UsageError) as raised:
            load()
        assert key in raised.value.problem
        assert "correct the keys" in raised.value.remedy


def test_every_number_of_the_configuration_has_its_range():
    def bare(section, at):
        for name, field in section.model_fields.items():
            kinds = {field.annotation, *get_args(field.annotation)}
            inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)
            if inner is not None and inner is not Range:
                yield from bare(inner, f"{at}{name}.")
            elif kinds & {int, float} and not field.metadata:
                yield f"{at}{name}"

    assert list(bare(Config, "")) == []


def test_two_values_that_contradict_each_other_are_refused():
    with pytest.raises(UsageError, match="min_tokens=9 is above max_tokens=3"):
        load_config(None, ["corpus.edition.min_tokens=9", "corpus.edition.max_tokens=3"])


def test_a_derived_configuration_is_checked_like_a_file():
    config = Config()
    changed = config.derive(training={"seed": 3}, method={"params": {"hidden": 9}})
    assert (changed.training.seed, changed.method.params, changed.method.name) == (3, {"hidden": 9}, config.method.name)
    assert config.training.seed == 0
    assert changed.derive(training={"seed": 0}, method={"params": {}}) == config
    for changes, says in (
        ({"training": {"seed": -1}}, "training.seed=-1"),
        ({"training": {"sed": 1}}, "unknown key 'training.sed' (did you mean 'seed'?)"),
        ({"trainning": {}}, "unknown key 'trainning'"),
        ({"training": None}, "training=None"),
        ({"method": {"bits": 12}}, "method.bits=12"),
        ({"corpus": {"edition": {"split": {"train": 0.9}}}}, "leave nothing for test"),
    ):
        with pytest.raises(UsageError) as raised:
            config.derive(**changes)
        assert says in raised.value.problem


def test_nothing_derives_a_configuration_unchecked():
    root = Path(__file__).parents[1]
    found = [path for folder in ("texthash", "pipelines", "deploy") for path in (root / folder).rglob("*.py")]
    assert len(found) > 200
    copying = [path.name for path in found if "model_copy(" in path.read_text(encoding="utf-8")]
    assert copying == ["body.py"], "bodies of requests are no configurations"


@pytest.mark.parametrize(
    ("key", "variable", "values"),
    [
        ("service.limits.max_batch", "TEXTHASH_MAX_BATCH", (5, 6, 7)),
        ("service.grpc_port", "TEXTHASH_GRPC_PORT", (9001, 9002, 9003)),
        ("corpus.data_dir", "TEXTHASH_DATA", ("/by/file", "/by/environment", "/by/command")),
    ],
)
def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    key, variable, values, tmp_path, monkeypatch
):
    assert environment_variables()[key] == variable
    in_file, in_environment, in_command = values
    monkeypatch.delenv(variable, raising=False)
    *sections, last = key.split(".")
    text = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(sections))
    path = written(tmp_path, f"{text}{'  ' * len(sections)}{last}: {in_file}\n")

    def found(file, *overrides):
        return load_config(file, overrides).flat()[key]

    default = found(None)
    assert default not in values
    assert found(path) == in_file
    monkeypatch.setenv(variable, str(in_environment))
    assert found(path) == in_environment
    assert found(path, f"{key}={in_command}") == found(None, f"{key}={in_command}") == in_command
    if key != "corpus.data_dir":  # which stays null in a record: the place is one of this machine
        assert found(None) == in_environment


def test_a_key_without_a_variable_goes_from_the_command_line_to_the_file(tmp_path, monkeypatch):
    path = written(tmp_path, "training: {epochs: 4}\n")
    monkeypatch.setenv("TEXTHASH_EPOCHS", "9")
    assert load_config(path).training.epochs == 4
    assert load_config(path, ["training.epochs=5"]).training.epochs == 5


def test_the_old_spelling_of_a_rule_of_promotion_still_counts_and_says_the_new_one(capsys):
    assert load_config(None, ["tracking.promote=better"]).tracking.promote == "if_better"
    assert "if_better" in capsys.readouterr().err
    assert load_config(None, ["tracking.promote=if_better"]) == load_config()
