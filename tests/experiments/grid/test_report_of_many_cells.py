"""The page about a study of 200 cells: quick to build, and not a page that nobody reads to its end."""

from __future__ import annotations

import time

import numpy as np
import pytest

from texthash.evaluation.protocol import EvaluationProtocol
from texthash.experiments.grid.folder import CellRecord, StudyFolder
from texthash.experiments.grid.plan import parse_plan
from texthash.experiments.grid.report import report_study
from texthash.hamming.codes import pack
from texthash.paths import StateDir

WIDTHS, SEEDS = (16, 32, 64, 128), range(5)
ROWS = {f"row{number:02d}": {"method": "lsh"} for number in range(10)}


class Noisy:
    """Codes that follow the first label, less so with more noise."""

    def __init__(self, bits, noise, seed):
        self.bits, self.noise, self.random = bits, noise, np.random.default_rng(seed)
        self.centres = np.random.default_rng(0).choice([-1.0, 1.0], (64, bits))

    def encode_split(self, split, role="document"):
        indptr, indices = split.label_ids
        shift = self.random.normal(0, self.noise, (len(split), self.bits))
        return pack(self.centres[indices[indptr[:-1]]] + shift > 0)


@pytest.fixture(scope="module")
def folder(small_corpus, tmp_path_factory):
    home = StateDir(tmp_path_factory.mktemp("many"), str(small_corpus.path.parents[2]))
    plan = parse_plan(
        {
            "name": "many",
            "corpora": [{"corpus": small_corpus.manifest.config.model_dump(mode="json"), "evaluation": {"k": 50}}],
            "bits": WIDTHS,
            "seeds": SEEDS,
            "methods": ROWS,
            "references": [],
        },
        home.root,
        "test",
    )
    found = StudyFolder.claim(plan, home)
    found.save_relevance(small_corpus)
    protocol = EvaluationProtocol(small_corpus, plan.corpora[0].evaluation)
    for number, cell in enumerate(plan.cells):
        codes = Noisy(cell.bits, 1.0 + 0.25 * list(ROWS).index(cell.row), number)
        protocol.evaluate_validation(codes).save(found.cell_dir(cell) / "validation")
        found.save_record(
            cell,
            CellRecord(
                run="",
                commit="0" * 40,
                seconds=1.0 + number % 7,
                documents_per_second=1e3 + 10 * number,
                search_ms=0.1,
                bytes_per_document=cell.bits / 8,
            ),
        )
    return found, home


def test_the_page_about_200_cells_is_made_in_under_20_seconds(folder):
    study, home = folder
    assert len(study.plan.cells) == 200
    started = time.process_time()
    page = report_study(study, home)
    assert time.process_time() - started < 20.0
    text = page.read_text()
    assert text.count("<tr>") > len(ROWS) * len(WIDTHS)
    assert all(f"{name}</td>" in text for name in ROWS)
    assert text.count("<details>") == 3 + len(ROWS) * len(WIDTHS), "the study, two tables, each row: seeds share one"
    assert page.stat().st_size < 4e6
