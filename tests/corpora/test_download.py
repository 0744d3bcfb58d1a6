"""Fetching a file from a real server that breaks off, lies, is busy, forgets, and changes its mind."""

from __future__ import annotations

import email.utils
import errno
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from texthash.config import CorpusConfig
from texthash.corpora import download as module
from texthash.corpora.catalog import open_source, records
from texthash.corpora.corpus_record import Download
from texthash.corpora.download import fetch, retry_after
from texthash.corpora.readers import newsgroups20
from texthash.errors import CorpusError, as_user_error
from texthash.paths import DATA_VARIABLE, StateDir

CONTENT = bytes(range(256)) * 4000
OTHER = CONTENT[::-1]


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Server:
    """Serves one file; each entry of ``script`` says how one request is answered, and then it behaves well.

    An entry is ``cut`` (half of what is asked, then the connection ends) or a status with headers.
    """

    def __init__(self) -> None:
        self.content = CONTENT
        self.etag: str | None = '"one"'
        self.modified: str | None = None
        self.knows_ranges = True
        self.heeds_if_range = True
        self.states_length = True
        self.type = "application/octet-stream"
        self.script: list[str | tuple[int, dict[str, str]]] = []
        self.asked: list[tuple[str | None, str | None]] = []
        self.before_answer: Callable[[], None] = lambda: None

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:
                self.answer(handler)

            def log_message(handler, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted, version = handler.headers.get("Range"), handler.headers.get("If-Range")
        self.asked.append((wanted, version))
        self.before_answer()
        step = self.script.pop(0) if self.script else "well"
        if isinstance(step, tuple):
            handler.send_response(step[0])
            for name, value in {"Content-Length": "0", **step[1]}.items():
                handler.send_header(name, value)
            handler.end_headers()
            return
        begin, content = 0, self.content
        same = version in (self.etag, self.modified) or not self.heeds_if_range
        if wanted and same and self.knows_ranges:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(content):
                handler.send_response(416)
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200)
        body = content[begin:]
        headers = {"ETag": self.etag, "Last-Modified": self.modified, "Content-Type": self.type}
        if self.states_length:
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2] if step == "cut" else body)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/corpus.bin"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.close()


@pytest.fixture
def wanted(server: Server) -> Download:
    return Download(server.url, "corpus.bin", len(CONTENT), sha256(CONTENT))


@pytest.fixture
def waits() -> list[float]:
    return []


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_file_arrives_whole_and_is_not_fetched_twice(server: Server, wanted: Download, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert fetch(wanted, folder).read_bytes() == CONTENT
    assert names(folder) == {"corpus.bin"}
    assert fetch(replace(wanted, checksum=f"md5:{hashlib.md5(CONTENT).hexdigest().upper()}"), folder).is_file()
    assert len(server.asked) == 1


def test_a_cut_connection_goes_on_where_it_ended(
    server: Server, wanted: Download, tmp_path: Path, waits: list[float]
) -> None:
    server.script = ["cut", "cut"]
    assert fetch(wanted, tmp_path, waits.append).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert server.asked == [(None, None), (f"bytes={half}-", '"one"'), (f"bytes={half + half // 2}-", '"one"')]
    assert waits == [1.0, 1.0], "what brings something is no failure in a row"


@pytest.mark.parametrize(
    ("etag", "modified", "version"),
    [
        ('W/"weak"', "Tue, 24 Nov 2026 10:00:00 GMT", "Tue, 24 Nov 2026 10:00:00 GMT"),
        (None, "Tue, 24 Nov 2026 10:00:00 GMT", "Tue, 24 Nov 2026 10:00:00 GMT"),
        ('W/"weak"', None, None),
        (None, None, None),
    ],
)
def test_a_part_is_continued_by_what_the_server_states(
    server: Server,
    wanted: Download,
    tmp_path: Path,
    waits: list[float],
    etag: str | None,
    modified: str | None,
    version: str | None,
) -> None:
    server.etag, server.modified, server.script = etag, modified, ["cut"]
    assert fetch(wanted, tmp_path, waits.append).read_bytes() == CONTENT
    assert server.asked[1] == ((f"bytes={len(CONTENT) // 2}-", version) if version else (None, None))


@pytest.mark.parametrize("heeds_if_range", [True, False])
@pytest.mark.parametrize("length", [len(OTHER), 100])
def test_a_changed_file_is_not_glued_to_the_old_one(
    server: Server, wanted: Download, tmp_path: Path, heeds_if_range: bool, length: int
) -> None:
    changed = OTHER[:length]
    wanted = replace(wanted, bytes=None, checksum=None)
    server.heeds_if_range, server.script = heeds_if_range, ["cut"]

    def change(seconds: float) -> None:
        server.content, server.etag = changed, '"two"'

    assert fetch(wanted, tmp_path, change).read_bytes() == changed


def test_a_server_without_ranges_starts_anew(
    server: Server, wanted: Download, tmp_path: Path, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    server.knows_ranges, server.script = False, ["cut"]
    assert fetch(wanted, tmp_path, waits.append).read_bytes() == CONTENT
    assert "starting again" in capsys.readouterr().err


def test_a_server_that_always_breaks_off_is_given_up(
    server: Server, wanted: Download, tmp_path: Path, waits: list[float]
) -> None:
    server.knows_ranges, server.script = False, ["cut"] * 20
    with pytest.raises(CorpusError, match=r"6 times in a row; 0\.5 MB were received and are kept"):
        fetch(wanted, tmp_path, waits.append)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_an_interrupted_download_keeps_its_part(server: Server, wanted: Download, tmp_path: Path) -> None:
    server.script = ["cut"]

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(wanted, tmp_path, interrupt)
    assert names(tmp_path) == {"corpus.bin.part", "corpus.bin.part.json"}
    assert fetch(wanted, tmp_path).read_bytes() == CONTENT
    assert server.asked[1][0] == f"bytes={len(CONTENT) // 2}-"
    assert names(tmp_path) == {"corpus.bin"}


def test_a_complete_part_needs_no_request(server: Server, wanted: Download, tmp_path: Path) -> None:
    server.script = ["cut"]
    with pytest.raises(KeyboardInterrupt):
        fetch(wanted, tmp_path, lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
    (tmp_path / "corpus.bin.part").write_bytes(CONTENT)
    assert fetch(wanted, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_wrong_checksum_leaves_nothing(server: Server, wanted: Download, tmp_path: Path) -> None:
    server.content = OTHER
    with pytest.raises(CorpusError, match=f"(?s){sha256(OTHER)[7:]}, not {sha256(CONTENT)[7:]}; it was removed"):
        fetch(wanted, tmp_path)
    assert names(tmp_path) == set()


def test_a_file_put_there_by_hand_is_checked_and_left(server: Server, wanted: Download, tmp_path: Path) -> None:
    (tmp_path / "corpus.bin").write_bytes(OTHER)
    with pytest.raises(CorpusError, match="remove it, and fetch it again"):
        fetch(wanted, tmp_path)
    assert (tmp_path / "corpus.bin").read_bytes() == OTHER
    assert server.asked == []


def test_an_unknown_checksum_is_noted_and_compared_later(
    server: Server, wanted: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = replace(wanted, checksum=None)
    fetch(wanted, tmp_path)
    assert sha256(CONTENT) in capsys.readouterr().err
    assert (tmp_path / "corpus.bin.sha256").read_text() == f"{sha256(CONTENT)[7:]}  corpus.bin\n"
    (tmp_path / "corpus.bin").unlink()
    server.content = OTHER
    with pytest.raises(CorpusError, match=f"has the sha256 checksum {sha256(OTHER)[7:]}"):
        fetch(wanted, tmp_path)
    server.content = CONTENT
    assert fetch(wanted, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_will_not_change_ends_at_once(
    server: Server, wanted: Download, tmp_path: Path, waits: list[float], status: int
) -> None:
    server.script = [(status, {})]
    with pytest.raises(CorpusError) as caught:
        fetch(wanted, tmp_path, waits.append)
    assert f"{server.url} answers {status}" in caught.value.problem
    assert f"download corpus.bin manually and put it into {tmp_path}" in caught.value.remedy
    assert waits == []


def test_a_busy_server_says_when_to_come_again(
    server: Server, wanted: Download, tmp_path: Path, waits: list[float]
) -> None:
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    answers = [(503, {"Retry-After": "7"}), (429, {"Retry-After": date}), (503, {"Retry-After": "86400"}), (500, {})]
    server.script = list(answers)
    assert fetch(wanted, tmp_path, waits.append).read_bytes() == CONTENT
    assert waits[0] == 7
    assert 50 < waits[1] <= 60
    assert waits[2:] == [module.LONGEST_WAIT, 8]


def test_retry_after_that_makes_no_sense_is_nothing() -> None:
    past = email.utils.formatdate(time.time() - 60, usegmt=True)
    assert [retry_after(value) for value in ("", "soon", "-5", past)] == [0, 0, 0, 0]


def test_redirects_are_followed(server: Server, wanted: Download, tmp_path: Path) -> None:
    server.script = [(302, {"Location": f"{server.url}?again"})]
    assert fetch(wanted, tmp_path).read_bytes() == CONTENT


def test_a_server_that_does_not_answer_is_named(
    server: Server, wanted: Download, tmp_path: Path, waits: list[float]
) -> None:
    server.close()
    with pytest.raises(CorpusError, match=r"(?s)cannot be fetched from http://127\.0\.0\.1:.*refused"):
        fetch(wanted, tmp_path, waits.append)
    assert len(waits) == module.WITHOUT_CONNECTION - 1


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/corpus.bin", "http://127.0.0.1:port/corpus.bin"])
def test_an_address_that_cannot_be_is_named(tmp_path: Path, waits: list[float], url: str) -> None:
    with pytest.raises(CorpusError, match=re.escape(f"cannot be fetched from {url}")):
        fetch(Download(url, "corpus.bin"), tmp_path, waits.append)
    assert waits == []


def test_another_size_and_a_web_page_are_refused_before_they_come(
    server: Server, wanted: Download, tmp_path: Path
) -> None:
    server.content = CONTENT[:1000]
    with pytest.raises(CorpusError, match=r"has 1,000 bytes, not 1,024,000"):
        fetch(wanted, tmp_path)
    server.type = "text/html; charset=utf-8"
    with pytest.raises(CorpusError, match=r"is a web page, not the file"):
        fetch(replace(wanted, bytes=None), tmp_path)
    assert names(tmp_path) == set()


def test_a_length_that_nobody_states_is_checked_at_the_end(server: Server, wanted: Download, tmp_path: Path) -> None:
    server.states_length, server.script = False, ["cut"]
    with pytest.raises(CorpusError, match=r"has 512,000 bytes, not 1,024,000; it was removed"):
        fetch(wanted, tmp_path)
    assert fetch(wanted, tmp_path).read_bytes() == CONTENT


def test_a_body_without_end_is_left_soon_after_the_length_of_the_file(
    server: Server, wanted: Download, tmp_path: Path
) -> None:
    server.states_length, server.content = False, CONTENT * 40
    with pytest.raises(CorpusError, match=r"corpus\.bin .* bytes, not 1,024,000; it was removed") as caught:
        fetch(wanted, tmp_path)
    received = re.search(r"has ([\d,]+) bytes", str(caught.value))
    assert received
    assert int(received[1].replace(",", "")) < 2 * len(CONTENT)
    assert names(tmp_path) == set()


def test_a_redirect_to_a_file_or_in_circles_is_refused(server: Server, wanted: Download, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    server.script = [(302, {"Location": secret.as_uri()})]
    with pytest.raises(CorpusError, match="cannot be fetched from"):
        fetch(wanted, tmp_path / "to")
    server.script = [(302, {"Location": server.url})] * 30
    with pytest.raises(CorpusError, match="redirect"):
        fetch(wanted, tmp_path / "to")
    assert names(tmp_path / "to") == set()


def test_no_room_is_said_before_and_kept_after(
    server: Server, wanted: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(module.shutil, "disk_usage", lambda path: module.shutil._ntuple_diskusage(1, 1, 1000))
        with pytest.raises(CorpusError, match=r"needs 1\.0 MB more, and .* has 0\.0 MB"):
            fetch(wanted, tmp_path)
    assert fetch(wanted, tmp_path).read_bytes() == CONTENT


def test_a_disk_that_fills_up_keeps_what_came(
    server: Server, wanted: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def filling(chunks: Iterator[bytes], *args: object) -> Iterator[bytes]:
        yield next(chunks)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(module, "transfer", filling)
        with pytest.raises(OSError, match="No space left") as caught:
            fetch(wanted, tmp_path)
    assert "the disk is full" in str(as_user_error(caught.value))
    assert fetch(wanted, tmp_path).read_bytes() == CONTENT
    assert server.asked[1][0] is not None, "it goes on where the disk was full"


def test_two_at_the_same_time_fetch_once(server: Server, wanted: Download, tmp_path: Path) -> None:
    server.before_answer = lambda: time.sleep(0.2)
    threads = [threading.Thread(target=fetch, args=(wanted, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "corpus.bin").read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_progress_tells_bytes_and_rate(
    server: Server,
    wanted: Download,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("texthash.progress._LINE_EVERY_SECONDS", 0)
    fetch(wanted, tmp_path)
    captured = capsys.readouterr()
    assert re.search(r"fetching corpus\.bin: \d\.\d MB of 1\.0 MB, [\d,.]+ MB/s", captured.err)
    assert captured.out == ""


def test_what_records_state_of_their_downloads_can_be_checked() -> None:
    downloads = [download for record in records().values() for download in record.downloads]
    assert downloads
    for download in downloads:
        assert re.fullmatch(r"https?://\S+", download.url)
        assert Path(download.file).name == download.file
        assert download.checksum is None or re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", download.checksum)


@pytest.mark.parametrize("terms", ["", "for research only"])
def test_what_is_not_at_hand_is_fetched_unless_it_has_terms(
    server: Server, wanted: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terms: str
) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    wanted = replace(wanted, file=newsgroups20.ARCHIVE)
    record = replace(newsgroups20.record, downloads=(wanted,), terms=terms)
    monkeypatch.setattr(newsgroups20, "record", record)
    source = open_source(CorpusConfig(name="20newsgroups"), StateDir(tmp_path))
    assert [file.name for file in source.files()] == ([] if terms else [newsgroups20.ARCHIVE])
    assert len(server.asked) == (0 if terms else 1)


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"{}", b'{"etag": 7, "modified": null, "total": 3}', b"\xff"])
def test_a_broken_record_of_the_part_starts_the_file_again(
    server: Server, tmp_path: Path, record: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:1000])
    (tmp_path / "a.bin.part.json").write_bytes(record)
    wanted = Download(file="a.bin", url=server.url, bytes=len(CONTENT), checksum=sha256(CONTENT))
    assert fetch(wanted, tmp_path).read_bytes() == CONTENT
    assert "a.bin.part.json is broken" in capsys.readouterr().err
    assert server.asked == [(None, None)]


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff", b"short  a.bin"])
def test_a_broken_recorded_checksum_is_named(server: Server, tmp_path: Path, content: bytes) -> None:
    wanted = Download(file="a.bin", url=server.url)
    fetch(wanted, tmp_path)
    (tmp_path / "a.bin.sha256").write_bytes(content)
    with pytest.raises(CorpusError, match=r"a\.bin\.sha256 is broken: .*\n.*remedy: delete it"):
        fetch(wanted, tmp_path)
