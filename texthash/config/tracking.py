"""Configuration of tracking in MLflow."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PlainSerializer,
    field_validator,
)

from texthash.config.section import Section
from texthash.progress import log_line
from texthash.uri import without_secrets


def _shown(uri: str | None) -> str | None:
    return None if uri is None else without_secrets(uri)


class TrackingConfig(Section):
    """Tracking store, and the registration of models."""

    uri: Annotated[str | None, PlainSerializer(_shown, when_used="json")] = Field(
        None,
        repr=False,
        description="URI of the tracking store; null: SQLite in TEXTHASH_HOME. A password in it stays in memory: "
        "parameters, records and files contain the URI without it; TEXTHASH_TRACKING_PASSWORD also sets it",
    )
    experiment: str | None = Field(None, description="name of the experiment; null: texthash-<corpus>-<edition>")
    register_model: bool = True
    promote: Literal["if_better", "always", "never"] = Field(
        "if_better", description="condition for a registered model to become the champion; judged on validation"
    )

    @field_validator("promote", mode="before")
    @classmethod
    def _one_spelling(cls, value: Any) -> Any:
        if value != "better":
            return value
        log_line("tracking.promote=better is written tracking.promote=if_better")
        return "if_better"
