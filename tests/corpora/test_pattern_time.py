"""Token patterns whose time grows faster than a text: refused wherever one is given, and found by what they do."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from texthash.config import CorpusConfig, Edition
from texthash.config.pattern_time import check_time
from texthash.corpora.preparation import writing
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.words import Analyzer
from texthash.errors import ModelMismatchError, UsageError
from texthash.io.records import sealed
from texthash.methods.registry import build
from texthash.models.hasher import Hasher

# Each with a text that Python's matcher reads in a time that is doubled by a few letters, or squared.
SLOW = {
    r"(a+)+$": "a" * 22 + "!",
    r"(a|a)+$": "a" * 22 + "!",
    r"(x+x+)+y": "x" * 23,
    r"(a?){21}a{21}": "a" * 21,
    r"^(.*?,){11}P": "1," * 26,
    r"\b(\w+-?)*@": "a" * 24,
    r"\w+@": "a" * 12_000,
    r"\w+$": "a" * 12_000 + "!",
    r"\w+\.\w+|\w": "a" * 12_000,
    r"[\w.]+@[\w.]+|\w+": "a." * 8_000,
    r"(?:\w+x|\w+?)": "a" * 12_000,
    r"(?:\w+x|\w|\w\w+)": "a" * 12_000,
    r"(?:.*)*[^a][^a]": "a" * 22,
    r"(?:(?:[ab]|.)*|[^a]{2,}b)(?:[ab])?": "\n" * 20_000,
    r"(?:[ab]{2,}?\s)*?|[^a]": "a" * 6_000,
    r"(?=\w+x)\w": "a" * 12_000,
    r".{900}(a|a)+$": "a" * 919 + "!",
    r"(foo|foo)*bar": "foo" * 22,
    r"(?:a[bc]d|a[bc]d)+!": "abd" * 22,
}
LINEAR = [
    r"(?u)\b\w\w+\b",
    r"[^\W\d_]{2,}",
    r"\w+(?:[-']\w+)*",
    r"\b\w[\w'-]*\w\b",
    r"\b\w+@",
    r"(?a)\b\w+\b",
    r"(?i)(?<!\w)[a-z]+(?!\d)",
    r'"[^"]*"|\w+',
    r"(?m)^\w+$",
    r"\w{2,30}",
    r"\S+",
    r".",
    r"\w*",
    r"(\w*)*",
    r"(\w)\1",
    r"\w++",
    r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+(?:\.\d+)?",
    r"(?:[A-Za-z]\.)+|[A-Z]{2,}|\w+(?:-\w+)*|\$?\d+(?:\.\d+)?%?|\.\.\.|[][.,;\"'?():_`-]",
    writing._MARKED_WORDS,
    writing._SINGLE_CHARACTERS,
]
TEXTS = ("a", "a-", "a'", "-", " ", "a.", '"', "a b ", "1.", "\n", "é-'", "A", "$", "漢", "a@")


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_goes_back_without_bound_is_refused(pattern: str) -> None:
    text = SLOW[pattern]
    began = time.process_time()
    re.findall(pattern, text)
    assert time.process_time() - began > 0.02, "the text shows nothing"
    with pytest.raises(ValueError, match="its time grows faster than the length of a text such as '"):
        check_time(pattern)
    with pytest.raises(UsageError, match=r"(?s)token_pattern=.* cannot be used: .*remedy: correct corpus.edition"):
        Analyzer(token_pattern=pattern).tokens("a")


@pytest.mark.parametrize("pattern", LINEAR)
def test_a_legal_pattern_reads_long_texts_in_a_time_in_proportion(pattern: str) -> None:
    words = Analyzer(token_pattern=pattern).words
    for text in TEXTS:
        for end in ("", "!"):
            began = time.process_time()
            words(text * (2**15 // len(text)) + end)
            assert time.process_time() - began < 0.8, (text, end)  # 0.005 s; the square of the length takes 2


@pytest.mark.parametrize("text", ["a_" * 2**19, "aB1" * 2**18, "y" * 2**20])
def test_a_query_of_a_million_characters(text: str) -> None:
    for analyzer in (Analyzer(), Analyzer(token_pattern=r"\w+(?:'\w+)*", stemmer="porter", identifier_parts=True)):
        began = time.process_time()
        analyzer.tokens(text)
        assert time.process_time() - began < 10.0


def test_a_corpus_and_a_model_with_such_a_pattern_are_refused(small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="token_pattern"):
        CorpusConfig(edition=Edition(token_pattern="(a+)+$"))
    model = Hasher.of(build("pcah", small_corpus.shape, 16), small_corpus).save(tmp_path / "model")
    record = json.loads((model / "hasher.json").read_text())
    record["edition"]["token_pattern"] = "(a+)+$"
    record.pop("digest")
    (model / "hasher.json").write_text(json.dumps(sealed(record)))
    with pytest.raises(ModelMismatchError, match=r"hasher.json[\s\S]*token_pattern[\s\S]*such as 'aa[\s\S]*remedy: "):
        Hasher.load(model)
