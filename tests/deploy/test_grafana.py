"""The dashboard shows what the service exports, all of it, by labels that it has."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ray.util.metrics import Histogram, Metric

from texthash.service import metrics

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana.json"
WIDTH = 24


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def exported() -> dict[str, tuple[str, set[str]]]:
    """Of each exported series, the metric and the labels."""
    series = {}
    for name, made in inspect.getmembers(metrics, inspect.isclass):
        if made.__module__ != metrics.__name__:
            continue
        arguments = [0] if "number" in inspect.signature(made).parameters else []
        held = [value for value in vars(made(*arguments)).values() if isinstance(value, Metric)]
        assert held, name
        for metric in held:
            info = metric.info
            labels = set(info["tag_keys"])
            if isinstance(metric, Histogram):
                series[f"ray_{info['name']}_bucket"] = (info["name"], labels | {"le"})
                series[f"ray_{info['name']}_count"] = (info["name"], labels)
            else:
                series[f"ray_{info['name']}"] = (info["name"], labels)
    assert len({name for name, _ in series.values()}) == 21
    return series


def expressions(dashboard: dict[str, Any]) -> list[str]:
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(found) >= len(dashboard["panels"])
    return found


def test_panels_name_series_and_labels_that_the_service_exports(dashboard, exported) -> None:
    shown = set()
    for expression in expressions(dashboard):
        named = re.findall(r"\b(\w*texthash_\w+)(\{[^}]*\})?", expression)
        assert named, expression
        groups = ",".join(re.findall(r"by \(([^)]*)\)", expression))
        for name, selector in named:
            assert name in exported, expression
            metric, known = exported[name]
            shown.add(metric)
            assert set(re.findall(r"\w+", groups)) <= known, expression
            assert set(re.findall(r'(\w+)\s*[=!]~?\s*"', selector)) <= known, expression
    assert shown == {metric for metric, _ in exported.values()}


def test_legends_name_labels_that_the_expression_leaves(dashboard) -> None:
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), target["expr"]


def test_brackets_are_paired_and_rates_follow_the_resolution(dashboard) -> None:
    for expression in expressions(dashboard):
        for opening, closing in ("()", "[]", "{}"):
            assert expression.count(opening) == expression.count(closing), expression
        assert expression.count("rate(") == expression.count("[$__rate_interval]"), expression
        counters = re.findall(r"ray_texthash_\w+(?:_total|_bucket|_count)\b", expression)
        assert len(counters) == expression.count("rate("), f"a counter is shown by its rate: {expression}"


def test_the_file_has_the_shape_that_grafana_imports(dashboard) -> None:
    assert dashboard["title"]
    assert re.fullmatch(r"[\w-]{1,40}", dashboard["uid"])
    assert dashboard["schemaVersion"] >= 36  # since which a data source is an object
    assert "id" not in dashboard, "an id belongs to one Grafana"
    (variable,) = dashboard["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    source = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    cells = set()
    for panel in panels:
        assert panel["title"]
        assert panel["type"] in {"stat", "table", "timeseries"}
        assert [target["datasource"] for target in panel["targets"]] == [source] * len(panel["targets"])
        assert panel["datasource"] == source
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= WIDTH
        covered = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not covered & cells, f"panel {panel['title']} lies on another"
        cells |= covered
