"""``reuters``: Reuters-21578 in the ModApte split: the articles that have one of 90 topics, 7,770 and 3,019.

The 90 are the topics that have a training and a test article. Label set ``top20``: the 20 topics with most articles; an
article that has none of them is left out and counted.

It is read from the SGML files (:mod:`.reuters_sgml`), their archive, NLTK's corpus ``reuters`` (a folder or a zip of
plain texts with ``cats.txt``; one training article fewer), or canonical rows ``reuters*.jsonl.gz``. All forms have the
ids of NLTK: ``training/1``, ``test/14826``.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from texthash.config import CorpusConfig
from texthash.corpora.corpus_record import CorpusRecord, Download
from texthash.corpora.document import Document
from texthash.corpora.find_files import find_files, missing
from texthash.corpora.readers import rows, text_files
from texthash.corpora.readers.counts import checked
from texthash.corpora.readers.reuters_sgml import ARTICLES, FOLDERS, OUTSIDE, articles, broken, plain
from texthash.errors import CorpusError
from texthash.io.listing import matching
from texthash.paths import StateDir

ARCHIVE = "reuters21578.tar.gz"
NLTK_FOLDER, NLTK_ZIP = "cats.txt", "reuters.zip"
COUNTS, NLTK_COUNTS = {"train": 7_770, "test": 3_019}, {"train": 7_769, "test": 3_019}
_BY_SIZE = """
earn acq money-fx grain crude trade interest ship wheat corn dlr money-supply oilseed sugar coffee gnp gold veg-oil
soybean bop nat-gas livestock cpi cocoa reserves carcass jobs copper cotton rice yen alum gas iron-steel ipi barley
meal-feed rubber palm-oil sorghum zinc pet-chem tin lead silver wpi orange rapeseed strategic-metal soy-meal retail
soy-oil fuel hog housing heat income lumber sunseed lei dmk oat tea platinum groundnut nickel l-cattle rape-oil
coconut-oil sun-oil coconut instal-debt naphtha potato propane jet cpu nzdlr copra-cake cotton-oil dfl nkr palladium
palmkernel rand castor-oil groundnut-oil lin-oil rye sun-meal
"""
TOPICS = tuple(_BY_SIZE.split())
"""Topics by number of articles, then by name: nat-gas, the 21st, has as many as bop, the 20th."""
LABEL_SETS = {"topics90": frozenset(TOPICS), "top20": frozenset(TOPICS[:20])}
WITHOUT_TOPIC = "has no topic of topics90"
record = CorpusRecord(
    name="reuters",
    title="Reuters-21578, ModApte split",
    documents=10_789,
    labels=90,
    multi_label=True,
    licence="copyright Reuters Ltd.; free distribution for research purposes only",
    source="http://www.daviddlewis.com/resources/testcollections/reuters21578/",
    citation="Lewis, Reuters-21578 Text Categorization Test Collection, Distribution 1.0, 1997; the split: Apté, "
    "Damerau and Weiss, Automated Learning of Decision Rules for Text Categorization, TOIS 1994",
    survey="10,788 documents (NLTK's edition), 90 labels of which 20 are used, multi-label",
    splits=COUNTS,
    label_sets=tuple(LABEL_SETS),
    downloads=(
        Download(
            url="https://kdd.ics.uci.edu/databases/reuters21578/reuters21578.tar.gz",
            file=ARCHIVE,
            checksum="sha256:3bae43c9b14e387f76a61b6d82bf98a4fb5d3ef99ef7e7075ff2ccbcf59f9d30",  # as in scikit-learn
        ),
    ),
    excluded_reasons=(OUTSIDE, WITHOUT_TOPIC),
    terms="For research purposes only. Who publishes results acknowledges the use of 'Reuters-21578, Distribution 1.0' "
    "and says where it is to be had.",
)


def files(config: CorpusConfig, home: StateDir) -> list[Path]:
    """Return the files of the first available form, in the order above; for NLTK's folder, all texts."""
    found = find_files("reuters", [tuple(ARTICLES), (ARCHIVE,), (NLTK_FOLDER,), (NLTK_ZIP,)], config, home)
    if found and found[0].name == NLTK_FOLDER:
        found += sorted(file for folder in FOLDERS for file in matching(found[0].parent / folder, "*"))
    return found


def parts(config: CorpusConfig, home: StateDir) -> list[Callable[[], Iterator[Document]]]:
    """Return one part for each SGML file; the other forms are a single part.

    Raises:
        CorpusError: The corpus is not available.
    """
    found = files(config, home)
    if not found:
        raise missing(record, config, home)
    label_set = config.edition.label_set or record.label_sets[0]
    if found[0].name.startswith("reut2-"):
        return [partial(_sgml, path, label_set) for path in found]
    forms = {ARCHIVE: _archive, NLTK_FOLDER: _nltk, NLTK_ZIP: _nltk}
    return [partial(forms.get(found[0].name, _rows), found, label_set)]


def _sgml(path: Path, label_set: str) -> Iterator[Document]:
    return _restricted(articles(text_files.lines(path, "latin-1"), str(path), path.name.removesuffix(".gz")), label_set)


def _archive(found: list[Path], label_set: str) -> Iterator[Document]:
    [path] = found
    texts: dict[str, str] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if Path(member.name).name in ARTICLES and (content := archive.extractfile(member)) is not None:
                    texts[Path(member.name).name] = content.read().decode("latin-1")
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise CorpusError(f"{path} is damaged: {error}", "fetch the archive again.") from error
    for name in ARTICLES:
        lines = enumerate(io.StringIO(texts.get(name, ""), newline=""), start=1)
        yield from _restricted(articles(lines, f"{path}:{name}", name), label_set)


def _nltk(found: list[Path], label_set: str) -> Iterator[Document]:
    """Yield NLTK's texts. ``cats.txt`` has a line for each, ``training/1 cocoa``; a text begins with its title."""
    path = found[0]
    try:
        if path.name == NLTK_ZIP:
            with zipfile.ZipFile(path) as archive:
                contents = {name.removeprefix("reuters/"): archive.read(name) for name in archive.namelist()}
        else:
            contents = {file.relative_to(path.parent).as_posix(): file.read_bytes() for file in found}
        topics = contents[NLTK_FOLDER].decode("latin-1").splitlines()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError) as error:
        raise CorpusError(f"{path} cannot be read: {error}", "fetch NLTK's corpus `reuters` again.") from error
    documents = [_nltk_text(line.split(), contents, f"{path}:{n}") for n, line in enumerate(topics, start=1)]
    documents.sort(key=lambda document: (document.split == "test", int(document.id.partition("/")[2])))
    return _restricted(checked(documents, "reuters", [path], NLTK_COUNTS), label_set)


def _nltk_text(line: list[str], contents: dict[str, bytes], origin: str) -> Document:
    name = line[0] if line else ""
    folder, _, number = name.partition("/")
    if name not in contents or folder not in FOLDERS or not number.isdecimal():
        raise broken(origin, f"there is no text {name!r}")
    return Document(name, plain(contents[name].decode("latin-1")), tuple(line[1:]), FOLDERS[folder], origin=origin)


def _rows(found: list[Path], label_set: str) -> Iterator[Document]:
    documents = chain.from_iterable(rows.documents(path) for path in found)
    return _restricted(checked(documents, "reuters", found, COUNTS, NLTK_COUNTS), label_set)


def _restricted(documents: Iterable[Document], label_set: str) -> Iterator[Document]:
    """Reduce labels to the topics of the set; a document without any of them is marked as excluded."""
    for document in documents:
        labels = tuple(label for label in dict.fromkeys(document.labels) if label in LABEL_SETS[label_set])
        title = document.title or document.text.partition("\n")[0].strip()
        without = f"has no topic of {label_set}" if LABEL_SETS["topics90"] & {*document.labels} else WITHOUT_TOPIC
        excluded = document.excluded or ("" if labels else without)
        yield document._replace(labels=labels, title=title, excluded=excluded)
