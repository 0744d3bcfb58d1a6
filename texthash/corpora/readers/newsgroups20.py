"""``20newsgroups``, split by date: 11,314 training and 7,532 test messages in 20 groups, in the raw form with headers.

It is read from the official archive ``20news-bydate.tar.gz`` or from canonical rows ``20newsgroups*.jsonl.gz``. Both
give the same documents in the same order.
"""

from __future__ import annotations

import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.corpus_record import CorpusRecord, Download
from texthash.corpora.document import Document
from texthash.corpora.find_files import find_files, missing
from texthash.corpora.readers import rows
from texthash.errors import CorpusError
from texthash.paths import StateDir

ARCHIVE = "20news-bydate.tar.gz"
COUNTS = {"train": 11_314, "test": 7_532}
_GROUPS = """
alt.atheism comp.graphics comp.os.ms-windows.misc comp.sys.ibm.pc.hardware comp.sys.mac.hardware comp.windows.x
misc.forsale rec.autos rec.motorcycles rec.sport.baseball rec.sport.hockey sci.crypt sci.electronics sci.med sci.space
soc.religion.christian talk.politics.guns talk.politics.mideast talk.politics.misc talk.religion.misc
"""
record = CorpusRecord(
    name="20newsgroups",
    title="20 Newsgroups, sorted by date",
    documents=18_846,
    labels=20,
    multi_label=False,
    licence="none stated; public Usenet messages, free for research",
    source="http://qwone.com/~jason/20Newsgroups/",
    citation="Lang, NewsWeeder: Learning to Filter Netnews, ICML 1995",
    survey="18,846 documents, 20 labels, single-label",
    splits=COUNTS,
    downloads=(
        Download(
            url="https://ndownloader.figshare.com/files/5975967",
            file=ARCHIVE,
            bytes=14_464_277,
            checksum="sha256:8f1b2514ca22a5ade8fbb9cfa5727df95fa587f4c87b786e15c759fa66d95610",
        ),
    ),
)
_FOLDERS = {"20news-bydate-train": "train", "20news-bydate-test": "test"}


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return the archive, or the files of canonical rows; empty if neither is available."""
    return find_files("20newsgroups", (ARCHIVE,), config, home)


def label_parents(config: CorpusConfig, home: StateDir) -> dict[str, str]:
    """Return the hierarchy of Usenet, the first part of a group's name, of each group: 7 for 20 groups."""
    return {group: group.partition(".")[0] for group in _GROUPS.split()}


def read(config: CorpusConfig, home: StateDir) -> Iterator[Document]:
    """Yield all messages, train before test, by group and number.

    ``config.edition.strip`` removes headers, footers and quotes as scikit-learn does.

    Raises:
        CorpusError: The corpus is not available, or incomplete.
    """
    found = files(config, home)
    if not found:
        raise missing(record, config, home)
    if found[0].name == ARCHIVE:
        messages = list(_archived(found[0]))
    else:
        messages = [document for path in found for document in rows.documents(path)]
    counts = Counter(message.split for message in messages)
    if counts != COUNTS:
        raise CorpusError(
            f"20newsgroups in {', '.join(map(str, found))} has {dict(counts)} documents, not {COUNTS}.",
            f"fetch {ARCHIVE} again.",
        )
    strip = _stripper(config)
    for message in sorted(messages, key=_order):
        yield message._replace(text=strip(message.text)) if config.edition.strip else message


def _order(message: Document) -> tuple[bool, str]:
    return message.split == "test", message.id


def _stripper(config: CorpusConfig) -> Callable[[str], str]:
    from sklearn.datasets import _twenty_newsgroups as sklearn_strip

    steps = {
        "headers": sklearn_strip.strip_newsgroup_header,
        "footers": sklearn_strip.strip_newsgroup_footer,
        "quotes": sklearn_strip.strip_newsgroup_quoting,
    }

    def strip(text: str) -> str:
        for part in ("headers", "footers", "quotes"):  # the order matters: quotes are searched in the body only
            if part in config.edition.strip:
                text = steps[part](text)
        return text

    return strip


def _archived(path: Path) -> Iterator[Document]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and (content := archive.extractfile(member)) is not None:
                    yield _message(Path(member.name).parts[-3:], content.read(), f"{path}:{member.name}")
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise CorpusError(f"{path} is damaged: {error}", "fetch the archive again.") from error


def _message(parts: tuple[str, ...], content: bytes, origin: str) -> Document:
    if len(parts) != 3 or parts[0] not in _FOLDERS:
        raise CorpusError(f"{origin} does not belong in {ARCHIVE}.", "fetch the archive again.")
    split = _FOLDERS[parts[0]]
    return Document(f"{split}/{parts[1]}/{parts[2]}", content.decode("latin-1"), (parts[1],), split, origin=origin)
