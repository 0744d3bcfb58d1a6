"""Commands that change a released index, as a person uses them."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import texthash
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.releases.publish import publish
from texthash.index.releases.release import read_release
from texthash.index.writing.build import build_index
from texthash.index.writing.writer import IndexWriter
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir


@pytest.fixture
def home(small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path) -> StateDir:
    found = StateDir(tmp_path / "home")
    model = Path(shutil.copytree(small_hasher, found.root / "models" / "itq"))
    publish(found, model, build_index(model, small_corpus.path, found, shards=2))
    return found


@pytest.fixture
def cli(home: StateDir, monkeypatch: pytest.MonkeyPatch, run_cli):
    """Runs one command; gives its exit status, stdout and stderr."""
    monkeypatch.setenv("TEXTHASH_HOME", str(home.root))
    return run_cli


def rows(path: Path, *documents: dict) -> str:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return str(path)


def test_documents_go_in_are_found_and_go_out(cli, home: StateDir, tmp_path: Path) -> None:
    before = read_release(home).documents
    file = rows(
        tmp_path / "more.jsonl",
        {"id": "mine", "text": "compute the eigenvalues of a sparse matrix", "title": "Mine", "labels": ["own"]},
        {"id": "other", "text": "histogram of an array", "labels": ["own"]},
    )
    status, out, _ = cli("index", "upsert", file)
    assert (status, json.loads(out)) == (
        0,
        {
            "upserted": 2,
            "new": 2,
            "without_known_words": 0,
            "release": "r000002",
            "index_version": 2,
            "documents": before + 2,
        },
    )
    status, out, _ = cli("search", "compute the eigenvalues of a sparse matrix", "--limit", "1", "--json")
    assert json.loads(out)["hits"][0]["id"] == "mine"
    assert cli("index", "verify")[0] == 0
    assert json.loads(cli("index", "delete", "mine", "absent")[1])["deleted"] == 1
    assert json.loads(cli("index", "delete", "--label", "own")[1])["documents"] == before
    assert json.loads(cli("index", "compact")[1])["documents"] == before


def test_a_snapshot_is_taken_restored_and_dropped(cli, home: StateDir) -> None:
    some = json.loads(cli("search", "sparse matrix", "--limit", "1", "--json")[1])["hits"][0]["id"]
    assert json.loads(cli("index", "snapshot", "all")[1])["release"] == "r000001"
    cli("index", "delete", some)
    assert json.loads(cli("index", "restore", "all")[1])["documents"] == read_release(home, "r000001").documents
    assert [row["name"] for row in json.loads(cli("index", "snapshots", "--json")[1])] == ["all"]
    status, _, said = cli("index", "restore", "al")
    assert (status, "did you mean 'all'?" in said) == (1, True)
    assert cli("index", "drop-snapshot", "all")[0] == 0
    assert json.loads(cli("index", "snapshots", "--json")[1]) == []


def test_codes_go_out_and_come_back(cli, home: StateDir, tmp_path: Path) -> None:
    file = str(tmp_path / "codes.parquet")
    exported = json.loads(cli("index", "export", file)[1])["exported"]
    assert exported == read_release(home).documents
    done = json.loads(cli("index", "import", file)[1])
    assert (done["upserted"], done["new"]) == (exported, 0)
    checksums = [{state.checksum for state in read_release(home, name).shards} for name in ("r000001", done["release"])]
    assert checksums[0] == checksums[1]
    assert cli("index", "export", str(tmp_path / "codes.txt"))[0] == 2
    cli("index", "export", str(tmp_path / "codes.npy"))
    (tmp_path / "codes.npy.ids.parquet").unlink()
    status, _, said = cli("index", "import", str(tmp_path / "codes.npy"))
    assert (status, "codes without ids" in said) == (1, True)


WORDS = "sort the values of an array"


@pytest.mark.parametrize("apart", [1, 999, 2_300])
def test_an_id_twice_is_refused_whole_however_far_apart(cli, home: StateDir, tmp_path: Path, apart: int) -> None:
    release = read_release(home)
    documents = [{"id": f"new/{number}", "text": WORDS} for number in range(2_500)]
    documents[100 + apart]["id"] = documents[100]["id"]
    status, _, said = cli("index", "upsert", rows(tmp_path / "more.jsonl", *documents))
    assert status == 1
    assert f"more.jsonl:{101 + apart}: the id 'new/100' occurs twice (first: " in said
    assert "more.jsonl:101)" in said
    assert "Nothing was written" in said
    assert read_release(home) == release


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"text": " "}, "the document 'new/2200' has no text"),
        ({"id": "x" * 513}, "id has 513 characters, at most 512"),
        ({"id": True}, "id is the boolean True"),
        ({"title": "x" * 10_001}, "title: String should have at most 10000 characters"),
        ({"labels": [str(number) for number in range(257)]}, "labels: List should have at most 256 items"),
        ({"labels": ["x" * 513]}, "labels.0: String should have at most 512 characters"),
        ({"text": "\u00e9" * 32_769}, "has 65,538 bytes in UTF-8, at most 65,536 are accepted"),
        ({"text": "\ud800"}, "text holds half a character"),
        ({"split": ["train"]}, "split is a list"),
    ],
)
def test_a_wrong_row_anywhere_is_named_and_nothing_is_written(
    cli, home: StateDir, tmp_path: Path, change: dict, says: str
) -> None:
    release = read_release(home)
    documents = [{"id": f"new/{number}", "text": WORDS} for number in range(2_300)]
    documents[2_200] |= change
    status, _, said = cli("index", "upsert", rows(tmp_path / "more.jsonl", *documents))
    assert status == 1
    assert "more.jsonl:2201: " in said
    assert says in said
    assert "Nothing was written" in said
    assert read_release(home) == release


def test_an_attribute_that_no_row_has_is_refused(cli, home: StateDir, tmp_path: Path) -> None:
    file = rows(tmp_path / "more.jsonl", {"id": "a", "text": "sort an array", "year": 2020, "empty": None})
    for absent in ("yaer", "empty"):
        status, _, err = cli("index", "upsert", file, "--attribute", "year", "--attribute", absent)
        assert status == 1
        assert f"no row has a value of '{absent}'" in err
        assert "Nothing was written" in err
    assert read_release(home).version == 1
    status, _, err = cli("index", "upsert", file, "--attribute", "year")
    assert (status, err) == (0, "")
    for suffix, content in {".jsonl": '{"id": "a", "text": "b", "year": 2020}', ".csv": "id,text,year\na,b,1"}.items():
        made = tmp_path / f"other{suffix}"
        made.write_text(f"{content}\n", encoding="utf-8")
        status, _, err = cli("index", "upsert", str(made))
        assert status == 0
        assert "replaced documents lose theirs; to write them: --attribute year" in err


def test_a_writing_that_ends_early_says_how_far_it_came_and_can_be_repeated(
    cli, home: StateDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_release(home).documents
    file = rows(tmp_path / "more.jsonl", *({"id": f"new/{number}", "text": WORDS} for number in range(1_300)))
    upsert, calls = IndexWriter.upsert, []

    def fails_once(self: IndexWriter, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return upsert(self, *arguments, **options)

    monkeypatch.setattr(IndexWriter, "upsert", fails_once)
    status, _, said = cli("index", "upsert", file)
    assert status == 1
    assert f"1,000 rows of {file} are written, up to {file}:1000; the others are not" in said
    status, out, _ = cli("index", "upsert", file)
    assert status == 0
    done = json.loads(out)
    assert (done["upserted"], done["new"], done["documents"]) == (1_300, 300, before + 1_300)


def test_the_columns_of_the_text_are_chosen_as_for_the_corpus(cli, home: StateDir, tmp_path: Path) -> None:
    file = tmp_path / "more.tsv"
    file.write_text("key\ttitle\tbody\nmine\tEigenvalues\tof a sparse matrix\n")
    columns = ["--text-column", "title", "--text-column", "body", "--id-column", "key"]
    assert cli("index", "upsert", str(file), *columns)[0] == 0
    hits = json.loads(cli("search", "eigenvalues of a sparse matrix", "--limit", "1", "--json")[1])["hits"]
    assert hits[0]["id"] == "mine"
    assert hits[0]["document"] == {
        "title": "Eigenvalues",
        "text": "Eigenvalues\nof a sparse matrix",
        "labels": [],
        "attributes": {},
    }
    shown = cli("search", "eigenvalues of a sparse matrix", "--limit", "1")[1]
    assert shown.count("Eigenvalues") == 1, "the title is shown once"

    file.write_text("key\theadline\ttext\ttopics\nmine\tSparse\teigenvalues of a sparse matrix\talgebra|numbers\n")
    named = ["--id-column", "key", "--title-column", "headline", "--labels-column", "topics"]
    assert cli("index", "upsert", str(file), *named)[0] == 0
    hits = json.loads(cli("search", "eigenvalues of a sparse matrix", "--limit", "1", "--json")[1])["hits"]
    assert (hits[0]["document"]["title"], hits[0]["document"]["labels"]) == ("Sparse", ["algebra", "numbers"])
    status, _, said = cli("index", "upsert", str(file), *named[:-1], "tags")
    assert (status, "there is no column 'tags', only key, headline, text, topics" in said) == (1, True)
    rows = tmp_path / "more.jsonl"
    rows.write_text('{"id": "mine", "text": "of a matrix"}\n')
    status, _, said = cli("index", "upsert", str(rows), "--title-column", "headline")
    assert (status, "no row has a value of 'headline', which is named as the title" in said) == (1, True)


def test_a_held_index_is_not_written_to(cli, home: StateDir) -> None:
    with IndexWriter.open(home):
        status, _, said = cli("index", "delete", "x")
    assert status == 1
    assert "has a writer already: process" in said
    with IndexWriter.open(home, address="http://127.0.0.1:9"):
        status, _, said = cli("index", "delete", "x")
        assert (status, "no service answers at http://127.0.0.1:9" in said) == (1, True)
        cli("index", "export", str(home.root / "codes.parquet"))
        status, _, said = cli("index", "import", str(home.root / "codes.parquet"))
    assert (status, "end the service, then run the command again" in said) == (1, True), (
        "a service takes no ready codes"
    )


def test_a_plan_is_printed(cli) -> None:
    status, out, said = cli("plan", "--documents", "1e6", "--json")
    made = json.loads(out)["plan"]
    assert status == 0
    assert made["memory_gib"] == pytest.approx(1e6 * made["bytes_per_document"] / 2**30, abs=0.01)
    codes_alone = json.loads(cli("plan", "--documents", "1e6", "--index", "tables", "--json")[1])["plan"]
    assert 2 * (8 + 4) <= codes_alone["bytes_per_document"] < made["bytes_per_document"], "two replicas"
    assert "measuring" in said
    assert "measuring" not in cli("plan", "--documents", "1e6")[2]
    assert cli("plan", "--documents", "1.5")[0] == 1
    assert cli("plan", "--documents", "10", "--latency-ms", "1")[0] == 2


def test_words_are_added_by_a_command(cli, home):
    status, out, _ = cli("index", "add-keywords", "--analysis", "plain")
    assert status == 0
    assert json.loads(out)["release"] == read_release(home).name
    assert read_release(home).keywords == "plain"
    status, out, _ = cli("search", "eigenvalues of a matrix", "--mode", "keyword", "--json")
    assert json.loads(out)["hits"][0]["score"] > 0


def test_hits_are_ordered_again_by_a_model(cli, pair_corpus, tmp_path):
    method = build("has", pair_corpus.shape, 16, {"embedding": 8, "filters": 4, "length": 16}).eval()
    folder = str(Hasher.of(method, pair_corpus).save(tmp_path / "has"))
    search = ("search", "eigenvalues of a matrix", "--mode", "keyword", "--limit", "5", "--json")
    plain = json.loads(cli(*search[:4], "--limit", "50", "--json")[1])["hits"]
    status, out, _ = cli(*search, "--rerank", folder)
    hits = json.loads(out)["hits"]
    assert status == 0
    assert len(hits) == 5
    scores = [hit["rerank_score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert {hit["id"] for hit in hits} <= {hit["id"] for hit in plain}
    assert "rerank_score" in cli(*search[:-1], "--rerank", folder)[1]
    for wrong, expected in (("", 2), (str(tmp_path / "nothing"), 1)):
        status, _, said = cli(*search, "--rerank", wrong)
        assert status == expected
        assert "error: " in said


SEARCHING = """
import sys
from texthash.cli import main
words = ["search", "sparse matrix", "--json", "--service", "none", "--mode"]
try:
    main(["--home", sys.argv[1], *words, sys.argv[2]])
except SystemExit as ended:
    assert ended.code == 0
assert not {*sys.argv[3:]} & set(sys.modules), {*sys.argv[3:]} & set(sys.modules)
"""


_HEAVY = ("torch", "sklearn", "nltk", "scipy", "ray", "mlflow")


@pytest.mark.parametrize("mode", ["keyword", "semantic", "hybrid"])
def test_a_search_imports_no_more_than_it_needs(home: StateDir, mode: str) -> None:
    """Imports are most of the time of a search in a process of its own."""
    program = [sys.executable, "-c", SEARCHING, str(home.root), mode, *_HEAVY]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(json.loads(ended.stdout)["hits"]) == 10


OPENED = """
import sys
import texthash
index = texthash.Index.open(sys.argv[1])
assert len(index.search(["sparse matrix", "sort an array"])) == 2
assert "torch" not in sys.modules
assert index.model.encode(["sparse matrix"]).shape == (1, 4)
"""


@pytest.mark.parametrize("kind", ["release", "saved"])
def test_an_opened_index_is_searched_without_torch(
    home: StateDir, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTHASH_HOME", str(home.root))
    name = "current"
    if kind == "saved":
        texts = ["a sparse matrix of numbers", "sort an array"]
        name = str(texthash.Index(texthash.load("released"), texts).save(tmp_path / "saved"))
    ended = subprocess.run([sys.executable, "-c", OPENED, name], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
