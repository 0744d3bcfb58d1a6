"""Hooks by which a worker searches no garbage among its imports and tests, which live to its end."""

from __future__ import annotations

import gc

import pytest

gc.disable()  # while all files are imported, which makes next to no garbage


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
