"""What MLflow makes of a logged model: a function from raw text to codes. MLflow imports this module by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class TextEncoder:
    """What MLflow calls a model: raw text in, hexadecimal codes out."""

    def __init__(self, directory: str) -> None:
        from texthash.models.hasher import Hasher

        self.hasher = Hasher.load(directory)

    def predict(self, model_input: pd.DataFrame | Sequence[str] | np.ndarray) -> list[str]:
        """Codes of texts: a column of strings (the first, or ``text``), or a list of strings."""
        from texthash.hamming.codes import to_hex

        if hasattr(model_input, "columns"):
            table: pd.DataFrame = model_input
            texts = table["text"] if "text" in table.columns else table.iloc[:, 0]
        else:
            texts = model_input
        return list(to_hex(self.hasher.encode([str(text) for text in texts])))


def _load_pyfunc(data_path: str) -> TextEncoder:
    """Called by MLflow to load a model that :meth:`texthash.tracking.tracker.Tracker.log_model` logged."""
    return TextEncoder(data_path)
