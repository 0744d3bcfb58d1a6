"""MLflow's Python function of a logged model, from raw text to codes. MLflow imports this module by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class TextEncoder:
    """Model in the sense of MLflow: raw text in, hexadecimal codes out."""

    def __init__(self, directory: str) -> None:
        from texthash.models.hasher import Hasher

        self.hasher = Hasher.load(directory)

    def predict(self, model_input: pd.DataFrame | Sequence[str] | np.ndarray) -> list[str]:
        """Return the codes of texts: a column of strings (``text``, or else the first), or a list of strings."""
        from texthash.hamming.codes import to_hex

        if hasattr(model_input, "columns"):
            table: pd.DataFrame = model_input
            texts = table["text"] if "text" in table.columns else table.iloc[:, 0]
        else:
            texts = model_input
        return list(to_hex(self.hasher.encode([str(text) for text in texts])))


def _load_pyfunc(data_path: str) -> TextEncoder:
    """Load a model that :meth:`texthash.tracking.tracker.Tracker.log_model` logged; called by MLflow."""
    return TextEncoder(data_path)
