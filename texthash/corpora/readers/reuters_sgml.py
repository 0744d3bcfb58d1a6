"""The SGML files of Reuters-21578: 22 of them, with 1,000 articles each, the last with 578.

::

    <REUTERS TOPICS="YES" LEWISSPLIT="TRAIN" CGISPLIT="TRAINING-SET" OLDID="5544" NEWID="1">
    <TOPICS><D>cocoa</D></TOPICS> ...
    <TEXT>&#2;
    <TITLE>BAHIA COCOA REVIEW</TITLE>
    <DATELINE>    SALVADOR, Feb 26 - </DATELINE><BODY>Showers continued ... Reuter
    &#3;</BODY></TEXT>
    </REUTERS>

The ModApte split consists of the articles with TOPICS="YES" and LEWISSPLIT TRAIN or TEST: 9,603 and 3,299. The text of
an article is title, blank line and body. One of TYPE="BRIEF" has a title, and a filler in place of the body; one of
TYPE="UNPROC" is not divided. Files are Latin-1 with ``&lt;``, ``&amp;`` and control characters as ``&#3;``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

from texthash.corpora.document import Document
from texthash.errors import CorpusError

ARTICLES = {f"reut2-{number:03}.sgm": 1000 for number in range(21)} | {"reut2-021.sgm": 578}
FOLDERS = {"training": "train", "test": "test"}
"""Split by the first part of an id, as in NLTK's corpus."""
OUTSIDE = "not in the ModApte split"
NO_BODY = "no body, only a title"
UNDIVIDED = "not divided into title and body"
_SPLITS = {"TRAIN": "training", "TEST": "test", "NOT-USED": "unused"}
_TEXT = re.compile(r'<TEXT(?: TYPE="(\w+)")?>(.*)</TEXT>', re.DOTALL)
_TITLE, _BODY, _TOPICS = (re.compile(rf"<{tag}>(.*?)</{tag}>", re.DOTALL) for tag in ("TITLE", "BODY", "TOPICS"))


def articles(lines: Iterable[tuple[int, str]], file: str, name: str) -> Iterator[Document]:
    """Yield all articles of a file with all their topics; those outside of the split are marked as excluded.

    Args:
        lines: Lines of the file, numbered from 1.
        file: Name of the file in errors.
        name: Key of :data:`ARTICLES`, which defines the number of articles.

    Raises:
        CorpusError: An article is broken, or the file ends early (names file and line).
    """
    article: list[str] = []
    start = number = count = 0
    for number, line in lines:
        if line.startswith("<REUTERS"):
            if article:
                raise broken(f"{file}:{start}", f"the article has no end before the next one, in line {number}")
            start = number
        elif not article:
            if line.strip() and not line.startswith("<!DOCTYPE"):
                raise broken(f"{file}:{number}", f"{line.strip()[:40]!r} is outside of articles")
            continue
        article.append(line)
        if line.startswith("</REUTERS>"):
            yield _article("".join(article), f"{file}:{start}")
            article.clear()
            count += 1
    if article:
        raise broken(f"{file}:{start}", "the file ends within this article")
    if count != ARTICLES[name]:
        raise broken(f"{file}:{number}", f"the file ends after {count} articles, not {ARTICLES[name]}")


def _article(article: str, origin: str) -> Document:
    header, _, rest = article.partition(">")
    attributes = dict(re.findall(r'(\w+)="([^"]*)"', header))
    text, topics = _TEXT.search(rest), _TOPICS.search(rest)
    folder = _SPLITS.get(attributes.get("LEWISSPLIT", ""))
    if text is None or topics is None or folder is None or not attributes.get("NEWID"):
        raise broken(origin, "the article lacks NEWID, LEWISSPLIT, TOPICS or TEXT")
    kind, content = text.groups()
    title, body = (plain(found[1]) if (found := tag.search(content)) else "" for tag in (_TITLE, _BODY))
    remark = "" if body else NO_BODY
    if kind == "UNPROC":
        body, remark = plain(content), UNDIVIDED
    document = Document(
        id=f"{folder}/{attributes['NEWID']}",
        text="\n\n".join(filter(None, (title, body))),
        labels=tuple(re.findall(r"<D>(.*?)</D>", topics[1])),
        split=FOLDERS.get(folder, ""),
        title=title,
        origin=origin,
        remark=remark,
    )
    if attributes.get("TOPICS") == "YES" and document.split:
        return document
    return document._replace(excluded=OUTSIDE)


def plain(text: str) -> str:
    """Resolve character entities; an invisible control character becomes a space, so that it separates words."""
    return re.sub(r"&(?:#\d+|\w+);", lambda entity: html.unescape(entity[0]) or " ", text).strip()


def broken(origin: str, problem: str) -> CorpusError:
    """Return the error of a file that is broken at ``origin``."""
    return CorpusError(f"{origin}: {problem}.", "fetch the file again.")
