"""The manifests of deploy/kuberay/: what KubeRay takes, and in line with the rest of deploy/."""

from __future__ import annotations

import copy
import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import texthash
from texthash.config import ClusterConfig, TrainingConfig
from texthash.paths import is_address
from texthash.training.on_ray import scaling_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kuberay"
SCHEMAS = json.loads(Path(__file__).with_name("kuberay-schemas.json").read_text())


MLFLOW, REDIS = SERVERS = "texthash-mlflow", "texthash-redis"


def manifests(of: str = "texthash") -> dict[str, dict[str, Any]]:
    """The manifests by kind: those of a server beside Ray, or all others."""
    found = [part for path in sorted(FOLDER.glob("*.yaml")) for part in yaml.safe_load_all(path.read_text())]
    names = [part.get("metadata", {}).get("name") for part in found]
    owners = [name if name in SERVERS else "texthash" for name in names]
    return {part["kind"]: part for part, owner in zip(found, owners, strict=True) if owner == of}


def errors(manifest: dict[str, Any]) -> list[str]:
    return _errors(manifest, SCHEMAS["kinds"][manifest["kind"]])


def _errors(part: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    found = Draft202012Validator({**schema, "$defs": SCHEMAS["$defs"]}).iter_errors(part)
    return [f"{'.'.join(str(part) for part in error.path)}: {error.message}" for error in found]


def cluster(kind: str) -> dict[str, Any]:
    spec = manifests()[kind]["spec"]
    return spec["rayClusterConfig" if kind == "RayService" else "rayClusterSpec"]


def pods(kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The specification of each pod, and its container."""
    for group in (cluster(kind)["headGroupSpec"], *cluster(kind)["workerGroupSpecs"]):
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        yield spec, container


def other_pods() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The same of the pods that are not of a Ray cluster: those of the servers, and the submitter of the job."""
    for spec in (
        *(manifests(name)["Deployment"]["spec"]["template"]["spec"] for name in SERVERS),
        _submitter()["spec"],
    ):
        (container,) = spec["containers"]
        yield spec, container


def _submitter() -> dict[str, Any]:
    template: dict[str, Any] = manifests()["RayJob"]["spec"]["submitterPodTemplate"]
    return template


def test_every_manifest_is_there() -> None:
    assert set(manifests()) == {"RayService", "RayJob", "ConfigMap", "NetworkPolicy", "Kustomization"}
    for name in SERVERS:
        assert set(manifests(name)) == {"PersistentVolumeClaim", "Service", "Deployment", "NetworkPolicy"}
    assert sum(len(list(pods(kind))) for kind in SCHEMAS["kinds"]) == 5


@pytest.mark.parametrize("kind", SCHEMAS["kinds"])
def test_manifests_fit_the_published_schemas(kind: str) -> None:
    assert errors(manifests()[kind]) == []


@pytest.mark.parametrize("name", SERVERS)
def test_the_pods_of_servers_fit_the_schema_of_pods(name: str) -> None:
    schema = SCHEMAS["kinds"]["RayJob"]["properties"]["spec"]["properties"]["submitterPodTemplate"]
    template = manifests(name)["Deployment"]["spec"]["template"]
    assert _errors(template, schema) == []
    template["spec"]["containers"][0]["volumeMount"] = []
    assert any("volumeMount" in error for error in _errors(template, schema))


def test_no_volume_is_shared_by_pods() -> None:
    """The state is in a bucket; the only claims are those of the servers, each of one pod."""
    for kind in SCHEMAS["kinds"]:
        assert not [volume for spec, _ in pods(kind) for volume in spec["volumes"] if "emptyDir" not in volume]
    assert is_address(manifests()["ConfigMap"]["data"]["TEXTHASH_HOME"])
    for name in SERVERS:
        made = manifests(name)
        assert made["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]
        deployment = made["Deployment"]["spec"]
        assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
        claim = deployment["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
        assert claim == made["PersistentVolumeClaim"]["metadata"]["name"]


def address_of(name: str) -> str:
    """The address of a server, which its Service leads to its pod and its policy opens to ours alone."""
    made = manifests(name)
    (port,) = made["Service"]["spec"]["ports"]
    pod = made["Deployment"]["spec"]["template"]
    assert made["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    named = {item["name"]: item["containerPort"] for item in container["ports"]}
    assert named[port["targetPort"]] == port["port"]
    policy = made["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert _lets_in(policy["ingress"][0], OURS, True, port["port"])
    assert not _lets_in(policy["ingress"][0], {}, True, port["port"])
    return f"{made['Service']['metadata']['name']}:{port['port']}"


def test_the_job_logs_to_the_mlflow_of_the_manifests() -> None:
    address = address_of(MLFLOW)
    assert f"tracking.uri=http://{address}" in manifests()["RayJob"]["spec"]["entrypoint"].split()
    (container,) = manifests(MLFLOW)["Deployment"]["spec"]["template"]["spec"]["containers"]
    allowed = next(word for word in container["command"] if word.startswith("--allowed-hosts="))
    assert address in allowed.partition("=")[2].split(",")


def test_the_head_of_the_service_keeps_its_state_in_the_redis_of_the_manifests() -> None:
    options = cluster("RayService")["gcsFaultToleranceOptions"]
    assert options["redisAddress"] == address_of(REDIS)
    (container,) = manifests(REDIS)["Deployment"]["spec"]["template"]["spec"]["containers"]
    (password,) = container["env"]
    assert password["valueFrom"] == options["redisPassword"]["valueFrom"]
    assert container["args"][-2:] == ["--requirepass", f"$({password['name']})"]
    assert "gcsFaultToleranceOptions" not in cluster("RayJob"), "a job whose head is lost is run again as a whole"


def test_the_schemas_refuse_what_is_misspelt_missing_or_of_another_type() -> None:
    service = manifests()["RayService"]
    for change, says in (
        (lambda spec: spec.update(serveConfig=""), "serveConfig"),
        (lambda spec: spec["rayClusterConfig"].pop("headGroupSpec"), "headGroupSpec"),
        (lambda spec: spec["rayClusterConfig"]["authOptions"].update(mode="tokn"), "tokn"),
        (lambda spec: spec["rayClusterConfig"]["workerGroupSpecs"][0].update(replicas="2"), "replicas"),
        (lambda spec: _container(spec).update(livenesProbe={}), "livenesProbe"),
        (lambda spec: _container(spec)["resources"]["limits"].update(memory="8 GB"), "8 GB"),
        (lambda spec: _container(spec)["env"][0]["valueFrom"]["secretKeyRef"].pop("key"), "key"),
    ):
        broken = copy.deepcopy(service)
        change(broken["spec"])
        found = errors(broken)
        assert any(says in error for error in found), (says, found)


def _container(spec: dict[str, Any]) -> dict[str, Any]:
    return spec["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]


def test_the_application_is_that_of_the_configuration_file() -> None:
    from ray.serve.schema import ServeDeploySchema

    served = yaml.safe_load(manifests()["RayService"]["spec"]["serveConfigV2"])
    single = yaml.safe_load((ROOT / "deploy" / "serve.yaml").read_text())
    for settings in (served, single):  # who may call depends on where it listens
        service = settings["applications"][0]["args"]["service"]
        assert service.pop("host") == settings["http_options"]["host"]
    assert served["applications"] == single["applications"]
    parsed = ServeDeploySchema.model_validate(served)
    assert parsed.http_options.host == "0.0.0.0"
    assert parsed.http_options.request_timeout_s == single["http_options"]["request_timeout_s"]
    module, name = parsed.applications[0].import_path.split(":")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("kind", SCHEMAS["kinds"])
def test_pods_are_confined_bounded_and_watched(kind: str) -> None:
    for number, (spec, container) in enumerate(pods(kind)):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is (number == 0), (
            "only the autoscaler, in the head's pod, needs one"
        )
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert all(container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe"))


@pytest.mark.parametrize("kind", SCHEMAS["kinds"])
def test_the_autoscaler_is_on_and_confined_and_has_groups_to_change(kind: str) -> None:
    made = cluster(kind)
    assert made["enableInTreeAutoscaling"] is True
    options = made["autoscalerOptions"]
    assert options["securityContext"] == next(pods(kind))[1]["securityContext"]
    assert options["resources"]["limits"] == options["resources"]["requests"]
    for group in made["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] < group["maxReplicas"]


def test_gpus_are_there_once_a_job_asks_for_them() -> None:
    plain, gpu = cluster("RayJob")["workerGroupSpecs"]
    assert (gpu["replicas"], gpu["minReplicas"]) == (0, 0)
    (container,) = gpu["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert gpu["template"]["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "nvidia.com/gpu" not in plain["template"]["spec"]["containers"][0]["resources"]["limits"]
    # Otherwise the pods are the same.
    for group in (plain, gpu):
        group["template"]["spec"].pop("tolerations", None)
        group["template"]["spec"]["containers"][0].pop("resources")
    assert plain["template"] == gpu["template"]
    scaling = scaling_of(TrainingConfig(use_gpu=True, workers=4, cpus_per_worker=4), ClusterConfig())
    assert scaling.num_workers <= gpu["maxReplicas"]
    assert scaling.resources_per_worker == {"CPU": 4.0, "GPU": 1}


def test_pods_that_are_not_rays_are_confined_and_bounded_too() -> None:
    for spec, container in other_pods():
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert container["securityContext"] == next(pods("RayJob"))[1]["securityContext"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert container["image"] in (f"texthash:{texthash.__version__}", "redis:7.2")


@pytest.mark.parametrize("kind", SCHEMAS["kinds"])
def test_what_is_written_lies_on_volumes(kind: str) -> None:
    settings = manifests()["ConfigMap"]["data"]
    written = {settings[name] for name in ("TEXTHASH_CACHE", "HOME")} | {"/tmp"}
    for spec, container in pods(kind):
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert written <= set(mounted)
        assert {volume["name"] for volume in spec["volumes"]} == set(mounted.values())
        numba = re.search(r"NUMBA_CACHE_DIR=(\S+)", (ROOT / "deploy" / "Dockerfile").read_text())
        assert numba
        assert any(Path(numba[1]).is_relative_to(place) for place in mounted)


OPERATOR, PROMETHEUS = {"app.kubernetes.io/name": "kuberay-operator"}, {"app.kubernetes.io/name": "prometheus"}
SUBMITTER, OURS = {"batch.kubernetes.io/job-name": "texthash-full-x"}, {"app.kubernetes.io/name": "texthash"}


@pytest.mark.parametrize(
    ("labels", "near", "allowed"),
    [
        ({}, False, {8000}),
        ({}, True, {8000}),
        (OURS, True, {8000, 8265, 52365, 8080, 6379, 10001, 30000}),
        (OURS, False, {8000}),
        (OPERATOR, False, {8000, 8265, 52365}),
        (SUBMITTER, True, {8000, 8265}),
        (SUBMITTER, False, {8000}),
        (PROMETHEUS, False, {8000, 8080}),
    ],
)
def test_the_network_policy_lets_in_whom_it_says(labels: dict[str, str], near: bool, allowed: set[int]) -> None:
    spec = manifests()["NetworkPolicy"]["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    ports = {8000, 8265, 52365, 8080, 6379, 10001, 30000}
    assert {port for port in ports if any(_lets_in(rule, labels, near, port) for rule in spec["ingress"])} == allowed


@pytest.mark.parametrize("kind", SCHEMAS["kinds"])
def test_the_network_policy_is_that_of_all_pods(kind: str) -> None:
    selected = manifests()["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items()
    for group in (cluster(kind)["headGroupSpec"], *cluster(kind)["workerGroupSpecs"]):
        assert selected <= group["template"]["metadata"]["labels"].items()


def _lets_in(rule: dict[str, Any], labels: dict[str, str], near: bool, port: int) -> bool:
    """Whether a rule of a NetworkPolicy lets a pod reach a port; ``near``: it is in the same namespace."""
    if "ports" in rule and port not in {item["port"] for item in rule["ports"]}:
        return False
    return "from" not in rule or any(_is_peer(peer, labels, near) for peer in rule["from"])


def _is_peer(peer: dict[str, Any], labels: dict[str, str], near: bool) -> bool:
    selector = peer["podSelector"]
    assert peer.get("namespaceSelector", {}) == {}
    assert all(wanted["operator"] == "Exists" for wanted in selector.get("matchExpressions", ()))
    named = all(wanted["key"] in labels for wanted in selector.get("matchExpressions", ()))
    return (near or "namespaceSelector" in peer) and named and selector.get("matchLabels", {}).items() <= labels.items()


@pytest.mark.parametrize("kind", SCHEMAS["kinds"])
def test_secrets_stand_nowhere_and_what_is_named_exists(kind: str) -> None:
    made = manifests()
    for _, container in pods(kind):
        referenced = {item["name"]: item["valueFrom"]["secretKeyRef"] for item in container["env"]}
        assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(referenced)
        if kind == "RayService":  # without its key the service must not start
            assert not referenced["TEXTHASH_API_KEY"].get("optional", False)
        assert container["envFrom"] == [{"configMapRef": {"name": made["ConfigMap"]["metadata"]["name"]}}]


def test_versions_are_those_of_the_project() -> None:
    pins = dict(re.findall(r"(?m)^([\w-]+)==(\S+)$", (ROOT / "deploy" / "constraints.txt").read_text()))
    version = texthash.__version__
    assert manifests()["Kustomization"]["images"][0]["newTag"] == version
    for kind in SCHEMAS["kinds"]:
        assert cluster(kind)["rayVersion"] == pins["ray"]
        assert {container["image"] for _, container in pods(kind)} == {f"texthash:{version}"}


def test_the_job_runs_a_program_of_the_image_with_a_configuration_of_the_image() -> None:
    words = manifests()["RayJob"]["spec"]["entrypoint"].split()
    named = [Path(word) for word in words if word.startswith("/")]
    assert [path.suffix for path in named] == [".py", ".yaml"]
    for path in named:
        assert (ROOT / path.relative_to("/opt/texthash")).is_file()
    assert "--no-serve" in (ROOT / named[0].relative_to("/opt/texthash")).read_text()


def test_kustomize_puts_them_together() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    command = ["kubectl", "kustomize", str(FOLDER)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    kinds = [manifest["kind"] for manifest in yaml.safe_load_all(result.stdout)]
    assert sorted(set(kinds)) == [
        *("ConfigMap", "Deployment", "NetworkPolicy", "PersistentVolumeClaim", "RayService", "Service")
    ]
