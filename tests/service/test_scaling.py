"""Options that say how many replicas a deployment has, as Ray Serve takes them."""

from __future__ import annotations

from typing import Any

from ray import serve

from texthash.config import ServiceConfig, parse_section
from texthash.service.serve_app import _scale


def _deployed(values: dict[str, Any]) -> Any:
    service = parse_section(ServiceConfig, values, "the service")
    options = _scale(service, service.ingress_replicas, service.ingress_autoscaling)
    return serve.deployment(name="ingress", **options)(type("Ingress", (), {}))


def test_a_fixed_number_of_replicas() -> None:
    made = _deployed({"ingress_replicas": 3, "max_replicas_per_node": 1})
    assert (made.num_replicas, made._replica_config.max_replicas_per_node) == (3, 1)
    assert _deployed({})._replica_config.max_replicas_per_node is None


def test_bounds_take_the_place_of_the_number() -> None:
    made = _deployed({"ingress_replicas": 3, "ingress_autoscaling": {"min_replicas": 2, "max_replicas": 5}})
    bounds = made._deployment_config.autoscaling_config
    assert (bounds.min_replicas, bounds.max_replicas, bounds.target_ongoing_requests) == (2, 5, 2.0)
