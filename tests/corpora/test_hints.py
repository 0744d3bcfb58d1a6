"""What is said of a corpus whose writing or name does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from texthash.config import CorpusConfig, Edition
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import CorpusError
from texthash.paths import StateDir

CHINESE = "深度哈希学习文档的二进制编码并在汉明空间中搜索"
HINDI = "किताब पढ़ने वाले लोगों की सूची और उनकी कहानियाँ"
THAI = "การเรียนรู้เชิงลึกสำหรับการค้นหาเอกสาร"
ENGLISH = "learn binary codes of documents"


def warnings(folder: Path, text: str, **edition: str) -> list[str]:
    rows = [{"id": n, "text": f"{text} {text[: n % 9]}", "label": f"l{n % 2}"} for n in range(30)]
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = Edition(name="v1", stop_words=None, **edition)
    config = CorpusConfig(name="mine", path=str(folder / "rows.jsonl"), edition=settings, shards=1)
    return PreparedCorpus.open(prepare_corpus(config, StateDir(folder / "home"))).manifest.warnings


def suggested(warning: str) -> str:
    return warning.rpartition("set it to '")[2].removesuffix("'.")


@pytest.mark.parametrize(
    ("text", "says"), [(CHINESE, "without spaces"), (HINDI, "leaves out most letters"), (THAI, "token_pattern")]
)
def test_a_pattern_that_does_not_fit_the_script_is_named_with_a_better_one(
    tmp_path: Path, text: str, says: str
) -> None:
    (warning,) = warnings(tmp_path / "a", text)
    assert says in warning
    if text is not THAI:  # which needs words cut by a program of its own
        assert warnings(tmp_path / "b", text, token_pattern=suggested(warning)) == []


@pytest.mark.parametrize("text", [ENGLISH, "深度 哈希 学习 文档 编码", "строки текста на русском языке"])
def test_a_pattern_that_fits_is_not_mentioned(tmp_path: Path, text: str) -> None:
    assert warnings(tmp_path / "a", text) == []


def test_a_second_corpus_under_the_same_name_is_told_to_take_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text("".join(f'{{"text": "{name} text {n}"}}\n' for n in range(20)))
    edition, home = Edition(name="v1", stop_words=None), StateDir(tmp_path / "home")
    prepare_corpus(CorpusConfig(name="mine", path=str(tmp_path / "a.jsonl"), edition=edition), home)
    with pytest.raises(CorpusError, match=r"was prepared from .*a\.jsonl, not from .*b\.jsonl") as raised:
        prepare_corpus(CorpusConfig(name="mine", path=str(tmp_path / "b.jsonl"), edition=edition), home)
    assert "corpus.name=" in raised.value.remedy
