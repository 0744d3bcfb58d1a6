"""Paths of files that users name, with something else at their end: an error within seconds that says what it is."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

import texthash.input_files as input_files
from pipelines.expected_queries import read_expected
from texthash.config import Config, load_config
from texthash.corpora.prepared.embeddings.given import open_npy
from texthash.corpora.qrels import read_qrels
from texthash.corpora.readers import text_files
from texthash.corpora.readers.rows import documents
from texthash.errors import CorpusError, TexthashError, UsageError
from texthash.evaluation.retrieval.runs import read_run
from texthash.experiments.grid.plan import load_plan
from texthash.experiments.retrieval.plan import load_retrieval_plan
from texthash.hamming.interop import read_codes

KINDS = {"pipe": "a pipe", "socket": "a socket", "folder": "a folder", "zeros": "a device", "nothing": "a device"}
SETTINGS = (load_config, load_plan, load_retrieval_plan, read_expected)


def made(folder: Path, kind: str, suffix: str = "") -> Path:
    """Return the path of something that is no file of a user."""
    path = folder / f"{kind}{suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(folder)  # The path of a socket has at most 107 bytes.
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
        os.chdir(here)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"zeros": "/dev/zero", "nothing": "/dev/null"}[kind])
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("read", "suffix"),
    [
        (lambda path: list(documents(path)), ".jsonl"),
        (lambda path: list(documents(path)), ".csv"),
        (lambda path: list(documents(path)), ".parquet"),
        (lambda path: list(text_files.lines(path)), ".txt.gz"),
        (open_npy, ".npy"),
        *((read_codes, suffix) for suffix in (".npy", ".parquet", ".faiss", ".tsv", ".tsv.gz")),
        (read_run, ".txt"),
        (read_qrels, ".tsv"),
    ],
)
def test_data_is_read_from_files_only(tmp_path, kind, read, suffix):
    path = made(tmp_path, kind, suffix)
    with pytest.raises(TexthashError) as raised:
        read(path)
    assert raised.value.problem.startswith(f"{path} is {KINDS[kind]}, not a file.")
    assert raised.value.remedy


@pytest.mark.parametrize("read", SETTINGS)
@pytest.mark.parametrize(
    ("kind", "says"),
    [("pipe", "nothing was written"), ("socket", "No such device"), ("folder", "folder"), ("zeros", "larger than")],
)
def test_settings_that_no_file_holds_are_refused_in_time(tmp_path, monkeypatch, read, kind, says):
    monkeypatch.setattr(input_files, "_PIPE_S", 0.2)
    path = made(tmp_path, kind, ".yaml")
    with pytest.raises(UsageError, match=says) as raised:
        read(path)
    assert str(path) in raised.value.problem
    assert raised.value.remedy


@pytest.mark.parametrize("read", SETTINGS)
@pytest.mark.parametrize("content", ["", " \n\n", None])
def test_nothing_is_not_taken_for_all_defaults(tmp_path, read, content):
    path = tmp_path / "empty.yaml"
    if content is None:
        path.symlink_to("/dev/null")
    else:
        path.write_text(content)
    with pytest.raises(UsageError, match="is empty"):
        read(path)


def test_settings_come_through_a_pipe_that_is_written_to(tmp_path):
    pipe = made(tmp_path, "pipe")
    writer = threading.Thread(target=pipe.write_text, args=("method: {bits: 24}\n",))
    writer.start()
    try:
        assert load_config(pipe) == Config().derive(method={"bits": 24})
    finally:
        writer.join()


def test_a_byte_order_mark_is_no_part_of_settings(tmp_path):
    path = tmp_path / "marked.yaml"
    path.write_text("method: {bits: 24}\n", encoding="utf-8-sig")
    assert load_config(path).method.bits == 24


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_file_without_line_breaks_is_not_read_into_memory(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(text_files, "_LONGEST_LINE", 1_000)
    path = tmp_path / f"long{suffix}"
    path.write_text("id,text\n" * (suffix == ".csv") + "x" * 5_000)
    line = 2 if suffix == ".csv" else 1
    with pytest.raises(CorpusError, match=f"{path.name}:{line}: a line is longer than 1,000 characters"):
        list(documents(path))
    if suffix == ".jsonl":
        with pytest.raises(CorpusError, match="longer than"):
            list(text_files.line_spans(path, 100))
