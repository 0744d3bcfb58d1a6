"""Study of retrieval: a table for each test collection, with models that are trained on its documents.

Models see no query and no judgement: they are trained on the training documents of the collection alone (its documents
are divided at random), and search all of them. A missing collection is left out and named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from texthash.config import Config, find_config, load_config
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.manifest import MANIFEST
from texthash.corpora.readers.beir import is_beir
from texthash.corpora.words import Analyzer
from texthash.evaluation.baselines.lexical import Lexical
from texthash.evaluation.retrieval.collection import Collection
from texthash.evaluation.retrieval.ranked import Cuts
from texthash.evaluation.retrieval.table import RetrievalTable, Row, RowResult, averaged, searched, tabulated
from texthash.experiments.corpora import prepare
from texthash.experiments.experiment import Experiment
from texthash.experiments.retrieval.plan import CollectionPlan, RetrievalPlan
from texthash.experiments.retrieval.reranking import PoolRows, reranked_row
from texthash.experiments.retrieval.rows import (
    Features,
    ModelRows,
    bm25_row,
    encoder_row,
    fused_row,
    random_row,
    tfidf_row,
)
from texthash.experiments.retrieval.towers import tower_rows
from texthash.io.atomic import write_json, write_text
from texthash.io.claims import claim
from texthash.io.copies import send
from texthash.methods.registry import distinct_seeds, get_method
from texthash.models.hasher import Hasher
from texthash.models.text_reranker import BitsReranker
from texthash.paths import DATA_VARIABLE, StateDir
from texthash.progress import log_line


@dataclass(frozen=True)
class RetrievalOutcome:
    """Result of a study.

    Attributes:
        directory: Directory with ``<collection>.json`` and ``tables.md``.
        tables: Tables by collection.
        left_out: Reasons why collections were left out, by name.
    """

    directory: Path
    tables: dict[str, RetrievalTable]
    left_out: dict[str, str]


def run_retrieval(plan: RetrievalPlan, home: StateDir, folder: Path, data: Path | None = None) -> RetrievalOutcome:
    """Run a study and write its tables.

    Args:
        plan: Study.
        home: State directory.
        folder: Folder of the file of the study, in which it names configurations.
        data: Folder of the data, in which it names collections.

    Raises:
        InUseError: Another process runs the study.
        TexthashError: A collection is malformed, or a model cannot be trained.
    """
    directory = home.runs / "retrieval" / plan.name
    lock = home.shared(directory).with_name(f".{plan.name}.lock")
    with claim(lock, f"the study {plan.name}", "wait until it ends; then run it again."):
        outcome = _run(plan, home, folder, data, directory)
        send(home, directory)
        return outcome


def _run(plan: RetrievalPlan, home: StateDir, folder: Path, data: Path | None, directory: Path) -> RetrievalOutcome:
    tables: dict[str, RetrievalTable] = {}
    left_out: dict[str, str] = {}
    for name, source in plan.collections.items():
        base, missing = _config(plan, name, folder, data, home)
        if missing:
            left_out[name] = missing
            log_line(f"{name} is left out: {missing}")
            continue
        tables[name] = _table(plan, name, source, base, home)
        write_json(directory / f"{name}.json", tables[name].to_dict())
        log_line(f"{tables[name]!r}")
    write_text(directory / "tables.md", "\n".join(map(markdown, tables.values())))
    return RetrievalOutcome(directory, tables, left_out)


def markdown(table: RetrievalTable) -> str:
    """Return a table with its protocol as Markdown."""
    cells = table.cells()
    names = list(cells[0])
    lines = [f"### {table.collection}", "", f"{table.summary}.", "", *(f"{note}\n" for note in table.notes)]
    lines += [f"| {' | '.join(names)} |", f"|{' --- |' + ' ---: |' * (len(names) - 1)}"]
    lines += [f"| {' | '.join(str(row[name]) for name in names)} |" for row in cells]
    lines += ["", *(f"* {row.name}: {row.how}" for row in table.rows if row.how), ""]
    return "\n".join(lines)


def _config(plan: RetrievalPlan, name: str, folder: Path, data: Path | None, home: StateDir) -> tuple[Config, str]:
    """Return the configuration of a collection's documents, and the reason if the collection is missing, else ""."""
    source = plan.collections[name]
    if source.corpus is not None:
        config = load_config(find_config(source.corpus, folder))
        place = home.corpus(config.corpus.name, config.corpus.edition.name)
        named = f"{config.corpus.name}/{config.corpus.edition.name} is not prepared"
        return config, "" if (place / MANIFEST).exists() else f"{named}: texthash prepare --config {source.corpus}."
    path = Path(source.path or "").expanduser()
    path = path if path.is_absolute() or data is None else data / path
    config = Config().derive(corpus={"name": name, "path": str(path)}).derive(**plan.settings)
    return config, "" if is_beir(path) else f"{path} is no test collection; {DATA_VARIABLE} names the folder of data."


def _table(plan: RetrievalPlan, name: str, source: CollectionPlan, base: Config, home: StateDir) -> RetrievalTable:
    collection = replace(_collection(plan, source, base, home), name=name)
    if plan.most is not None:
        collection = collection.some(plan.most)
    cuts = Cuts(precision=plan.precision, gain=plan.gain)
    results = list(_results(plan, source, base, collection, cuts, home))
    baseline = next(iter(plan.keyword))
    documents, notes = len(collection.documents), collection.notes
    return tabulated(results, name, plan.split, documents, cuts=cuts, baseline=baseline, notes=notes)


def _collection(plan: RetrievalPlan, source: CollectionPlan, base: Config, home: StateDir) -> Collection:
    if source.queries == "judged":
        return Collection.read(str(base.corpus.path), plan.split)
    corpus = prepare(base, home)
    if source.queries == "questions":
        return Collection.of_pairs(corpus, plan.split)
    return Collection.of_titles(corpus, plan.split)


def _results(
    plan: RetrievalPlan,
    source: CollectionPlan,
    base: Config,
    collection: Collection,
    cuts: Cuts,
    home: StateDir,
) -> Iterator[RowResult]:
    lexical = Lexical(collection.documents, Analyzer.from_edition(base.corpus.edition.derive(stemmer="porter")))
    rows = [random_row(len(collection.documents)), tfidf_row(lexical)]
    keyword = [bm25_row(lexical, row, own.k1, own.b) for row, own in plan.keyword.items()]
    rows += keyword
    features = {encoder: _features(base, encoder, collection, home) for encoder in source.encoders}
    rows += [encoder_row(encoder, collection.documents, own) for encoder, own in features.items()]
    for row in rows:
        yield searched(row, collection, cuts)
    searches = [keyword[0]]
    for method, chosen in plan.methods.items():
        if chosen.features is not None and chosen.features not in features:
            continue
        for bits in chosen.bits or plan.bits:
            config = plan.configured(base, method, bits)
            experiment = Experiment(config, home, prepare(config, home))
            kinds: dict[int, list[RowResult]] = defaultdict(list)
            seeds = distinct_seeds(config.method.name, chosen.seeds or plan.seeds)
            for seed in seeds:
                model = Hasher.load(experiment.train(seed).hasher)
                if model.method.card.serving_mode == "rerank_only":
                    for place, row in enumerate(_reranked(model, searches, rows, collection)):
                        kinds[place].append(searched(row, collection, cuts))
                    continue
                of = ModelRows(model, collection.documents, f"{method} {bits}", features.get(chosen.features or ""))
                codes = of.code_rows()
                fused = fused_row(codes[-1], keyword[0])
                searches = [keyword[0], fused]
                for place, row in enumerate([*tower_rows(of), *codes, fused]):
                    kinds[place].append(searched(row, collection, cuts))
            of_seeds = f", mean of {len(seeds)} seeds" if len(seeds) > 1 else ""
            if not get_method(config.method.name).card.random:
                of_seeds = ", the same for every seed"
            for found in kinds.values():
                yield replace(averaged(found), how=f"{found[0].how}{of_seeds}")


def _reranked(model: Hasher, searches: list[Row], others: list[Row], collection: Collection) -> Iterator[Row]:
    """Yield pools by words in the order of other rows and of a model that re-ranks, and searches behind which it is."""
    reranker, pools = BitsReranker(model), PoolRows(searches[0])
    yield from map(pools.ordered, others)
    yield pools.reranked(reranker, collection.documents)
    for row in searches:
        yield reranked_row(row, reranker, collection.documents)


def _features(base: Config, encoder: str, collection: Collection, home: StateDir) -> Features:
    """Return the vectors of the prepared documents of a collection, computed once and then stored with the corpus."""
    corpus: PreparedCorpus = prepare(base.derive(corpus={"features": encoder}), home)
    return Features.stored(corpus, encoder, collection.document_ids)
