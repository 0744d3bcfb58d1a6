"""Words outside ASCII where the locale is ASCII, and names of files that are not UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0"}
WORDS = ("排序", "数组", "文档", "搜索", "读取", "編碼")
LIBRARY = """
import sys
from pathlib import Path
from texthash.config import CorpusConfig, TrainingConfig, EvaluationConfig
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.evaluation.results import Evaluation
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.paths import StateDir
from texthash.reporting.report import ReportedRun, report
from texthash.training.loop import fit

assert sys.getfilesystemencoding() == "ascii"
root = Path(sys.argv[1])
corpus = PreparedCorpus.open(prepare_corpus(CorpusConfig(name="cjk", path=str(root / "rows.jsonl")), StateDir(root)))
hasher = Hasher.of(fit(build("lsh", corpus.shape, 8), corpus.train, TrainingConfig()).method, corpus)
again = Hasher.load(hasher.save(root / "model"))
assert (again.encode_split(corpus.validation) == hasher.encode_split(corpus.validation)).all()
evaluation = EvaluationProtocol(corpus, EvaluationConfig(k=2)).evaluate_validation(hasher)
report([ReportedRun("lsh", Evaluation.load(evaluation.save(root / "evaluation")))]).save(root / "report")
print(ascii(sorted(again.vocabulary.terms)))
"""


def in_ascii(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **ASCII},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        **options,
    )


@pytest.fixture
def folder(tmp_path):
    """Twelve documents in folders and files whose names are Chinese."""
    for number in range(12):
        label = tmp_path / "texts" / WORDS[number % 2]
        label.mkdir(parents=True, exist_ok=True)
        words = [word for place, word in enumerate(WORDS) if (number + place) % 3]
        (label / f"文{number}.txt").write_text(" ".join(words), encoding="utf-8")
    return tmp_path


def test_a_library_reads_and_writes_utf8_whatever_the_locale(tmp_path):
    rows = [{"text": " ".join(WORDS[number % 3 :]), "label": WORDS[number % 2]} for number in range(12)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    ended = in_ascii("-c", LIBRARY, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip().splitlines()[-1] == ascii(sorted(WORDS))


def test_a_command_takes_arguments_and_names_of_files_as_utf8_whatever_the_locale(folder):
    override = "corpus.path=texts"
    ended = in_ascii("-m", "texthash", "--home", "状态", "prepare", "corpus.name=cjk", override, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    made = folder / "状态" / "corpora" / "cjk"
    manifest = json.loads(next(made.rglob("manifest.json")).read_text(encoding="utf-8"))
    assert manifest["label_names"] == sorted(WORDS[:2])


def test_a_name_that_is_not_utf8_is_an_error_that_names_it(folder, run_cli):
    name = os.fsencode(folder / "texts") + b"/caf\xe9.txt"
    with open(name, "w", encoding="utf-8") as file:
        file.write(" ".join(WORDS))
    status, _, err = run_cli("--home", str(folder), "prepare", "corpus.name=cjk", f"corpus.path={folder / 'texts'}")
    assert status == 1
    assert r"caf\xe9.txt' is not UTF-8" in err
    assert "rename it" in err
