"""Commands that prepare a corpus, and train, tune, evaluate and report models."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from texthash.cli.options import (
    Address,
    Bits,
    ConfigFile,
    CorpusName,
    Json,
    Model,
    Overrides,
    Words,
    on_ray,
    prepared_corpus,
    settings_of,
)
from texthash.cli.output import print_auto, print_json, print_table
from texthash.cli.retrieval import GainName, judged_model, judged_runs
from texthash.cli.studies import is_study, rescored, study_page
from texthash.errors import UsageError
from texthash.executor import LocalExecutor
from texthash.io.outputs import made_folder
from texthash.paths import resolve_home
from texthash.progress import log_line


def prepare(
    overrides: Overrides = None, config: ConfigFile = None, corpus: CorpusName = None, address: Address = None
) -> None:
    """Prepare a corpus. Example: `texthash prepare corpus.name=mine corpus.path=documents.jsonl`"""
    from texthash.deployment import steps

    settings = settings_of(config, overrides, corpus=corpus)
    with on_ray(address, store_only=True) as executor:
        prepared = steps.prepare(settings, resolve_home(), executor)
    print_json(prepared)


def train(
    words: Words = None,
    config: ConfigFile = None,
    corpus: CorpusName = None,
    bits: Bits = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the training, in place of tuning.seeds; training.seed.")
    ] = None,
    address: Address = None,
) -> None:
    """Train a model and evaluate it on validation. Example: `texthash train nash --corpus pydoc --bits 64`

    If the configuration has several tuning.seeds, one model is trained with each, and the best is printed first;
    --seed trains with that seed alone.
    """
    settings = settings_of(config, words, corpus=corpus, bits=bits, seed=seed)
    if seed is not None:
        settings = settings.derive(tuning={"seeds": None})
    home = resolve_home()
    cluster = "local" if settings.training.workers > 1 and not address else address
    from texthash.deployment import steps
    from texthash.tracking import open_store
    from texthash.tracking.links import how_to_open

    open_store(settings.tracking, home)  # before a cluster is started
    with on_ray(cluster) as executor:
        trained = steps.train(settings, home, executor)
    best = trained.best
    summary = {"model": best.pop("directory"), **best}
    if len(trained.models) > 1:
        summary |= {"study": trained.run.run_id, "models": trained.rows()}
    print_auto(summary)
    log_line(f"MLflow: {how_to_open(trained.run.uri)}")


def tune(
    words: Words = None,
    config: ConfigFile = None,
    corpus: CorpusName = None,
    bits: Bits = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Number of trials; tuning.trials.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished sweep.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the search space and its estimated cost, and exit.")
    ] = False,
    promote: Annotated[
        str | None,
        typer.Option(
            "--promote",
            metavar="[if_better|always|never]",
            help="Condition on which the best model becomes the champion; tracking.promote.",
        ),
    ] = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Search hyper-parameters, train the winner with each seed, test once, and release the best model.

    Example: `texthash tune nash --corpus 20newsgroups --trials 20`
    """
    from texthash.tuning.spaces import check_sweep, describe

    settings = settings_of(config, words, corpus=corpus, bits=bits, trials=trials)
    if promote is not None:
        settings = settings.derive(tracking={"promote": promote})
    if resume:
        settings = settings.derive(tuning={"resume": True})
    check_sweep(settings)
    if dry_run:
        from texthash.tuning.cost_estimate import cost

        space, expected = describe(settings), cost(settings, resolve_home())
        if as_json:
            print_json({"space": space, "cost": expected})
        else:
            print_table(space, False)
            print_table([{"cost": name.replace("_", " "), "": value} for name, value in expected.items()], False)
            if expected["measured_on"] is None:
                log_line("seconds are unknown until a model of this method has been trained on this corpus")
        return
    from texthash.deployment import steps
    from texthash.tracking import open_store

    home = resolve_home()
    open_store(settings.tracking, home)  # before a cluster is started
    with on_ray(address or "local") as executor:
        _, summary = steps.tune(settings, home, executor)
    if as_json:
        print_json(summary)
    else:
        print_table(summary["trials"], False)


def evaluate(
    model: Model = "latest",
    test: Annotated[bool, typer.Option("--test", help="Also evaluate on the test split, for a final model.")] = False,
    on: Annotated[Path | None, typer.Option("--on", help="Configuration of another corpus to evaluate on.")] = None,
    rescore: Annotated[
        str | None, typer.Option("--rescore", help="Study whose metrics are computed again, from its stored codes.")
    ] = None,
    k: Annotated[int | None, typer.Option("--k", help="Another cutoff of the main metric; needs --rescore.")] = None,
    judged: Annotated[
        Path | None,
        typer.Option(
            "--judged",
            help="Test collection in BEIR's layout: print the table of the model, BM25, tf-idf and random; --test for "
            "the test queries, where there are others.",
        ),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Sentence encoder whose float cosine is a row too; needs --judged.")
    ] = None,
    save_run: Annotated[
        Path | None, typer.Option("--save-run", help="Directory for a TREC run of each row; needs --judged.")
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option("--run", help="TREC run to evaluate in place of a model; several are compared with the first."),
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option("--qrels", help="Judgements of the runs, in the form of TREC or of BEIR.")
    ] = None,
    gain: Annotated[
        GainName, typer.Option("--gain", help="Gain of a grade in nDCG; needs --judged or --run.")
    ] = "linear",
    as_json: Json = False,
) -> None:
    """Compute all metrics of a trained model. Example: `texthash evaluate latest --json`

    With judged queries: `texthash evaluate latest --judged cranfield`; of a run:
    `texthash evaluate --run bm25.txt --qrels qrels.txt`.
    """
    if run or qrels is not None:
        judged_runs(run or [], qrels, gain=gain, as_json=as_json)
        return
    if judged is not None:
        judged_model(model, judged, test=test, encoder=encoder, save_run=save_run, gain=gain, as_json=as_json)
        return
    for name, value in {"--encoder": encoder, "--save-run": save_run}.items():
        if value is not None:
            raise UsageError(f"{name} {value} needs --judged.", "name the folder of a test collection.")
    from texthash.deployment import steps
    from texthash.experiments.trained_models import find_model

    home = resolve_home()
    if rescore is not None:
        print_json(rescored(rescore, k))
        return
    if k is not None:
        raise UsageError(f"--k {k} needs --rescore.", "for a model, set evaluation.k when it is trained.")
    if on is not None:
        from texthash.experiments.cross_corpus import evaluate_on_corpus

        trained, settings = find_model(home, model), settings_of(on, None)
        splits = ("validation", "test") if test else ("validation",)
        evaluations, unknown = evaluate_on_corpus(
            trained, prepared_corpus(settings, home, LocalExecutor()), trained.config.evaluation, splits
        )
        log_line(f"share of documents without a known word: {unknown:.1%}")
    else:
        done = steps.evaluate(home, model, test=test)
        evaluations = done.figures
        if done.report:
            log_line(f"report: {done.report}")
    if as_json:
        print_json({split: evaluation.to_dict() for split, evaluation in evaluations.items()})
    else:
        metrics = {split: evaluation.named_metrics for split, evaluation in evaluations.items()}
        names = metrics.get("validation", {})
        print_table([{"metric": name, **{split: metrics[split][name] for split in metrics}} for name in names], False)


def report(
    models: Annotated[
        list[str] | None, typer.Argument(help="A study, or trained models; default: the latest model.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Directory of the report; default: ./report, or the study's own.")
    ] = None,
) -> None:
    """Report on a study or evaluated models in one page. Example: `texthash report MODEL_A MODEL_B --output report`"""
    from texthash.experiments.trained_models import find_model, make_report

    home = resolve_home()
    if models and len(models) == 1 and is_study(models[0]):
        with nullcontext() if output is None else made_folder(output):
            print(study_page(models[0], output))
        return
    with made_folder(output or Path("report")) as directory:
        print(make_report([find_model(home, name) for name in models or ["latest"]]).save(directory))
