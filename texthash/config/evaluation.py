"""Configuration of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    Field,
    model_validator,
)

from texthash.config.section import LISTED_ONCE, Section
from texthash.progress import log_line

_FORMER_METRIC = "choose_by"


class EvaluationConfig(Section):
    """Cutoffs, and the metric that selects on validation."""

    k: int = Field(100, ge=1, le=1_000_000_000, description="main cutoff: number of documents retrieved per query")
    curve: Annotated[tuple[Annotated[int, Field(ge=1)], ...], LISTED_ONCE] = Field(
        (1, 10, 20, 50, 100, 200, 500, 1000),
        min_length=1,
        description="cutoffs of the curve; those beyond the number of documents are left out",
    )
    selection_metric: str | None = Field(
        None,
        description="metric on validation that selects epochs, trials and champions, such as map or "
        "ndcg_at_100; null: p_at_<k>, in a pair corpus recall_at_<k>",
    )

    @model_validator(mode="before")
    @classmethod
    def _former_name(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or _FORMER_METRIC not in values:
            return values
        log_line(f"evaluation.{_FORMER_METRIC} is called evaluation.selection_metric now; change the configuration.")
        renamed = {name: value for name, value in values.items() if name != _FORMER_METRIC}
        return {"selection_metric": values[_FORMER_METRIC], **renamed}
