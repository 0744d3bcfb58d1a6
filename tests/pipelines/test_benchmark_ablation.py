"""The benchmark of an ablation: one row for each change, measured at every width up to the model's."""

from __future__ import annotations

import yaml

from tests.pipelines.benchmark import rows_of


def test_each_change_is_a_row_with_the_widths_of_its_prefixes(small_config, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump({"corpus": small_config.model_dump(mode="json")}))
    changes = ["--change", "none", "--change", "agreement=0.0 epochs=2"]
    arguments = ["--config", config, "--bits", "32", "--query-words", "3", *changes]
    first, second = rows_of("ablation", *arguments, TEXTHASH_HOME=tmp_path)
    assert (first["change"], second["change"], second["epochs"]) == ("none", "agreement=0.0 epochs=2", 2)
    for row in (first, second):
        assert 0 < row["p@100, 16"] < 1
        assert 0 < row["p@100, 3 words"] < row["p@100, 32"] < 1
