"""Command that plans the way of a corpus from text to a service."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from texthash.cli.options import Json
from texthash.cli.output import print_json, print_table
from texthash.errors import TexthashError, UsageError
from texthash.paths import resolve_home
from texthash.progress import log_line

if TYPE_CHECKING:
    from texthash.capacity import Rates, StagePlan

_GB = 1e9


def plan(
    documents: Annotated[float, typer.Option(min=1, help="Number of documents, such as 1e9.")],
    mean_words: Annotated[float, typer.Option(help="Mean number of words of a document.")] = 100.0,
    bits: Annotated[int, typer.Option(help="Number of bits of a code.")] = 64,
    method: Annotated[str | None, typer.Option(help="Hashing method; default: that of the rates.")] = None,
    index: Annotated[
        Literal["keywords", "tables"], typer.Option(help="An index with words, or of codes and their tables alone.")
    ] = "keywords",
    epochs: Annotated[int, typer.Option(help="Number of epochs of the training.")] = 10,
    held_out: Annotated[
        int | None,
        typer.Option(help="Documents of validation, and as many of test; default: 10,000, or a tenth of fewer."),
    ] = None,
    training_workers: Annotated[int, typer.Option(help="Processes that train together, a core or GPU each.")] = 1,
    qps: Annotated[float, typer.Option(help="Queries per second.")] = 100.0,
    replicas: Annotated[int, typer.Option(help="Number of copies of every shard.")] = 1,
    latency_ms: Annotated[float, typer.Option(help="Maximum latency of a single query in ms.")] = 100.0,
    nodes: Annotated[
        int | None, typer.Option(help="Nodes that prepare, train and index; default: those of the service.")
    ] = None,
    node_memory_gib: Annotated[float, typer.Option(help="Memory of a node in GiB.")] = 32.0,
    node_cores: Annotated[int, typer.Option(help="Number of cores of a node.")] = 8,
    node_gpus: Annotated[int, typer.Option(min=0, help="Number of GPUs of a node, for the training.")] = 0,
    node_price: Annotated[float, typer.Option(help="Price of a node per hour, in any currency.")] = 0.0,
    rates: Annotated[
        Path | None, typer.Option(help="Rates from pipelines/benchmark.py stages; default: those shipped.")
    ] = None,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Measure the scan of this machine again.")] = False,
    as_json: Json = False,
) -> None:
    """Estimate time, disk and memory of each stage, and nodes of a service. Example: `texthash plan --documents 1e9`"""
    from texthash import capacity

    if not documents.is_integer():  # nor is infinity one
        raise TexthashError(f"documents={documents:g} is not a whole number.", "give one, such as 1e9.")
    count = int(documents)
    stage_rates = capacity.read_rates(*([rates] if rates else []))
    if method not in (None, stage_rates.method):
        raise UsageError(
            f"the rates are of {stage_rates.method}, not of {method}.",
            f"measure it: python pipelines/benchmark.py stages --method {method} --output FILE, then --rates FILE.",
        )
    demand = capacity.Demand(count, bits, qps, replicas, latency_ms, node_memory_gib, node_cores, node_price)
    capacity.check_demand(demand)
    apart = min(10_000, count // 10) if held_out is None else held_out
    work = capacity.Workload(
        count, mean_words, apart, epochs, training_workers, index, nodes or 1, node_cores, node_gpus
    )
    held = capacity.plan_stages(work, stage_rates).held_bytes_per_document
    demand = replace(demand, index_bytes=max(1, round(held)))
    scan = _scan_rates(bits, calibrate)
    service = capacity.plan(demand, scan)
    stages = capacity.plan_stages(replace(work, nodes=nodes or service.nodes), stage_rates)
    found = asdict(service)
    if as_json:
        made = {"demand": asdict(demand), "rates": asdict(scan), "plan": found}
        print_json(made | {"stages": asdict(stages), "stage_rates": asdict(stage_rates)})
        return
    print_table([_row(stage) for stage in stages.stages], False)
    assumptions = found.pop("assumptions")
    print_table([{"what": name, "value": value} for name, value in found.items() if value is not None], False)
    for text in (*stages.assumptions, *assumptions):
        log_line(f"assumed: {text}")


def _scan_rates(bits: int, calibrate: bool) -> Rates:
    """Return the rates of this machine's scan, which are measured unless they are kept."""
    from texthash import capacity

    home = resolve_home()
    rates = None if calibrate else capacity.kept_rates(home, bits)
    if rates is None:
        log_line("measuring this machine: some seconds, and up to a minute the first time, to compile the kernels")
        rates = capacity.calibrate(bits)
        capacity.keep_rates(home, rates)
    return rates


def _row(stage: StagePlan) -> dict[str, Any]:
    return {
        "stage": stage.stage,
        "CPU": _time(stage.cpu_s),
        "time": _time(stage.wall_s),
        "alone": _time(stage.alone_s),
        "read GB": round(stage.read_bytes / _GB, 2),
        "written GB": round(stage.written_bytes / _GB, 2),
        "disk GB": round(stage.disk_bytes / _GB, 2),
        "GB of a node": round(stage.node_memory_bytes / _GB, 2),
    }


def _time(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
