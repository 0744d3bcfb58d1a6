"""Models are uploaded to a hub on this machine and downloaded again, by the library of the Hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")

from tests.integrations.hub_server import hub_server
from texthash.errors import UsageError
from texthash.integrations.hub import from_pretrained, model_card, push_to_hub

_PROGRAM = """
import sys
import numpy as np
from texthash.integrations.hub import from_pretrained, push_to_hub
from texthash.models.hasher import Hasher

model = Hasher.load(sys.argv[1])
push_to_hub(model, "me/mine", figures={"P@100 on suite": 0.5}, license="apache-2.0", token="hf_none")
np.save(sys.argv[2], from_pretrained("me/mine").encode(["sort an array", "open a file"]))
"""


def test_a_model_comes_back_from_the_hub(saved: Path, model, tmp_path: Path) -> None:
    with hub_server() as hub:
        # Its library reads where the Hub is when it is imported.
        own = {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, saved, tmp_path / "codes.npy"],
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        files = hub.repositories["me/mine"]
        assert hub.commits == ["Upload itq of 32 bits"]
    assert set(files) == {"README.md", "hasher.json", "model.safetensors", "vocabulary.json"}
    assert files["README.md"].decode() == model_card(model, "me/mine", {"P@100 on suite": 0.5}, "apache-2.0")
    assert np.array_equal(np.load(tmp_path / "codes.npy"), model.encode(["sort an array", "open a file"]))


def test_the_card_says_what_the_model_is(model) -> None:
    card = model_card(model, "me/mine", {"P@100 on suite": 0.5})
    header, text = card.split("---\n")[1:]
    assert "library_name: texthash" in header
    assert "license" not in header
    for said in (
        "32 bits",
        "`itq`",
        "Gong & Lazebnik, 2011",
        "`suite`",
        "reconstructed",
        "| P@100 on suite | 0.5000 |",
    ):
        assert said in text
    assert "metric" not in model_card(model, "me/mine")


def test_names_of_figures_stay_in_their_cells(model) -> None:
    card = model_card(model, "me/mine", {"P@5 | 9\n# <img src=x> a\\": 0.5})
    assert "| P@5 \\| 9 # &lt;img src=x> a\\\\ | 0.5000 |" in card.splitlines()


@pytest.mark.parametrize("name", ["mine", "me/", "a/b/c", 'me/x")\nimport os', "me/a b"])
def test_a_name_is_checked(model, name: str) -> None:
    for call in (lambda: push_to_hub(model, name), lambda: from_pretrained(name)):
        with pytest.raises(UsageError, match="not a repository"):
            call()
