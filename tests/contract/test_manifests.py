"""deploy/ says what Kubernetes understands and what the service has."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from diffmask_service import __version__
from diffmask_service.config import ServiceConfig, read_config
from diffmask_service.transport.grpc.health import LIVENESS, READINESS
from tests.support.manifests import Manifest, load, render

DEPLOY = Path(__file__).parents[2] / "deploy"
OVERLAYS = ("cpu", "gpu", "mtls")
# Native probes of gRPC services and the sleep of preStop need no less.
KUBERNETES = "1.32"


def overlay(name: str) -> dict[str, Manifest]:
    manifests = render(DEPLOY / "kubernetes" / "overlays" / name)
    by_kind = {each["kind"]: each for each in manifests}
    assert len(by_kind) == len(manifests)
    return by_kind


def pod(name: str) -> Any:
    return overlay(name)["Deployment"]["spec"]["template"]["spec"]


def kserve_pod() -> Any:
    (runtime,) = load(DEPLOY / "kserve" / "serving-runtime.yaml")
    return {"containers": runtime["spec"]["containers"]}


def pods() -> list[Any]:
    return [*(pod(name) for name in OVERLAYS), kserve_pod()]


def environment(container: Any) -> dict[str, str]:
    # A field of the container stands for the number that it will be.
    return {each["name"]: each.get("value", "2") for each in container["env"]}


@pytest.mark.parametrize("name", OVERLAYS)
def test_kubernetes_takes_the_overlay(name: str) -> None:
    manifests = overlay(name)
    assert set(manifests) >= {"Deployment", "Service", "NetworkPolicy"}
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_kubernetes_takes_the_container_of_the_runtime() -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "diffmask"},
        "spec": kserve_pod(),
    }
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_validation_finds_a_misspelt_field() -> None:
    manifest = overlay("cpu")["Deployment"]
    manifest["spec"]["template"]["spec"]["containers"][0]["readyProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("spec", pods())
def test_server_takes_the_settings(spec: Any) -> None:
    (container,) = spec["containers"]
    assert container["args"] == ["serve"]
    read_config({}, environment(container))


@pytest.mark.parametrize("spec", pods())
def test_probes_ask_a_listener_for_a_name_that_it_knows(spec: Any) -> None:
    (container,) = spec["containers"]
    config = read_config({}, environment(container))
    port = config.health_port if config.has_health_listener else config.grpc_port
    assert port in {each["containerPort"] for each in container["ports"]}
    names = []
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[kind]["grpc"]["port"] == port
        names.append(container[kind]["grpc"]["service"])
    assert names[:2] == [READINESS, LIVENESS]
    assert names[2] in {READINESS, "inference.GRPCInferenceService"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_pod_outlives_the_drain(name: str) -> None:
    spec = pod(name)
    (container,) = spec["containers"]
    drain = read_config({}, environment(container)).drain_seconds
    wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] > wait + drain


@pytest.mark.parametrize("spec", pods())
def test_container_may_do_nothing_beyond_serving(spec: Any) -> None:
    # What the pod security standard `restricted` asks, and a little more.
    (container,) = spec["containers"]
    security = spec.get("securityContext", {}) | container["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 65532
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    mounts = container.get("volumeMounts", [])
    assert all(mount["readOnly"] for mount in mounts)


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_namespace_holds_pods_to_the_restricted_standard(name: str) -> None:
    manifests = overlay(name)
    (namespace,) = {
        each["metadata"]["namespace"]
        for kind, each in manifests.items()
        if kind != "Namespace"
    }
    assert manifests["Namespace"]["metadata"]["name"] == namespace
    labels = manifests["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    # Volumes are of the kinds that the standard allows.
    kinds = {kind for each in pod(name)["volumes"] for kind in set(each) - {"name"}}
    assert kinds <= {"persistentVolumeClaim", "secret"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_variable_of_a_service_is_taken_for_a_setting(name: str) -> None:
    assert pod(name)["enableServiceLinks"] is False


@pytest.mark.parametrize("spec", pods())
def test_image_is_of_this_release(spec: Any) -> None:
    tag = spec["containers"][0]["image"].rpartition(":")[2]
    assert tag.removesuffix("-cuda") == __version__


def test_clients_see_every_pod() -> None:
    service = overlay("cpu")["Service"]["spec"]
    assert service["clusterIP"] == "None"
    assert {each["port"] for each in service["ports"]} == {
        ServiceConfig.__dataclass_fields__["grpc_port"].default,
        ServiceConfig.__dataclass_fields__["metrics_port"].default,
    }


def test_selectors_choose_the_pods() -> None:
    manifests = overlay("cpu")
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["Service"]["spec"]["selector"] == labels
    assert manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels


def test_prometheus_finds_the_pods() -> None:
    manifests = overlay("cpu")
    service, pods = manifests["Service"], manifests["Deployment"]["spec"]["template"]
    (monitor,) = load(DEPLOY / "prometheus" / "pod-monitor.yaml")
    (container,) = pods["spec"]["containers"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert monitor["metadata"]["namespace"] == service["metadata"]["namespace"]
    assert monitor["spec"]["selector"]["matchLabels"] == pods["metadata"]["labels"]
    assert endpoint["port"] in {each["name"] for each in container["ports"]}
    configuration = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (job,) = configuration["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]
    assert discovery["names"] == ["diffmask.diffmask.svc"]
    assert discovery["port"] in {each["port"] for each in service["spec"]["ports"]}


def test_mutual_tls_is_on_in_its_overlay() -> None:
    (container,) = pod("mtls")["containers"]
    config = read_config({}, environment(container))
    assert not config.insecure
    assert config.tls_files is not None
    assert config.tls_files.client_ca is not None


def test_kserve_finds_the_runtime() -> None:
    (runtime,) = load(DEPLOY / "kserve" / "serving-runtime.yaml")
    (service,) = load(DEPLOY / "kserve" / "inference-service.yaml")
    model = service["spec"]["predictor"]["model"]
    formats = runtime["spec"]["supportedModelFormats"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"] in [
        {key: each[key] for key in ("name", "version")} for each in formats
    ]
    assert [model["protocolVersion"]] == runtime["spec"]["protocolVersions"]
    assert service["spec"]["predictor"]["enableServiceLinks"] is False
    (container,) = runtime["spec"]["containers"]
    assert container["ports"][0]["name"] == "h2c"


def test_envoy_checks_the_health_that_the_server_tells() -> None:
    envoy = yaml.safe_load((DEPLOY / "envoy" / "envoy.yaml").read_text())
    (cluster,) = envoy["static_resources"]["clusters"]
    (check,) = cluster["health_checks"]
    assert check["grpc_health_check"]["service_name"] == READINESS
    (listener,) = envoy["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert route["route"]["cluster"] == cluster["name"]
