"""Each Service is safe, sized and patient, in every overlay that has it."""

from __future__ import annotations

import pytest
from _pytest.mark import ParameterSet

from tests.contract import settings_table
from tests.contract.overlays import OVERLAYS, of
from tests.support.repository import Manifest, container, environment

LONGEST_S = 600  # Knative's own limit for timeoutSeconds
CONFINED = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
SERVICES: list[ParameterSet] = [
    pytest.param(overlay, service, id=f"{overlay}-{service['metadata']['name']}")
    for overlay in OVERLAYS
    for service in of(overlay, "Service", "serving.knative.dev/")
]
WORKLOADS: list[ParameterSet] = [
    pytest.param(workload, id=f"{overlay}-{workload['metadata']['name']}")
    for overlay in OVERLAYS
    for kind in ("Job", "StatefulSet")
    for workload in of(overlay, kind)
]
services = pytest.mark.parametrize(("overlay", "service"), SERVICES)


@services
def test_a_container_can_do_nothing_but_its_work(overlay: str, service: Manifest) -> None:
    """Set in the container: Knative refuses it in the pod while its feature flag is off."""
    pod = service["spec"]["template"]["spec"]
    assert "securityContext" not in pod
    assert len(pod["containers"]) == 1
    assert container(service)["securityContext"] == CONFINED


@services
def test_a_service_starts_with_its_settings(overlay: str, service: Manifest) -> None:
    name = service["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
    for kind in settings_table.classes():
        if name.replace("-", "_") in kind.__module__.split("."):
            continue  # its own may need what a Secret has
        kind.read(environment(service))


@services
def test_a_service_asks_for_what_it_needs(overlay: str, service: Manifest) -> None:
    resources = container(service)["resources"]
    assert set(resources["requests"]) >= {"cpu", "memory"}
    assert set(resources["limits"]) >= {"cpu", "memory"}


@services
def test_a_service_is_asked_how_it_is(overlay: str, service: Manifest) -> None:
    one = container(service)
    # Liveness asks no other service: a restart brings no database back and ends what goes on.
    for probe, path in (("readinessProbe", "/health"), ("livenessProbe", "/health/live")):
        assert one[probe]["httpGet"]["path"] == path
        assert one[probe]["timeoutSeconds"] >= 2, "a database may take a second"
    # A cold start waits for the next probe, and Knative allows no timeout without a period.
    assert one["readinessProbe"]["periodSeconds"] == 1


@services
def test_a_service_has_an_account_of_its_own(overlay: str, service: Manifest) -> None:
    name = service["metadata"]["name"]
    assert service["spec"]["template"]["spec"]["serviceAccountName"] == name
    account = next(m for m in of(overlay, "ServiceAccount") if m["metadata"]["name"] == name)
    assert account["automountServiceAccountToken"] in (False, True)


@services
def test_a_service_scales_within_limits_on_its_template(overlay: str, service: Manifest) -> None:
    scaling = service["spec"]["template"]["metadata"]["annotations"]
    lowest = int(scaling["autoscaling.knative.dev/min-scale"])
    highest = int(scaling["autoscaling.knative.dev/max-scale"])
    assert 0 <= lowest <= highest
    assert highest > 0, "0 would mean without limit, and each process has connections"
    own = service["metadata"].get("annotations", {})
    assert not any(name.startswith("autoscaling.knative.dev/") for name in own)


@services
def test_a_pod_carries_the_labels_that_policies_and_scraping_go_by(
    overlay: str, service: Manifest
) -> None:
    labels = service["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/part-of"] == "dsm"
    assert labels["app.kubernetes.io/name"] == service["metadata"]["name"]


@services
def test_a_service_waits_as_long_as_its_process(overlay: str, service: Manifest) -> None:
    limit = service["spec"]["template"]["spec"]["timeoutSeconds"]
    assert limit <= LONGEST_S
    assert float(environment(service)["TIMEOUT_SECONDS"]) == limit


@services
def test_a_service_says_how_many_requests_it_takes(overlay: str, service: Manifest) -> None:
    at_a_time = service["spec"]["template"]["spec"]["containerConcurrency"]
    assert at_a_time >= 1


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_job_or_database_is_confined_and_sized_too(workload: Manifest) -> None:
    pod = workload["spec"]["template"]["spec"]
    for one in pod["containers"]:
        everywhere = {**pod.get("securityContext", {}), **one["securityContext"]}
        assert everywhere["runAsNonRoot"] is True
        assert everywhere["runAsUser"] > 0
        assert everywhere["seccompProfile"] == {"type": "RuntimeDefault"}
        assert everywhere["allowPrivilegeEscalation"] is False
        assert everywhere["readOnlyRootFilesystem"] is True
        assert everywhere["capabilities"] == {"drop": ["ALL"]}
        assert set(one["resources"]["requests"]) >= {"cpu", "memory"}
        assert set(one["resources"]["limits"]) >= {"cpu", "memory"}
    assert pod["serviceAccountName"]
