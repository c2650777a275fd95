"""Every overlay builds, as kubectl builds it, and holds only what a cluster accepts."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from pydantic import ValidationError

from functions.kit.settings import DatabaseSettings, ProcessSettings
from knative.deploy.kubectl import Kubectl
from knative.deploy.overlay import render
from knative.local.manifests import load
from knative.local.manifests.problems import faults
from tests.contract import published, unpublished
from tests.contract.overlays import COMPONENTS, OVERLAYS, objects, of, title, with_components
from tests.support.repository import KNATIVE, Manifest, all_folders, container

KUBERNETES = "1.36"
KUBECTL = shutil.which("kubectl")
CLUSTER_WIDE = ("Namespace", "ClusterRole", "ClusterRoleBinding")
NAMESPACES = ("dsm", "agents")
PUBLIC = {"webhook-receiver"}
POSTGRES = KNATIVE / "components" / "postgres"
RESERVED = 20  # migrations, a user with psql, the server's own
KNOWN = load.KINDS | unpublished.KINDS


def complaint(manifest: Manifest) -> str | None:
    """Why a cluster would refuse the object: by the published schemas and, where a webhook is
    stricter than these, by our own models."""
    group = manifest["apiVersion"].partition("/")[0]
    if "." in group and not group.endswith(".k8s.io"):
        kind = KNOWN.get((manifest["apiVersion"], manifest["kind"]))
        if kind is not None:
            try:
                kind.model_validate(_other_brokers(manifest))
            except ValidationError as error:
                return "; ".join(f"{'.'.join(map(str, p))}: {w}" for p, w in faults(error))
        if published.is_published(manifest):
            return published.complaint(manifest)
        return None if kind else "of a kind that nobody here knows"
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return None


def _other_brokers(manifest: Manifest) -> Manifest:
    """The local model knows one class of Broker; the others differ in the class and its config."""
    if manifest["kind"] != "Broker":
        return manifest
    metadata = {**manifest["metadata"], "annotations": {}}
    return {**manifest, "metadata": metadata}


def everything(document: object) -> list[Manifest]:
    """A List as its items."""
    assert isinstance(document, dict)
    return list(document["items"]) if document["kind"] == "List" else [document]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_builds_without_kubectl(overlay: str) -> None:
    assert objects(overlay)


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_builds_the_same(overlay: str) -> None:
    assert KUBECTL
    done = subprocess.run(
        [KUBECTL, "kustomize", OVERLAYS[overlay]], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    theirs = {
        title(m): m for d in yaml.load_all(done.stdout, yaml.CSafeLoader) for m in everything(d)
    }
    assert theirs == {title(m): m for m in objects(overlay)}


def test_the_documents_say_on_which_cluster_all_was_applied() -> None:
    output = (KNATIVE / "README.md").read_text()
    assert f"Kubernetes {KUBERNETES}" in output
    assert "never applied" not in output
    deploy = (KNATIVE / "DEPLOY.md").read_text()
    assert "--dry-run=server" in deploy, "what an empty cluster says of it"
    assert re.search(r"component `oidc` is for a new Broker", deploy)
    migration = (KNATIVE / "MIGRATION.md").read_text()
    (way_back,) = re.findall(r"roll back, therefore.*?\n\n", migration, re.DOTALL)
    assert "kubectl label namespace dsm pod-security.kubernetes.io/enforce-" in way_back


def test_the_label_that_the_migration_takes_off_is_the_one_that_rejects() -> None:
    for overlay in OVERLAYS:
        for namespace in of(overlay, "Namespace"):
            enforced = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
            assert enforced in ("restricted", "baseline"), title(namespace)


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_fits_the_base(component: str, tmp_path: Path) -> None:
    # These patch what dsm brings; kubectl passes over a target that is not there, we do not.
    names = ["dsm", component] if component in ("external-postgres", "monitoring") else [component]
    found = with_components(tmp_path, *names)
    assert {title(m): complaint(m) for m in found if complaint(m)} == {}


def test_with_tracing_every_function_knows_the_collector_and_may_reach_it(tmp_path: Path) -> None:
    found = with_components(tmp_path, "dsm", "event-recorder", "networkpolicy", "tracing")
    services = [m for m in found if m["apiVersion"] == "serving.knative.dev/v1"]
    assert len(services) > 18
    addresses = set()
    for service in services:
        (container,) = service["spec"]["template"]["spec"]["containers"]
        output = {e["name"]: e.get("value") for e in container["env"]}
        addresses.add(output.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    (address,) = addresses
    collector = urlsplit(address)
    (policy,) = (m for m in found if m["metadata"]["name"] == "to-the-platform")
    allowed = set()
    for rule in policy["spec"]["egress"]:
        for peer in rule.get("to", []):
            space = peer.get("namespaceSelector", {}).get("matchLabels", {})
            name = space.get("kubernetes.io/metadata.name")
            allowed |= {(name, port["port"]) for port in rule.get("ports", [])}
    assert (str(collector.hostname).split(".")[1], collector.port) in allowed


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_cluster_accepts_every_object(overlay: str) -> None:
    assert {title(m): complaint(m) for m in objects(overlay) if complaint(m)} == {}


def test_only_brokers_that_others_make_have_kinds_without_a_published_schema() -> None:
    """Of those no package has the OpenAPI: our own models alone know them."""
    extras = {"KafkaSink", "KafkaSource", "RabbitmqBrokerConfig"}
    assert {kind for of_version, kind in KNOWN if not _is_published(of_version, kind)} <= extras


def _is_published(api_version: str, kind: str) -> bool:
    group = api_version.partition("/")[0]
    ours = "." in group and not group.endswith(".k8s.io")
    return not ours or published.is_published({"apiVersion": api_version, "kind": kind})


@pytest.mark.parametrize(
    ("kind", "path", "message"),
    [
        ("Service", "spec/template/spec/containers/0/imagePulPolicy", "imagePulPolicy"),
        ("Service", "spec/template/spec/timeoutSeconds", "timeoutSeconds"),
        ("Trigger", "spec/filter/attribute", "attribute"),
        ("PingSource", "spec/timeZone", "timeZone"),
        ("SinkBinding", "spec/sink/ref/nam", "nam"),
        ("EventType", "spec/refrence", "refrence"),
        ("PodMonitor", "spec/podMetricsEndpoints/0/prt", "prt"),
        ("PrometheusRule", "spec/groups/0/rules/0/expression", "expression"),
    ],
)
def test_a_wrong_field_is_named_by_the_published_schema(kind: str, path: str, message: str) -> None:
    group = "serving.knative.dev/" if kind == "Service" else ""
    manifest = copy.deepcopy(of("production", kind, group)[0])
    *way, last = path.split("/")
    place: Any = manifest
    for step in way:
        place = place[int(step) if step.isdecimal() else step]
    place[last] = "wrong"
    assert message in str(published.complaint(manifest))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_has_the_standard_labels_and_a_namespace(overlay: str) -> None:
    for manifest in objects(overlay):
        labels = manifest["metadata"].get("labels", {})
        assert labels.get("app.kubernetes.io/part-of") == "dsm", title(manifest)
        assert labels.get("app.kubernetes.io/name"), f"{title(manifest)}: whose is it?"
        if manifest["kind"] not in CLUSTER_WIDE:
            assert manifest["metadata"]["namespace"] in NAMESPACES, title(manifest)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_what_others_call_is_public(overlay: str) -> None:
    for manifest in objects(overlay):
        if manifest["apiVersion"] == "serving.knative.dev/v1":
            labels = manifest["metadata"]["labels"]
            inside = labels.get("networking.knative.dev/visibility") == "cluster-local"
            assert inside == (manifest["metadata"]["name"] not in PUBLIC), title(manifest)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_a_pod_reads_is_named_once(overlay: str) -> None:
    """A variable that is written twice has the last value, whatever a reader believes."""
    for manifest in objects(overlay):
        template = manifest.get("spec", {}).get("template", {})
        for one in template.get("spec", {}).get("containers", []):
            names = [e["name"] for e in one.get("env", [])]
            assert len(names) == len(set(names)), title(manifest)


def test_each_alert_leads_to_a_paragraph_of_the_operations_page() -> None:
    headings = re.findall(r"^#+ (.+)$", (KNATIVE / "OPERATIONS.md").read_text(), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    rules = yaml.safe_load((KNATIVE / "components" / "monitoring" / "alerts.yaml").read_text())
    for group in rules["spec"]["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["runbook_url"].partition("#")[2] in anchors, rule["alert"]


def test_the_dashboard_is_json_whose_panels_ask_something() -> None:
    dashboard = json.loads((KNATIVE / "components" / "monitoring" / "dsm.json").read_text())
    assert dashboard["panels"]
    for panel in dashboard["panels"]:
        assert all(target["expr"] for target in panel["targets"]), panel["title"]


def test_what_prometheus_scrapes_is_open_and_let_through() -> None:
    """A stock queue-proxy has no port for its metrics: each port here is one of our own."""
    (monitor,) = of("production", "PodMonitor")
    assert [end["port"] for end in monitor["spec"]["podMetricsEndpoints"]] == ["user-port"]
    policies = {p["metadata"]["name"]: p["spec"] for p in of("production", "NetworkPolicy")}
    (rule,) = policies["from-monitoring"]["ingress"]
    assert {port["port"] for port in rule.get("ports", [])} == {ProcessSettings().port}


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here")
def test_kubectl_builds_an_overlay_with_another_tag() -> None:
    text = render(Kubectl("kubectl"), OVERLAYS["production"], "", "v9")
    found = set(re.findall(r"image: (\S*functions\S*)", text))
    assert found == {"ghcr.io/example/dsm-functions:v9"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_limit_of_one_process_is_of_one_pod(overlay: str) -> None:
    """How many cycles are worked on at once: CYCLE_CONCURRENCY."""
    (service,) = (
        one
        for one in of(overlay, "Service", "serving.knative.dev/")
        if one["metadata"]["name"] == "cycle-trigger"
    )
    notes = service["spec"]["template"]["metadata"]["annotations"]
    assert notes["autoscaling.knative.dev/max-scale"] == "1"


# Who holds claims has a session for them, beside the pool.
CLAIMS = re.compile(r"ctx\.alone|called_once|inbox=True")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_containers_around_an_agent_have_the_functions_image(overlay: str) -> None:
    (launcher,) = (
        service
        for service in of(overlay, "Service", "serving.knative.dev/")
        if service["metadata"]["name"] == "job-launcher"
    )
    known = {e["name"]: e.get("value") for e in container(launcher)["env"]}
    assert known["WORKSPACE_IMAGE"] == container(launcher)["image"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_pods_together_open_no_more_than_a_hundred_connections(overlay: str) -> None:
    highest = {}
    for service in of(overlay, "Service", "serving.knative.dev/"):
        known = {e["name"]: e.get("value") for e in container(service).get("env", [])}
        if {"DATABASE_URL", "POSTGRES_HOST"} & set(known):
            size = int(known.get("DATABASE_POOL_SIZE") or DatabaseSettings().database_pool_size)
            folder = all_folders()[known["FUNCTION_TARGET"]]
            claims = any(CLAIMS.search(path.read_text()) for path in folder.glob("*.py"))
            notes = service["spec"]["template"]["metadata"]["annotations"]
            pods = int(notes["autoscaling.knative.dev/max-scale"])
            highest[service["metadata"]["name"]] = pods * (size + claims)
    assert 50 < sum(highest.values()) <= 100, highest
    (limit,) = re.findall(r"max_connections=(\d+)", (POSTGRES / "postgres.yaml").read_text())
    # While a rollout lasts, two revisions of each may be at their highest.
    assert 2 * sum(highest.values()) + RESERVED <= int(limit)
    docs = re.sub(r"\s+", " ", (KNATIVE / "DEPLOY.md").read_text())
    assert f"take {limit} connections" in docs, f"say {limit} in knative/DEPLOY.md"
