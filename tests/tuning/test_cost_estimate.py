"""What a sweep would cost: epochs between ASHA's least and all, seconds by models that were trained before."""

from __future__ import annotations

import json

from texthash.config import parse_config
from texthash.paths import StateDir
from texthash.tuning.cost_estimate import cost


def _config(**tuning):
    return parse_config(
        {
            "corpus": {"name": "small"},
            "method": {"name": "nash", "bits": 32},
            "tuning": {"trials": 9, "concurrent": 3, "epochs": 9, "grace_epochs": 1, "seeds": [0, 1], **tuning},
            "training": {"epochs": 12},
        }
    )


def _trained(home, bits, seconds, method="nash"):
    place = home.runs / "models" / f"{method}-small-random60-{bits}b-s0-{seconds}"
    place.mkdir(parents=True)
    history = [{"terms": {}, "seconds": 99.0}, {"terms": {"loss": 1.0}, "seconds": seconds}]
    record = {"config": {"method": {"name": method, "bits": bits}}, "history": history}
    (place / "run.json").write_text(json.dumps(record))


def test_epochs_without_anything_trained(tmp_path):
    found = cost(_config(), StateDir(tmp_path))
    assert (found["epochs_at_most"], found["epochs_of_final_models"]) == (81, 24)
    assert found["epochs_at_least"] == 9 * 1 + 3 * 2 + 1 * 6
    assert found["seconds_at_most"] is None
    whole = cost(_config(grace_epochs=20, epochs=None), StateDir(tmp_path))
    assert (whole["epochs_of_a_trial"], whole["epochs_at_least"], whole["epochs_at_most"]) == (12, 108, 108)


def test_seconds_are_those_of_the_nearest_width_of_the_same_method(tmp_path):
    home = StateDir(tmp_path)
    _trained(home, 128, 8.0)
    _trained(home, 64, 2.0)
    _trained(home, 32, 5.0, method="nash_n")
    found = cost(_config(), home)
    assert (found["seconds_of_an_epoch"], found["measured_on"]) == (2.0, "nash-small-random60-64b-s0-2.0")
    assert found["seconds_at_least"] == 2.0 * (21 / 3 + 24)
    assert found["seconds_at_most"] == 2.0 * (81 / 3 + 24)
