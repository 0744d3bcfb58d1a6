"""Plans of the stages before a service: sums of measured rates, divided among cores where there are tasks."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import pytest

from texthash.capacity import StagePlan, StageRates, Workload, plan_stages, read_rates, write_rates
from texthash.capacity.stage_rates import Line, PeakName, SizeName, StepName, StepRates
from texthash.errors import UsageError

STEP = StepRates(Line(1, 1e-6, 1e-8), Line(100, 10, 1), Line(0, 5, 0.5))
RATES = StageRates(
    machine="a test",
    measured="2026-01-01",
    documents=1000,
    method="nash",
    bits=64,
    device="cpu",
    steps=dict.fromkeys(get_args(StepName), STEP) | {"validate": replace(STEP, cpu=Line(0, 0, 0, 1e-9))},
    sizes={name: Line(7, 20, 3) for name in get_args(SizeName)},
    peaks=dict.fromkeys(get_args(PeakName), 1e8),
    held={"tables": Line(0, 40), "keywords": Line(0, 50, 6)},
)
WORK = Workload(1_000_000, mean_words=100, held_out=1000, epochs=3)


def planned(work: Workload, rates: StageRates = RATES) -> dict[str, StagePlan]:
    return {stage.stage: stage for stage in plan_stages(work, rates).stages}


def test_every_stage_is_a_sum_of_its_steps() -> None:
    alone = planned(replace(WORK, node_cores=1))
    assert list(alone) == ["prepare", "train", "encode", "index", "open"]
    step = 1 + 1e6 * (1e-6 + 100 * 1e-8)  # 3 s
    assert alone["prepare"].cpu_s == pytest.approx(4 * step)
    assert alone["prepare"].wall_s == alone["prepare"].cpu_s
    assert alone["encode"].cpu_s == pytest.approx(step)
    assert alone["index"].cpu_s == pytest.approx(2 * step)
    assert alone["index"].read_bytes == 2 * (100 + 1e6 * (10 + 100))
    assert alone["index"].disk_bytes == 7 + 1e6 * (20 + 300)
    trained = 998_000
    epoch = 1 + trained * 2e-6
    assert alone["train"].cpu_s == pytest.approx(epoch + 3 * (epoch + trained * 1000 * 1e-9), abs=0.1)
    assert plan_stages(WORK, RATES).held_bytes_per_document == pytest.approx(50 + 600)
    assert plan_stages(replace(WORK, index="tables"), RATES).held_bytes_per_document == pytest.approx(40)


def test_cores_share_tasks_and_no_more_than_there_are() -> None:
    one, eight = planned(replace(WORK, node_cores=1)), planned(replace(WORK, node_cores=8))
    assert {stage: plan.cpu_s for stage, plan in one.items()} == {stage: plan.cpu_s for stage, plan in eight.items()}
    assert eight["encode"].wall_s == pytest.approx(3 / 8 / 0.86, abs=0.1)  # of 8 files of the corpus
    many = planned(replace(WORK, node_cores=8, nodes=100))
    assert many["encode"].wall_s == eight["encode"].wall_s
    assert many["prepare"].wall_s >= many["prepare"].alone_s == 3
    assert eight["encode"].node_memory_bytes == 8 * one["encode"].node_memory_bytes
    spread = planned(replace(WORK, training_workers=4))
    assert spread["train"].wall_s < eight["train"].wall_s
    assert spread["train"].node_memory_bytes - eight["train"].node_memory_bytes == 3 * 1e8


def test_a_cost_that_was_lost_in_that_of_the_start_is_said_to_be_unknown() -> None:
    def said(work: Workload, rates: StageRates) -> str:
        return next((text for text in plan_stages(work, rates).assumptions if "is not known for" in text), "")

    assert "not known for prepare and train and index" in said(WORK, RATES)
    seen = {"prepare_alone": replace(STEP, cpu=Line(1, 1e-3)), "index_alone": replace(STEP, cpu=Line(0, 1e-9))}
    assert "not known for train:" in said(WORK, replace(RATES, steps=RATES.steps | seen))
    assert not said(replace(WORK, documents=1000, held_out=100), RATES), "as many were measured"
    assert "not known for index:" in said(WORK, read_rates())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean_words": 0}, "mean_words=0"),
        ({"epochs": float("nan")}, "epochs=nan"),
        ({"held_out": -1}, "held_out=-1"),
        ({"held_out": 500_000}, "none is left to train"),
        ({"node_gpus": 1}, "measured without a GPU"),
    ],
)
def test_what_cannot_be_is_refused(change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_stages(replace(WORK, **change), RATES)


def test_rates_are_kept_in_a_file_and_the_shipped_ones_are_whole(tmp_path: Path) -> None:
    file = tmp_path / "rates.json"
    write_rates(RATES, file)
    assert read_rates(file) == RATES
    shipped = read_rates()
    assert shipped.method == "nash"
    assert min(step.cpu.of(1e6, 100) for step in shipped.steps.values()) > 0
    members = asdict(RATES)
    del members["steps"]["epoch"]
    file.write_text(json.dumps(members))
    with pytest.raises(UsageError, match="has no steps epoch"):
        read_rates(file)
    with pytest.raises(UsageError, match=r"no file of rates .*absent"):
        read_rates(tmp_path / "absent.json")


def test_the_command_plans_all_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli) -> None:
    monkeypatch.setattr("texthash.capacity.serving._PROBE_BYTES", 1 << 22)
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path))
    write_rates(RATES, tmp_path / "rates.json")
    words = (
        "plan",
        "--documents",
        "1e6",
        "--held-out",
        "1000",
        "--epochs",
        "3",
        "--rates",
        str(tmp_path / "rates.json"),
    )
    status, out, _ = run_cli(*words, "--nodes", "1", "--json")
    assert status == 0
    found = json.loads(out)
    assert [StagePlan(**stage) for stage in found["stages"]["stages"]] == list(planned(WORK).values())
    assert found["plan"]["bytes_per_document"] == 650
    assert found["stage_rates"]["machine"] == "a test"
    status, out, said = run_cli(*words)
    assert status == 0
    assert "prepare" in out
    assert "measured with up to 1,000 documents on a test" in said
    status, _, said = run_cli(*words, "--method", "itq")
    assert status == 2
    assert "the rates are of nash, not of itq" in said
