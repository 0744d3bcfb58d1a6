"""Fixtures of the tests of experiments."""

from __future__ import annotations

import pytest

from texthash.experiments.experiment import EpochLogger


@pytest.fixture
def interrupted(monkeypatch):
    """Trains a study on seed 0 and interrupts it in its second epoch."""

    def run(study):
        log = EpochLogger.__call__

        def stop_in_the_second(notes, report):
            if report.epoch == 2:
                raise KeyboardInterrupt
            log(notes, report)

        with monkeypatch.context() as patch:
            patch.setattr(EpochLogger, "__call__", stop_in_the_second)
            with pytest.raises(KeyboardInterrupt):
                study.train(0)
        (checkpoint,) = (study.home.runs / "checkpoints").iterdir()
        return checkpoint

    return run
