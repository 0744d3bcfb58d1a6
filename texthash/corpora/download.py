"""Downloads of published corpus files: resumed after an interruption, verified, and renamed when complete.

The received bytes are stored beside the file as ``<file>.part``, and their version in ``<file>.part.json``: the
server's strong ETag, else its Last-Modified (RFC 9110, section 13.1.5, ``If-Range``). A partial file is only continued
with bytes of the same version; where the server does not confirm it, the file is fetched again from the beginning.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from texthash import __version__
from texthash.corpora.corpus_record import Download
from texthash.errors import CorpusError, TexthashError
from texthash.io.atomic import exclusive, whole, write_json
from texthash.io.records import read_typed
from texthash.progress import log_line, megabytes, transfer

ATTEMPTS, WITHOUT_CONNECTION = 6, 3
"""Maximum number of consecutive attempts that receive nothing; the second applies if no connection is made."""
LONGEST_WAIT = 120.0
"""Maximum wait between attempts in seconds, also for a longer ``Retry-After``."""
_FIRST_WAIT = 1.0
_TIMEOUT = httpx.Timeout(30.0, read=60.0)
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"texthash/{__version__}"}
_BUSY = (408, 425, 429, 500, 502, 503, 504)


class _Busy(Exception):
    """Temporary refusal by the server."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"the server answers {response.status_code} {response.reason_phrase}")
        self.wait = retry_after(response.headers.get("Retry-After", ""))


_PASSING = (_Busy, httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)


def fetch(download: Download, folder: Path, wait: Callable[[float], None] = time.sleep) -> Path:
    """Fetch a file into a folder and return its path; an existing file is only verified.

    Without a published checksum, ``<file>.sha256`` is written beside the file, and later fetches are compared with it.

    Args:
        download: File to fetch.
        folder: Target folder, created if needed. If another process is fetching the same file, this waits for it.
        wait: Function that sleeps between attempts.

    Raises:
        CorpusError: The file cannot be fetched, differs from the expected one, or does not fit on the disk. The bytes
            received are kept for the next attempt unless they are wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / download.file
    with exclusive(folder / f".{download.file}.lock"):
        if target.exists():
            if wrong := _difference(target, download):
                raise CorpusError(f"{target} {wrong}.", f"remove it, and fetch it again from {download.url}.")
            log_line(f"{target} exists already")
            return target
        part = _Part(target)
        _complete(part, download, wait)
        if wrong := _difference(part.path, download):
            part.discard()
            raise CorpusError(
                f"{download.file} from {download.url} {wrong}; it was removed.",
                f"fetch it again; if that does not help, the published file has changed: get the right one elsewhere "
                f"and put it into {folder}.",
            )
        if download.checksum is None and not _checksum_file(target).exists():
            _record_checksum(target, part.path)
        part.path.replace(target)
        part.discard()
    log_line(f"fetched {target}: {megabytes(target.stat().st_size)}")
    return target


def retry_after(value: str) -> float:
    """Return the seconds of a ``Retry-After`` header, a number or an HTTP date; 0 if it has no valid value."""
    if value.strip().isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


@dataclass(frozen=True)
class _Stated:
    etag: str | None
    modified: str | None
    total: int | None


class _Part:
    """Bytes of a file received so far, and the version of the file that they belong to."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._about = target.with_name(f"{target.name}.part.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def about(self) -> dict[str, Any]:
        """Return ``etag``, ``modified`` and ``total`` as the server stated them.

        The result is empty if nothing has been received, or if the record is broken.
        """
        if not self._about.exists() or not self.path.exists():
            return {}
        try:
            return asdict(read_typed(_Stated, self._about, "the file is fetched again."))
        except TexthashError as error:
            log_line(f"warning: {error.problem} The file is fetched from its beginning")
            self.discard()
            return {}

    def begin(self, response: httpx.Response) -> None:
        """Discard earlier bytes and record the version of this response."""
        self.discard()
        self.path.touch()
        stated = {"etag": response.headers.get("ETag"), "modified": response.headers.get("Last-Modified")}
        write_json(self._about, {**stated, "total": _length(response)})

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)

    def is_complete(self) -> bool:
        return bool(self.about) and self.about["total"] is not None and self.size == self.about["total"]

    def request(self) -> dict[str, str]:
        """Return headers that request the rest, if the server stated a version to hold it to."""
        about = self.about
        strong = about.get("etag") if not (about.get("etag") or "").startswith("W/") else None
        version = strong or about.get("modified")
        return {"Range": f"bytes={self.size}-", "If-Range": version} if version and self.size else {}

    def continues(self, response: httpx.Response) -> bool:
        """Return whether a partial response continues these bytes: some servers ignore ``If-Range``."""
        if response.status_code != 206:
            return False
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != self.size:
            return False
        stated = {"etag": response.headers.get("ETag"), "modified": response.headers.get("Last-Modified")}
        if found[2] != "*":
            stated["total"] = int(found[2])
        about = self.about
        return all(about[name] in (None, value) for name, value in stated.items() if value is not None)


def _complete(part: _Part, download: Download, wait: Callable[[float], None]) -> None:
    """Fetch the missing bytes; attempts that receive some are not limited in number."""
    failures = 0
    with httpx.Client(follow_redirects=True, timeout=_TIMEOUT, headers=_HEADERS) as client:
        while not part.is_complete():
            before = part.size
            try:
                _receive(client, download, part)
                return
            except _PASSING as error:
                failures = 1 if part.size > before else failures + 1
                reason = str(error) or type(error).__name__
                if failures >= (WITHOUT_CONNECTION if isinstance(error, httpx.ConnectError) else ATTEMPTS):
                    raise CorpusError(
                        f"{download.file} cannot be fetched from {download.url}: {reason}, {failures} times in a row; "
                        f"{megabytes(part.size)} were received and are kept.",
                        f"fetch it again later, which continues from there, or {_by_hand(part)}.",
                    ) from error
                pause = min(max(_FIRST_WAIT * 2 ** (failures - 1), getattr(error, "wait", 0.0)), LONGEST_WAIT)
                log_line(f"fetching {download.file}: {reason}; retrying in {pause:.0f} s")
                wait(pause)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise CorpusError(
                    f"{download.file} cannot be fetched from {download.url}: {error}.", f"{_by_hand(part)}."
                ) from error


def _receive(client: httpx.Client, download: Download, part: _Part) -> None:
    headers = part.request()
    with client.stream("GET", download.url, headers=headers) as response:
        status = response.status_code
        if status in _BUSY:
            raise _Busy(response)
        if status == 200:
            if part.size:
                log_line(f"fetching {download.file}: the server cannot continue the same version; starting again")
            _check_answer(response, download, part)
            part.begin(response)
        elif not headers or status not in (206, 416):
            raise CorpusError(
                f"{download.file} cannot be fetched: {download.url} answers {status} {response.reason_phrase}.",
                f"{_by_hand(part)}.",
            )
        if status == 200 or part.continues(response):
            _write(response, download, part)
            return
    log_line(f"fetching {download.file}: the published file has changed; starting again")
    part.discard()
    _receive(client, download, part)


def _check_answer(response: httpx.Response, download: Download, part: _Part) -> None:
    """Reject a response that cannot be the file."""
    length = _length(response)
    if download.bytes is not None and length is not None and length != download.bytes:
        problem = f"has {length:,} bytes, not {download.bytes:,}"
    elif response.headers.get("Content-Type", "").startswith("text/html") and not download.file.endswith(".html"):
        problem = "is a web page, not the file"
    else:
        return
    raise CorpusError(
        f"{download.file} cannot be fetched: the response of {download.url} {problem}.", f"{_by_hand(part)}."
    )


def _write(response: httpx.Response, download: Download, part: _Part) -> None:
    total = part.about["total"] or download.bytes
    free = shutil.disk_usage(part.path.parent).free
    if total is not None and total - part.size > free:
        raise CorpusError(
            f"{download.file} needs {megabytes(total - part.size)} more, and {part.path.parent} has {megabytes(free)}.",
            "make room, or fetch it into a folder on another disk (--data-dir).",
        )
    with part.path.open("ab") as file:
        for chunk in transfer(response.iter_raw(), f"fetching {download.file}", part.size, total):
            file.write(chunk)
            if download.bytes is not None and file.tell() > download.bytes:
                return  # It is not the file, and may have no end.


def _length(response: httpx.Response) -> int | None:
    length = response.headers.get("Content-Length")
    return int(length) if length and length.isdigit() else None


def _by_hand(part: _Part) -> str:
    return f"download {part.path.stem} manually and put it into {part.path.parent}"


def _difference(path: Path, download: Download) -> str:
    """Return how the size or checksum of a file differs from the expected; the empty string if it does not."""
    size = path.stat().st_size
    if download.bytes is not None and size != download.bytes:
        return f"has {size:,} bytes, not {download.bytes:,}"
    expected = download.checksum
    if expected is None:
        recorded = _checksum_file(path.with_name(download.file))
        if not recorded.exists():
            return ""
        words = recorded.read_bytes().split()
        if not words or not re.fullmatch(rb"[0-9a-f]{64}", words[0]):
            raise CorpusError(f"{recorded} is broken: it holds no SHA-256.", f"delete it to trust {path}.")
        expected = f"sha256:{words[0].decode()}"
    algorithm, _, digest = expected.partition(":")
    found = _digest(path, algorithm)
    return "" if found == digest.lower() else f"has the {algorithm} checksum {found}, not {digest}"


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _checksum_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _record_checksum(target: Path, content: Path) -> None:
    digest = _digest(content, "sha256")
    with whole(_checksum_file(target)) as partial:
        partial.write_text(f"{digest}  {target.name}\n", encoding="utf-8")
    log_line(f"{target.name} has no published checksum; sha256:{digest} is recorded in {_checksum_file(target).name}")
