"""The command line: data on stdout, progress and errors on stderr; exit status 0 done, 1 failed, 2 wrong use."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from texthash import __version__
from texthash.config import Config, load_config
from texthash.errors import UsageError, exit_status, explained
from texthash.home import HOME_VARIABLE, Home, resolve_home
from texthash.progress import say

app = typer.Typer(
    name="texthash",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Documents learned into short binary codes, searched exactly in Hamming space.",
    epilog="Example: texthash train nash --corpus pydoc --bits 32 && texthash evaluate latest",
)
index_app = typer.Typer(no_args_is_help=True, help="Build, look at and search indexes.")
app.add_typer(index_app, name="index")

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file; see configs/.")]
Words = Annotated[list[str] | None, typer.Argument(metavar="[METHOD] [section.key=value]...")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[section.key=value]...")]
CorpusName = Annotated[str | None, typer.Option("--corpus", help="As `texthash corpora` lists them; corpus.name.")]
Bits = Annotated[int | None, typer.Option("--bits", help="Length of the code; method.bits.")]
Address = Annotated[str | None, typer.Option("--address", help="Ray cluster to work on; `auto` finds one here.")]
Model = Annotated[str, typer.Argument(help="Directory or name of a trained model, or latest.")]
_VERBOSE = {"traceback": False}
_WIDE = 400


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"texthash {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    home: Annotated[str | None, typer.Option("--home", help=f"State directory; default {HOME_VARIABLE}.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    _VERBOSE["traceback"] = verbose
    if home:
        os.environ[HOME_VARIABLE] = str(Path(home).expanduser().absolute())


# -- what there is ------------------------------------------------------------------------------------------------


@app.command()
def methods(as_json: Json = False) -> None:
    """List the hashing methods. Example: `texthash methods --json`"""
    from texthash.methods.registry import methods as registered

    rows = [
        {
            "name": card.name,
            "title": card.title,
            "venue": card.venue,
            "survey_entry": card.survey_entry,
            "tags": list(card.tags),
            "supervision": card.supervision,
            "inputs": ["words", *sorted(card.needs)],
            "fidelity": card.fidelity,
        }
        for card in (method.card for method in registered().values())
    ]
    _show(rows, as_json, ["name", "survey_entry", "venue", "supervision", "fidelity", "title"])


@app.command()
def corpora(
    as_json: Json = False,
    data_dir: Annotated[str | None, typer.Option("--data-dir", help="Where official files lie.")] = None,
) -> None:
    """List the corpora and which are at hand. Example: `texthash corpora`"""
    from texthash.corpora.catalog import CORPORA, at_hand

    home = resolve_home()
    rows = [
        {
            "name": record.name,
            "documents": record.documents,
            "labels": record.labels,
            "multi_label": record.multi_label,
            "licence": record.licence,
            "at_hand": at_hand(record.name, data_dir, home),
        }
        for record in CORPORA.values()
    ]
    _show(rows, as_json)


@app.command()
def doctor(overrides: Overrides = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Check this machine and say how to mend what is wrong. Example: `texthash doctor`"""
    from texthash.workflow.doctor import examine

    findings = examine(load_config(config, overrides or []), resolve_home())
    _show([asdict(finding) for finding in findings], as_json)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


# -- from a corpus to a model -------------------------------------------------------------------------------------


@app.command()
def prepare(
    overrides: Overrides = None, config: ConfigFile = None, corpus: CorpusName = None, address: Address = None
) -> None:
    """Prepare a corpus. Example: `texthash prepare corpus.name=mine corpus.path=documents.jsonl`"""
    settings = _settings(config, overrides, corpus=corpus)
    with _on_ray(address) as distributed:
        prepared = _prepared(settings, resolve_home(), distributed)
    _emit({"path": str(prepared.path), "documents": prepared.manifest.documents, "dropped": prepared.manifest.dropped})


@app.command()
def train(
    words: Words = None,
    config: ConfigFile = None,
    corpus: CorpusName = None,
    bits: Bits = None,
    seed: Annotated[int | None, typer.Option("--seed", help="training.seed")] = None,
    address: Address = None,
) -> None:
    """Train one model and evaluate it on validation. Example: `texthash train nash --corpus pydoc --bits 64`"""
    from texthash.workflow.study import Study

    settings = _settings(config, words, corpus=corpus, bits=bits, seed=seed)
    home = resolve_home()
    wanted = "local" if settings.training.workers > 1 and not address else address
    with _on_ray(wanted) as distributed:
        study = Study(settings, home, _prepared(settings, home, distributed))
        model = study.train(settings.training.seed, distributed=distributed)
    found = study.evaluate(model, test=False)
    study.report([model], model.run)
    figures = {split: evaluation.metrics for split, evaluation in found.items()}
    _emit({"model": str(model.directory), "run": model.run.run_id, **figures})


@app.command()
def tune(
    words: Words = None,
    config: ConfigFile = None,
    corpus: CorpusName = None,
    bits: Bits = None,
    trials: Annotated[int | None, typer.Option("--trials", help="tuning.trials")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished sweep.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the search space and end.")] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Search hyper-parameters, train the winner on each seed, test once, release the best.

    Example: `texthash tune nash --corpus 20newsgroups --trials 20`
    """
    from texthash.tuning.spaces import describe

    settings = _settings(config, words, corpus=corpus, bits=bits, trials=trials)
    if resume:
        settings = settings.model_copy(update={"tuning": settings.tuning.model_copy(update={"resume": True})})
    if dry_run:
        _show(describe(settings.method, settings.training), as_json)
        return
    from texthash.workflow.pipeline import finish
    from texthash.workflow.study import Study

    home = resolve_home()
    with _on_ray(address or "local"):
        study = Study(settings, home, _prepared(settings, home, True))
        parent, found = study.search()
        summary = finish(study.with_params(found.params), parent, found)
    if as_json:
        _emit(summary)
    else:
        _show([asdict(trial) for trial in found.trials], False)


@app.command()
def evaluate(
    model: Model = "latest",
    test: Annotated[bool, typer.Option("--test", help="Open the test split, for a model that is final.")] = False,
    as_json: Json = False,
) -> None:
    """All figures of a trained model. Example: `texthash evaluate latest --json`"""
    from texthash.workflow.models import find_model
    from texthash.workflow.study import Study, corpus_of

    home = resolve_home()
    trained = find_model(home, model)
    study = Study(trained.config, home, corpus_of(trained, home))
    found = study.evaluate(trained, test=test)
    page = study.report([trained], trained.run)
    say(f"report: {page}")
    if as_json:
        _emit({split: evaluation.to_dict() for split, evaluation in found.items()})
    else:
        figures = {split: evaluation.metrics for split, evaluation in found.items()}
        _show(
            [{"figure": name, **{s: figures[s][name] for s in figures}} for name in figures.get("validation", {})],
            False,
        )


@app.command()
def report(
    models: Annotated[list[str] | None, typer.Argument(help="Trained models; default: latest.")] = None,
    output: Annotated[Path, typer.Option("--output", help="Directory of the report.")] = Path("report"),
) -> None:
    """One page about evaluated models. Example: `texthash report MODEL_A MODEL_B --output report`"""
    from texthash.workflow.models import find_model, make_report

    home = resolve_home()
    print(make_report([find_model(home, name) for name in models or ["latest"]]).save(output))


@app.command()
def encode(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts; none: one a line from stdin.")] = None,
    model: Annotated[str, typer.Option("--model", help="A trained model, or `released`.")] = "released",
    form: Annotated[str, typer.Option("--format", help="hex or bits.")] = "hex",
) -> None:
    """Codes of texts, one a line. Example: `texthash encode "sort an array" --format bits`"""
    from texthash.hamming.codes import to_bitstring, to_hex

    if form not in ("hex", "bits"):
        raise UsageError(f"there is no format {form!r}.", "use hex or bits.")
    given = texts or [line.rstrip("\n") for line in sys.stdin]
    hasher = _hasher(model)
    values, known = hasher.read(given)
    for text, is_known in zip(given, known, strict=True):
        if not is_known:
            say(f"warning: no word of {text[:40]!r} is in the vocabulary: this is the code of an empty document")
    codes = hasher.cut(values)
    print("\n".join(to_hex(codes) if form == "hex" else to_bitstring(codes)))


# -- index, search, service ---------------------------------------------------------------------------------------


@index_app.command("build")
def index_build(
    model: Model = "latest", overrides: Overrides = None, config: ConfigFile = None, address: Address = None
) -> None:
    """Register a trained model, build its index, release both. Example: `texthash index build latest index.shards=4`"""
    from texthash.workflow.models import find_model
    from texthash.workflow.releases import make_release, register
    from texthash.workflow.study import Study, corpus_of

    home, settings = resolve_home(), load_config(config, overrides or [])
    trained = find_model(home, model)
    merged = trained.config.model_copy(update={"tracking": settings.tracking, "index": settings.index})
    study = Study(merged, home, corpus_of(trained, home))
    with _on_ray(address) as distributed:
        made = make_release(study, trained, register(study, trained), distributed=distributed)
    _emit(asdict(made))


@index_app.command("info")
def index_info(as_json: Json = False) -> None:
    """List the releases; the one that is served is marked. Example: `texthash index info`"""
    from texthash.search.release import current_name, list_releases

    home = resolve_home()
    current = current_name(home)
    columns = ("name", "created", "model", "model_version", "method", "bits")
    rows = [
        {
            **{column: getattr(release, column) for column in columns},
            "documents": release.documents,
            "shards": len(release.shards),
            "current": release.name == current,
        }
        for release in list_releases(home)
    ]
    _show(rows, as_json)


Query = Annotated[str, typer.Argument(help="What to look for.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Hits at most.")]
ReleaseName = Annotated[str, typer.Option("--release", help="Name of a release, or current.")]


@index_app.command("search")
def index_search(query: Query, limit: Limit = 10, release: ReleaseName = "current", as_json: Json = False) -> None:
    """Search a release in this process, without a service. Example: `texthash index search "sort an array"`"""
    from texthash.search.release import open_release
    from texthash.search.shard import merge

    opened = open_release(resolve_home(), release)
    values, known = opened.hasher.read([query], role="query")
    if not known[0]:
        say("warning: no word of the query is in the vocabulary: this searches for the empty document")
    code = opened.hasher.cut(values)
    hits, shards = merge([shard.search(code, limit) for shard in opened.shards], limit)
    rows: list[dict[str, Any]] = []
    for distance, number, shard in zip(hits.distances[0], hits.numbers[0], shards[0], strict=True):
        document = opened.shards[int(shard)].documents([int(number)], ["title", "text", "labels"])[0]
        rows.append({"distance": int(distance), **document})
    _show(rows, as_json, ["distance", "id", "title", "text"])


@app.command()
def search(query: Query, limit: Limit = 10, release: ReleaseName = "current", as_json: Json = False) -> None:
    """Search what is released. Example: `texthash search "sort an array" --limit 5 --json`"""
    index_search(query, limit, release, as_json)


@app.command()
def serve(
    overrides: Overrides = None, config: ConfigFile = None, release: ReleaseName = "current", address: Address = None
) -> None:
    """Serve a release over HTTP until Ctrl-C. Example: `texthash serve service.port=8001`"""
    import signal
    import threading

    from texthash.distributed import cluster
    from texthash.service.run import serve_release

    settings = load_config(config, overrides or [])
    stdout = sys.stdout
    with cluster(address) as local:
        url = serve_release(resolve_home(), settings.service, release=release)
        print(url, file=stdout, flush=True)
        say(f"READY: search page {url}/, HTTP API {url}/docs")
        if local:
            say("Ctrl-C ends the service")
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            threading.Event().wait()


# -- shared -------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    try:
        status = app(arguments, standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted; the same command goes on where this one ended")
        sys.exit(130)
    except Exception as error:
        _end_on_usage_error(error)
        known = explained(error)
        if known is None:
            raise
        if _VERBOSE["traceback"]:
            traceback.print_exc()
        say(f"error: {known}")
        sys.exit(exit_status(known))
    sys.exit(status if isinstance(status, int) else 0)


def _end_on_usage_error(error: Exception) -> None:
    """Click's own errors (unknown option, missing argument) know how to show themselves."""
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        error.show()
        sys.exit(error.exit_code)


def _settings(config: Path | None, words: Sequence[str] | None, **named: Any) -> Config:
    """The configuration from a file, named options and the words: a method's name and dotted overrides."""
    keys = {"corpus": "corpus.name", "bits": "method.bits", "seed": "training.seed", "trials": "tuning.trials"}
    overrides = [f"{keys[name]}={value}" for name, value in named.items() if value is not None]
    for word in words or []:
        overrides.append(word if "=" in word else f"method.name={word}")
    loaded = load_config(config, overrides)
    from texthash.methods.registry import get_method

    get_method(loaded.method.name)
    return loaded


@contextmanager
def _on_ray(address: str | None) -> Iterator[bool]:
    """Connected to a cluster where one is asked for (``local``: to one of our own); yields whether it is."""
    if address is None:
        yield False
        return
    from texthash.distributed import check_shared, cluster

    with cluster(None if address == "local" else address):
        check_shared(resolve_home().root)
        yield True


def _prepared(settings: Config, home: Home, distributed: bool) -> Any:
    from texthash.workflow.study import prepare as prepare_corpus

    return prepare_corpus(settings, home, distributed=distributed)


def _hasher(model: str) -> Any:
    from texthash.methods.hasher import Hasher

    if model == "released":
        from texthash.search.release import read_release

        return read_release(resolve_home()).open_hasher(resolve_home())
    from texthash.workflow.models import find_model

    return Hasher.load(find_model(resolve_home(), model).hasher)


def _emit(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


def _show(rows: Sequence[dict[str, Any]], as_json: bool, columns: Sequence[str] | None = None) -> None:
    """Rows as JSON, or as a table of the given columns."""
    if as_json:
        _emit(list(rows))
        return
    if not rows:
        say("there are none")
        return
    from rich.console import Console
    from rich.table import Table

    names = list(columns or rows[0])
    table = Table(box=None, header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=name == names[0])
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in names))
    # Into a file or a pipe, a row is one line.
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return escape(" ".join(str(value).split())[:120])
