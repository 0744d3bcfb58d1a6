"""The benchmark of the weight of the meaning: the weight of known items beside what judged queries say."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.pipelines.benchmark import rows_of
from texthash.experiments.retrieval.plan import RetrievalPlan
from texthash.experiments.retrieval.study import run_retrieval
from texthash.paths import StateDir

SUBJECTS = {"sea": "wave tide ship harbour sail", "field": "wheat plough barn harvest seed", "town": "street tram"}


def write_subjects(folder: Path) -> None:
    """Write a collection of 120 documents about three subjects, each asked for by its words."""
    drawn = random.Random(0)
    (folder / "qrels").mkdir(parents=True)
    documents, judged = [], ["query-id\tcorpus-id\tscore"]
    for number in range(120):
        subject = list(SUBJECTS)[number % 3]
        first, second = (" ".join(drawn.choices([*SUBJECTS[subject].split(), "old", "new"], k=6)) for _ in range(2))
        documents.append({"_id": str(number), "title": "", "text": f"{first}. {second} {subject}."})
        judged.append(f"{subject}\t{number}\t1")
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents))
    queries = [{"_id": subject, "text": words} for subject, words in SUBJECTS.items()]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    (folder / "qrels" / "test.tsv").write_text("\n".join(judged) + "\n")


def test_a_row_has_both_sides_and_the_weight_of_a_release(tmp_path: Path) -> None:
    write_subjects(tmp_path / "data" / "subjects")
    home = tmp_path / "home"
    edition = {"name": "own", "split": {"kind": "random", "train": 0.6, "validation": 0.3}, "min_df": 1}
    plan = RetrievalPlan.model_validate(
        {
            "name": "small",
            "collections": {"subjects": {"path": "subjects"}},
            "settings": {"corpus": {"edition": edition}},
            "bits": [8],
            "methods": {"pcah": {}},
        }
    )
    run_retrieval(plan, StateDir(home), tmp_path, tmp_path / "data")
    [model] = (home / "runs" / "models").iterdir()
    [row] = rows_of("weights", model.name, "--judged", tmp_path / "data" / "subjects", TEXTHASH_HOME=home)
    assert row["model"] == model.name
    assert row["chosen_weight"] in [round(0.1 * step, 1) for step in range(11)]
    assert row["best"] >= max(row["words"], row["meaning"], row["hybrid"]) > 0.5
    assert row["above_better_side"] == pytest.approx(row["hybrid"] - max(row["words"], row["meaning"]), abs=1e-4)
