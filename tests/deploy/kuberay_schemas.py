"""Makes ``kuberay-schemas.json``, against which the manifests of deploy/kuberay/ are validated, from KubeRay's CRDs.

    git clone https://github.com/ray-project/kuberay
    python tests/deploy/kuberay_schemas.py kuberay v1.7.0

The CRDs have 2.4 MB, most of it descriptions and the same pod template again and again. What is left here are JSON
schemas without descriptions, in which equal parts stand once. An API server drops members that it does not know; here
they are errors, as a misspelt one has no effect. Rules in CEL (``x-kubernetes-validations``) are not kept.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

OUTPUT = Path(__file__).with_name("kuberay-schemas.json")
_FOLDER = "helm-chart/kuberay-operator/crds"
_KINDS = {"RayService": "ray.io_rayservices.yaml", "RayJob": "ray.io_rayjobs.yaml"}
_API = "v1"
_KEPT = ("type", "enum", "pattern", "required", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
_INNER = ("properties", "items", "additionalProperties")
_SHARED_FROM = 200  # characters, from which a part that occurs again is written once


def main(clone: str, version: str) -> None:
    """Write the schemas of a version (a tag of the clone)."""
    schemas = {kind: _strict(_published(clone, version, file)) for kind, file in _KINDS.items()}
    for kind, schema in schemas.items():
        schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
        schema["properties"] |= {
            "apiVersion": {"enum": [f"ray.io/{_API}"]},
            "kind": {"enum": [kind]},
            "metadata": {"type": "object"},
        }
    found: Counter[str] = Counter()
    for schema in schemas.values():
        _count(schema, found)
    shared: dict[str, Any] = {}
    written = {kind: _share(schema, found, shared, top=True) for kind, schema in schemas.items()}
    source = f"https://github.com/ray-project/kuberay/tree/{version}/{_FOLDER}"
    made = {"source": source, "made_by": "tests/deploy/kuberay_schemas.py", "kinds": written, "$defs": shared}
    OUTPUT.write_text(json.dumps(made, separators=(",", ":"), sort_keys=True) + "\n")


def _published(clone: str, version: str, file: str) -> dict[str, Any]:
    text = subprocess.run(
        ["git", "-C", clone, "show", f"{version}:{_FOLDER}/{file}"], check=True, capture_output=True, text=True
    ).stdout
    (found,) = (v for v in yaml.safe_load(text)["spec"]["versions"] if v["name"] == _API)
    return found["schema"]["openAPIV3Schema"]


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of an OpenAPI schema of Kubernetes."""
    made = {key: schema[key] for key in _KEPT if key in schema}
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if schema.get("nullable"):
        made["type"] = [made["type"], "null"]
    made |= _each(
        {key: schema[key] for key in ("properties", "items", "additionalProperties") if key in schema}, _strict
    )
    if "properties" in schema:
        # A member with a default is filled in before it is asked for.
        defaults = {name for name, inner in schema["properties"].items() if "default" in inner}
        made["required"] = sorted(set(schema.get("required", ())) - defaults)
        made["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    return made


def _count(schema: dict[str, Any], found: Counter[str]) -> None:
    found[_text(schema)] += 1
    _each(schema, lambda inner: _count(inner, found))


def _share(schema: dict[str, Any], found: Counter[str], shared: dict[str, Any], top: bool = False) -> dict[str, Any]:
    text = _text(schema)
    made = _each(schema, lambda inner: _share(inner, found, shared))
    if top or found[text] == 1 or len(text) < _SHARED_FROM:
        return made
    name = hashlib.sha256(text.encode()).hexdigest()[:8]
    shared[name] = made
    return {"$ref": f"#/$defs/{name}"}


def _each(schema: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The schema with what ``change`` makes of the schemas in it."""
    made = dict(schema)
    if "properties" in schema:
        made["properties"] = {name: change(inner) for name, inner in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            made[key] = change(schema[key])
    return made


def _text(node: dict[str, Any]) -> str:
    return json.dumps(node, sort_keys=True, separators=(",", ":"))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
