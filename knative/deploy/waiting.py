"""Wait until Jobs are complete and objects are ready; report why one is not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from knative.deploy.kubectl import Kubectl, read_json
from knative.deploy.overlay import Manifest, namespace_of, of_kind

_READY_IN_ORDER = (
    "Service", "Broker", "SinkBinding", "Trigger",
    "PingSource", "ApiServerSource", "KafkaSink", "KafkaSource",
)  # fmt: skip
_TIMEOUT_S = 1300.0  # above the deadline of a migration
_POLL_INTERVAL_S = 2.0


def await_jobs(kubectl: Kubectl, jobs: Iterable[Manifest]) -> None:
    """Wait until the Jobs are complete; SystemExit with the log of one that failed."""
    waiting = {(namespace_of(m), m["metadata"]["name"]) for m in jobs}
    path = 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {end}'
    deadline = time.monotonic() + _TIMEOUT_S
    reported: set[str] = set()
    while waiting:
        for namespace, name in sorted(waiting):
            state = kubectl("get", "job", name, "-n", namespace, "-o", path).split()
            if "Complete" in state:
                waiting.remove((namespace, name))
                print(f"job {namespace}/{name} is done", flush=True)
            elif "Failed" in state or time.monotonic() > deadline:
                reasons = "\n".join(_failure_reasons(kubectl, namespace, name))
                raise SystemExit(f"job {namespace}/{name} is not complete:\n{reasons}")
            else:
                _report_failed_pods(kubectl, namespace, name, reported)
        if waiting:
            time.sleep(_POLL_INTERVAL_S)


def _report_failed_pods(kubectl: Kubectl, namespace: str, job: str, reported: set[str]) -> None:
    """Print the last line of each failed pod once, while its Job retries."""
    for pod in _pods(kubectl, namespace, job):
        name = pod["metadata"]["name"]
        if pod.get("status", {}).get("phase") == "Failed" and name not in reported:
            reported.add(name)
            log = kubectl("logs", "-n", namespace, name, "--tail=1", quiet=True).strip()
            print(f"pod {namespace}/{name} has failed: {log or 'it has no log'}", flush=True)


def _pods(kubectl: Kubectl, namespace: str, job: str) -> list[Manifest]:
    selected = ("-l", f"batch.kubernetes.io/job-name={job}", "-o", "json")
    pods = read_json(kubectl("get", "pods", "-n", namespace, *selected, quiet=True))
    items: list[Manifest] = pods.get("items", [])
    return items


def _failure_reasons(kubectl: Kubectl, namespace: str, job: str) -> Iterator[str]:
    """Return the conditions of a Job, the reasons of its waiting pods, and its log."""
    body = read_json(kubectl("get", "job", job, "-n", namespace, "-o", "json", quiet=True))
    for condition in body.get("status", {}).get("conditions", ()):
        if condition["status"] == "True":
            yield f"{condition.get('reason')}: {condition.get('message')}"
    for pod in _pods(kubectl, namespace, job):
        for container in pod.get("status", {}).get("containerStatuses", ()):
            if state := container.get("state", {}).get("waiting"):
                yield f"{pod['metadata']['name']}: {state.get('reason')}: {state.get('message')}"
    yield kubectl("logs", "-n", namespace, f"job/{job}", "--tail=20", quiet=True)


def await_ready(kubectl: Kubectl, manifests: Sequence[Manifest]) -> None:
    """Wait until each object is ready, kind by kind."""
    for kind in _READY_IN_ORDER:
        namespaces: dict[str, list[str]] = {}
        for manifest in of_kind(manifests, kind):
            group = manifest["apiVersion"].partition("/")[0]
            name = f"{kind.lower()}s.{group}/{manifest['metadata']['name']}"
            namespaces.setdefault(namespace_of(manifest), []).append(name)
        for namespace, names in namespaces.items():
            wait = ("wait", "-n", namespace, "--for=condition=Ready", f"--timeout={_TIMEOUT_S:g}s")
            try:
                print(kubectl(*wait, *names), end="", flush=True)
            except SystemExit as error:
                raise SystemExit(
                    "\n".join([str(error), *_reasons(kubectl, namespace, names)])
                ) from None


def _reasons(kubectl: Kubectl, namespace: str, names: Sequence[str]) -> Iterator[str]:
    """Return the message of each object's Ready condition that is not True."""
    for name in names:
        body = read_json(kubectl("get", name, "-n", namespace, "-o", "json", quiet=True))
        for condition in body.get("status", {}).get("conditions", ()):
            if condition["type"] == "Ready" and condition["status"] != "True":
                reason = condition.get("message") or condition.get("reason") or "no reason given"
                yield f"{name} is not ready: {reason}"
