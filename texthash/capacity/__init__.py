"""Capacity planning: what a corpus of another size takes, from measured rates."""

from texthash.capacity.serving import (
    Demand,
    Plan,
    Rates,
    calibrate,
    check_demand,
    keep_rates,
    kept_rates,
    machine_name,
    plan,
)
from texthash.capacity.stage_rates import StageRates, read_rates, write_rates
from texthash.capacity.stages import StagePlan, StagePlans, Workload, plan_stages

__all__ = [
    "Demand",
    "Plan",
    "Rates",
    "StagePlan",
    "StagePlans",
    "StageRates",
    "Workload",
    "calibrate",
    "check_demand",
    "keep_rates",
    "kept_rates",
    "machine_name",
    "plan",
    "plan_stages",
    "read_rates",
    "write_rates",
]
