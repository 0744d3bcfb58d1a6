"""What lives to the end is not searched for garbage: a worker has imported most of what there is, and its tests."""

from __future__ import annotations

import gc

import pytest

gc.disable()  # while all files are imported, which makes next to no garbage


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
