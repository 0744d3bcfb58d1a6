"""The queries of the quickstart find what a person expects, over the packages that every environment has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.expected_queries import ExpectedQuery, Found, judge, read_expected
from texthash.config import CorpusConfig, Edition, SplitRule, TrainingConfig, find_config, load_config
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.readers.installed import package_folders, standard_library
from texthash.corpora.readers.pydoc import documents_in
from texthash.deployment.known_items import choose_defaults
from texthash.errors import UsageError
from texthash.index.keywords.weights import WordWeights
from texthash.index.releases.publish import publish
from texthash.index.releases.release import OpenRelease, open_release
from texthash.index.search import SearchOptions, search_index
from texthash.index.writing.build import build_index
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.training.loop import fit

PACKAGES = ("matplotlib", "numpy", "pandas", "scipy", "sklearn")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> OpenRelease:
    """An index of the standard library and these packages, by a light model (ITQ, 64 bits)."""
    folder = tmp_path_factory.mktemp("expected")
    found = documents_in(package_folders(), packages=PACKAGES, standard=standard_library())
    rows = ({"id": d.id, "text": d.text, "title": d.title, "labels": d.labels} for d in found)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    edition = Edition(name="parts", split=SplitRule(kind="random"), identifier_parts=True)
    home = StateDir(folder / "home")
    path = prepare_corpus(CorpusConfig(name="known", path=str(folder / "rows.jsonl"), edition=edition), home)
    corpus = PreparedCorpus.open(path)
    method = fit(build("itq", corpus.shape, 64), corpus.train, TrainingConfig()).method
    model = Hasher.of(method, corpus).save(folder / "model")
    weights = WordWeights.of_config(load_config(find_config("quickstart.yaml", what="corpus")).index)
    index = build_index(model, path, home, weights=weights)
    publish(home, model, index, defaults=choose_defaults(Hasher.load(model), corpus, index))
    return open_release(home)


def ask(release: OpenRelease, query: ExpectedQuery, options: SearchOptions) -> Found:
    read = release.hasher.read([query.text], role="query")
    code = release.hasher.binarize(read.values)[0] if read.known[0] else None
    values, terms = release.hasher.query_values(read.values)[0], release.shards[0].keywords.query(query.text)
    page = search_index(release.shards, options, code=code, values=values, terms=terms).page
    documents = release.shards[0].documents(page.numbers, ["title"])  # in pydoc the id
    known = [id_ for id_ in query.expected if release.shards[0].document(id_) is not None]
    return judge(query, [document["title"] for document in documents], known)


@pytest.mark.parametrize("mode", ["hybrid", "keyword"])
def test_nine_of_ten_find_an_expected_document_among_the_first_five(release: OpenRelease, mode) -> None:
    chosen = release.release.defaults
    assert chosen is not None
    rescoring = None if chosen.rescoring == "none" else chosen.rescoring
    options = SearchOptions(mode=mode, limit=5, fusion=release.release.fusion, rescoring=rescoring)
    found = [ask(release, query, options) for query in read_expected("queries/quickstart.yaml")]
    assert len(found) == 10
    assert all(len(one.missing) < len(one.query.expected) for one in found), "\n".join(map(str, found))
    assert sum(one.rank is not None for one in found) >= 9, "\n".join(map(str, found))


def test_a_query_is_judged_by_its_first_hits() -> None:
    query = ExpectedQuery(text="sleep", expected=("time.sleep", "asyncio.sleep"))
    found = judge(query, ["a", "b", "asyncio.sleep"], ["asyncio.sleep"])
    assert (found.rank, found.missing) == (3, ("time.sleep",))
    assert "not in the index: time.sleep" in str(found)
    assert judge(query, ["a", "b", "asyncio.sleep"], query.expected, k=2).rank is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("- a", "has no list of queries"),
        ("queries: [", "is not YAML"),
        ("queries: []", "queries"),
        ("queries: [{text: a, expected: []}]", "expected"),
        ("queries: [{text: a, expected: [b], expects: [b]}]", "unknown key"),
    ],
)
def test_a_file_of_another_form_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "queries.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match="queries") as refused:
        read_expected(path)
    assert says in str(refused.value)
