"""`texthash index show`, and any id through the commands that write, read and delete it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.service.conftest import SHARDS, LocalWriter
from tests.service.live import listening
from tests.service.test_document_ids import AWKWARD
from texthash.cluster import free_port
from texthash.config import LimitsConfig
from texthash.index.releases.release import read_release
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(home: StateDir) -> Iterator[str]:
    """A service with a writer over it, which the commands find."""
    root, release = str(home.root), read_release(home)
    shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
    coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards)
    port = free_port()
    writer = LocalWriter(root, f"http://127.0.0.1:{port}")
    with listening(make_app(coordinator, index_writes=IndexWriteService(home, coordinator, writer)), port) as address:
        yield address


def shown(run_cli: Cli, document_id: str, *options: str) -> dict[str, Any]:
    status, out, err = run_cli("index", "show", "--json", *options, "--", document_id)
    assert (status, err) == (0, ""), (document_id, err)
    return json.loads(out)


def rows_file(path: Path, rows: list[dict[str, str]]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def write_show_and_delete(run_cli: Cli, file: Path, ids: list[str]) -> None:
    rows = [{"id": id_, "text": "sort an array", "title": f"title {n}"} for n, id_ in enumerate(ids)]
    status, out, err = run_cli("index", "upsert", rows_file(file, rows))
    assert status == 0, err
    assert json.loads(out)["new"] == len(ids)
    for row in rows:
        found = shown(run_cli, row["id"])
        assert {name: found[name] for name in row} == row
    status, out, err = run_cli("index", "delete", "--", *ids)
    assert status == 0, err
    assert json.loads(out)["deleted"] == len(ids)
    for id_ in ids:
        status, out, err = run_cli("index", "show", "--", id_)
        assert (status, out) == (1, "")
        assert f"holds no document {id_!r}" in err


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_any_id_in_this_process(run_cli: Cli, home: StateDir, tmp_path: Path, suffix: str) -> None:
    write_show_and_delete(run_cli, tmp_path / f"rows{suffix}", AWKWARD if suffix == ".csv" else AWKWARD[::3])


def test_any_id_through_a_service(run_cli: Cli, url: str, tmp_path: Path) -> None:
    write_show_and_delete(run_cli, tmp_path / "rows.jsonl", AWKWARD[::4])


def test_a_document_is_shown_alike_with_and_without_a_service(run_cli: Cli, home: StateDir, url: str) -> None:
    stored = read_release(home).open_shard(home, 0)
    id_ = stored.documents(stored.numbers[:1], [])[0]["id"]
    here = shown(run_cli, id_, "--service", "none")
    expected = stored.document(id_)
    assert expected is not None
    assert here == {**expected, "code": expected["code"].hex(), "index_version": read_release(home).version}
    assert shown(run_cli, id_) == here
    assert shown(run_cli, id_, "--service", url) == here
    status, out, err = run_cli("index", "show", "--service", url, "nobody")
    assert (status, out) == (1, "")
    assert "holds no document 'nobody'" in err


def test_a_document_is_printed_whole_and_without_control_characters(
    run_cli: Cli, home: StateDir, tmp_path: Path
) -> None:
    text = "sort an array\n\tof " + "many " * 100 + "values\x1b[2J"
    row = {"id": "a\x1b[31m\nb", "title": "[bold]Title[/bold]", "text": text, "labels": ["one", "two"]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row), encoding="utf-8")
    run_cli("index", "upsert", str(tmp_path / "rows.jsonl"))
    status, out, _ = run_cli("index", "show", row["id"])
    assert status == 0
    members, _, body = out.partition("\n\n")
    lines = {line[:13].strip(): line[13:].strip() for line in members.splitlines()}
    assert lines["id"] == "a\\x1b[31m\\nb"
    assert lines["title"] == "[bold]Title[/bold]"
    assert lines["labels"] == "one, two"
    assert lines["known words"] == "True"
    assert bytes.fromhex(lines["code"])
    assert body == text.replace("\x1b", "\\x1b") + "\n"


def test_an_argument_that_is_not_text_is_an_error(run_cli: Cli, home: StateDir) -> None:
    for words in (("show",), ("delete",)):
        status, out, err = run_cli("index", *words, "a\udc80")
        assert (status, out) == (1, "")
        assert "not UTF-8" in err
