"""Plans add up, and react to what is asked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.permissions import closed
from texthash.capacity import Demand, Rates, calibrate, keep_rates, kept_rates, plan
from texthash.errors import TexthashError
from texthash.paths import StateDir

RATES = Rates(bits=64, scan_ns=0.5, batch_ns=0.1, machine="a test", measured="2026-01-01")
DEMAND = Demand(documents=1_000_000_000, qps=1000, replicas=2, latency_ms=110, node_memory_gib=64, node_cores=16)


def test_a_plan_adds_up() -> None:
    made = plan(DEMAND, RATES)
    assert made.bytes_per_document == 24
    assert made.memory_gib == pytest.approx(2 * 24e9 / 2**30, abs=0.01)
    assert made.shards == 5  # 500 ms of scanning in 100 ms
    assert made.documents_per_shard == 200_000_000
    assert made.latency_ms == pytest.approx(10 + 500 / 5)
    assert made.core_ms_per_query == pytest.approx(2.5 + 100)
    assert made.nodes_for_load == 11  # 102.5 cores at 60 % of 16
    assert made.nodes_for_memory == 1
    assert made.nodes == 11
    assert made.queries_per_second >= DEMAND.qps
    assert made.price_per_million_queries is None
    assert any("a test" in text for text in made.assumptions)


def test_more_is_never_cheaper() -> None:
    base = plan(DEMAND, RATES)
    for change in ({"documents": 2 * DEMAND.documents}, {"qps": 5000}, {"replicas": 40}, {"node_memory_gib": 2}):
        assert plan(replace(DEMAND, **change), RATES).nodes > base.nodes
    assert plan(replace(DEMAND, latency_ms=20), RATES).shards > base.shards
    assert plan(replace(DEMAND, node_price=3.6), RATES).price_per_million_queries == pytest.approx(11.0)


def test_a_small_corpus_takes_one_shard_and_one_node() -> None:
    made = plan(Demand(documents=10_000), RATES)
    assert (made.shards, made.nodes) == (1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents": 0}, "documents=0"),
        ({"latency_ms": 5}, "leaves nothing for the scan"),
        ({"bits": 12}, "12 bits"),
        ({"bits": 128}, "rates are for 64 bits"),
    ],
)
def test_what_cannot_be_is_refused(change: dict, message: str) -> None:
    with pytest.raises(TexthashError, match=message):
        plan(replace(DEMAND, **change), RATES)


def test_this_machine_is_measured_and_remembered(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("texthash.capacity.serving._PROBE_BYTES", 1 << 22)
    home = StateDir(tmp_path)
    assert kept_rates(home, 64) is None
    rates = calibrate(64)
    assert min(rates.batch_ns, rates.scan_ns) > 0
    keep_rates(home, rates)
    assert kept_rates(home, 64) == rates
    (tmp_path / "calibration" / "64.json").write_text("{")
    with pytest.raises(TexthashError, match="broken"):
        kept_rates(home, 64)


@pytest.mark.parametrize("name", [".", "absent"])
def test_a_plan_needs_no_home_that_can_be_written(tmp_path, monkeypatch, run_cli, name: str) -> None:
    monkeypatch.setattr("texthash.capacity.serving._PROBE_BYTES", 1 << 22)
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / name))
    with closed(tmp_path, 0o500):
        status, out, said = run_cli("plan", "--documents", "1e6", "--json")
    assert status == 0
    assert json.loads(out)["rates"]["scan_ns"] > 0
    assert f"the rates are not kept, so that the next plan measures again: {tmp_path}" in said


def test_a_demand_is_checked_before_this_machine_is_measured(tmp_path, monkeypatch, run_cli) -> None:
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path))
    status, _, said = run_cli("plan", "--documents", "1e6", "--latency-ms", "1")
    assert status == 2
    assert "measuring" not in said
