"""Until all of it works, in the order of cause; what does not, says why."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from knative.deploy.kubectl import Kubectl, read_json
from knative.deploy.overlay import Manifest, namespace_of, of

_READY_IN_ORDER = (
    "Service", "Broker", "SinkBinding", "Trigger",
    "PingSource", "ApiServerSource", "KafkaSink", "KafkaSource",
)  # fmt: skip
_PATIENCE_S = 1300.0  # above the deadline of a migration
_EVERY_S = 2.0  # how often is asked whether the migrations are done


def await_jobs(kubectl: Kubectl, jobs: Iterable[Manifest]) -> None:
    """Until they are done; one that has failed for good is told with its log."""
    waiting = {(namespace_of(m), m["metadata"]["name"]) for m in jobs}
    path = 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {end}'
    deadline = time.monotonic() + _PATIENCE_S
    told: set[str] = set()
    while waiting:
        for space, name in sorted(waiting):
            state = kubectl("get", "job", name, "-n", space, "-o", path).split()
            if "Complete" in state:
                waiting.remove((space, name))
                print(f"job {space}/{name} is done", flush=True)
            elif "Failed" in state or time.monotonic() > deadline:
                why = "\n".join(_told(kubectl, space, name))
                raise SystemExit(f"job {space}/{name} has not done its work:\n{why}")
            else:
                _tell_failures(kubectl, space, name, told)
        if waiting:
            time.sleep(_EVERY_S)


def _tell_failures(kubectl: Kubectl, space: str, job: str, told: set[str]) -> None:
    """Print the last line of each pod that has failed, when it has: the Job tries again."""
    for pod in _pods(kubectl, space, job):
        name = pod["metadata"]["name"]
        if pod.get("status", {}).get("phase") == "Failed" and name not in told:
            told.add(name)
            log = kubectl("logs", "-n", space, name, "--tail=1", quiet=True).strip()
            print(f"pod {space}/{name} has failed: {log or 'it has no log'}", flush=True)


def _pods(kubectl: Kubectl, space: str, job: str) -> list[Manifest]:
    selected = ("-l", f"batch.kubernetes.io/job-name={job}", "-o", "json")
    pods = read_json(kubectl("get", "pods", "-n", space, *selected, quiet=True))
    items: list[Manifest] = pods.get("items", [])
    return items


def _told(kubectl: Kubectl, space: str, job: str) -> Iterator[str]:
    """What a Job, its pods and their log say of its failure."""
    said = read_json(kubectl("get", "job", job, "-n", space, "-o", "json", quiet=True))
    for condition in said.get("status", {}).get("conditions", ()):
        if condition["status"] == "True":
            yield f"{condition.get('reason')}: {condition.get('message')}"
    for pod in _pods(kubectl, space, job):
        for container in pod.get("status", {}).get("containerStatuses", ()):
            if waits := container.get("state", {}).get("waiting"):
                yield f"{pod['metadata']['name']}: {waits.get('reason')}: {waits.get('message')}"
    yield kubectl("logs", "-n", space, f"job/{job}", "--tail=20", quiet=True)


def await_ready(kubectl: Kubectl, found: Sequence[Manifest]) -> None:
    """Until each object is ready, in the order of cause."""
    for kind in _READY_IN_ORDER:
        spaces: dict[str, list[str]] = {}
        for manifest in of(found, kind):
            group = manifest["apiVersion"].partition("/")[0]
            one = f"{kind.lower()}s.{group}/{manifest['metadata']['name']}"
            spaces.setdefault(namespace_of(manifest), []).append(one)
        for space, names in spaces.items():
            wait = ("wait", "-n", space, "--for=condition=Ready", f"--timeout={_PATIENCE_S:g}s")
            try:
                print(kubectl(*wait, *names), end="", flush=True)
            except SystemExit as error:
                raise SystemExit(
                    "\n".join([str(error), *_reasons(kubectl, space, names)])
                ) from None


def _reasons(kubectl: Kubectl, space: str, names: Sequence[str]) -> Iterator[str]:
    """Why objects are not ready, as they say themselves."""
    for name in names:
        said = read_json(kubectl("get", name, "-n", space, "-o", "json", quiet=True))
        for one in said.get("status", {}).get("conditions", ()):
            if one["type"] == "Ready" and one["status"] != "True":
                words = one.get("message") or one.get("reason") or "no reason given"
                yield f"{name} is not ready: {words}"
