"""The weight of the meaning that a release would have, beside what judged queries say of every weight.

A release chooses its weight by known items of its own validation documents, without judgements. Here nDCG@10 of the
judged queries of the same documents is computed with that weight and with every other.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.reporting import JsonOption, report
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.deployment.known_items import WEIGHTS, choose_defaults
from texthash.errors import UsageError
from texthash.evaluation.baselines.lexical import Lexical
from texthash.evaluation.retrieval.collection import Collection
from texthash.evaluation.retrieval.table import Row, searched
from texthash.experiments.retrieval.rows import Features, ModelRows, bm25_row, fused_row
from texthash.experiments.trained_models import find_model
from texthash.index.fusion import Fusion
from texthash.index.writing.build import build_index
from texthash.models.hasher import Hasher
from texthash.paths import StateDir, resolve_home


def command(
    models: Annotated[list[str], typer.Argument(help="Trained models of a test collection.")],
    judged: Annotated[Path, typer.Option(help="Folder of that collection, in BEIR's layout.")],
    json: JsonOption = None,
) -> None:
    """Compare the weight of the meaning that known items choose with what judged queries say."""
    home = resolve_home()
    collection = Collection.read(judged)
    rows = [measure(find_model(home, name).hasher, collection, home) for name in models]
    report(f"nDCG@10 of {len(collection.queries)} judged queries of {collection.name}", rows, json)


def measure(directory: Path, collection: Collection, home: StateDir) -> dict[str, Any]:
    """Return the row of a saved model: nDCG@10 of both sides, with the chosen weight, and with the best one."""
    hasher = Hasher.load(directory)
    corpus = PreparedCorpus.open(home.corpus(hasher.corpus, hasher.edition.name))
    with tempfile.TemporaryDirectory() as scratch:
        chosen = choose_defaults(hasher, corpus, build_index(directory, corpus.path, StateDir(Path(scratch))))
    if chosen is None:
        raise UsageError(f"{directory}: its corpus has too few known items.", "choose a model of a larger corpus.")
    by_words = bm25_row(Lexical(collection.documents))
    encoder = hasher.method.shape.encoder if hasher.method.reads_features else None
    features = Features.stored(corpus, encoder, collection.document_ids) if encoder else None
    by_distance, asymmetric = ModelRows(hasher, collection.documents, features=features).code_rows()
    by_meaning = asymmetric if chosen.rescoring == "asymmetric" else by_distance
    scores, by_ranks = (
        {weight: _score(fused_row(by_meaning, by_words, Fusion(weight, kind)), collection) for weight in WEIGHTS}
        for kind in ("scores", "ranks")
    )
    best = max(scores, key=lambda weight: scores[weight])
    return {
        "model": directory.parent.name,
        "words": scores[0.0],
        "meaning": scores[1.0],
        "chosen_weight": chosen.weight,
        "hybrid": scores[chosen.weight],
        "above_better_side": round(scores[chosen.weight] - max(scores[0.0], scores[1.0]), 4),
        "best_weight": best,
        "best": scores[best],
        "best_of_ranks": max(by_ranks.values()),
    }


def _score(row: Row, collection: Collection) -> float:
    return round(float(searched(row, collection).by_query["ndcg_at_10"].expected.mean()), 4)
