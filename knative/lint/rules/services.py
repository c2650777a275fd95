"""KN8xx: is a Knative Service configured for production?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from functions.cron import Cron, CronError
from knative.lint.events import catalogue, consumers
from knative.lint.finding import Violation, rule
from knative.lint.manifest import SERVING, Manifest, Path
from knative.lint.tree import Tree, sent_to
from knative.local.manifests import autoscaling
from knative.local.manifests.fields import POD

_TEMPLATE_ANNOTATIONS: Path = ("spec", "template", "metadata", "annotations")
_VISIBILITY = "networking.knative.dev/visibility"
_SECRET = re.compile(r"(PASSWORD|PASSWD|_PASS|SECRET|TOKEN|(API|ACCESS|PRIVATE)_?KEY)$")
# A small number, a switch, or a file.
_HARMLESS = re.compile(r"\d{1,6}|true|false|/(etc|mnt|opt|run|tmp|usr|var)/[\w./-]+", re.IGNORECASE)
_NAME = re.compile(r"[a-z]+(-[a-z]+)+")
_CREDENTIALS = re.compile(r"\w+://[^/\s:@]*:[^/\s:@$]+@")


@rule(
    "KN801", "warning", "Service without a readiness probe",
    why="Knative then only connects to the port: a process that listens but cannot work gets "
    "events, and its failures use up their retries.",
    fix="Write readinessProbe.httpGet with a path that answers 503 until the process can work.",
)  # fmt: skip
def no_readiness(tree: Tree) -> Iterator[Violation]:
    for service, path, container in _serving(tree):
        if not container.get("readinessProbe"):
            yield Violation(service, path, "has no readinessProbe")


@rule(
    "KN802", "note", "Service without a liveness probe",
    why="A process that hangs is never restarted; each of its events ends in a timeout.",
    fix="Write livenessProbe.httpGet, with a higher failureThreshold than the readiness probe.",
)  # fmt: skip
def no_liveness(tree: Tree) -> Iterator[Violation]:
    for service, path, container in _serving(tree):
        if not container.get("livenessProbe"):
            yield Violation(service, path, "has no livenessProbe")


@rule(
    "KN803", "warning", "Service without resources",
    why="Without requests the scheduler cannot place the pod well; without a memory limit a leak "
    "can exhaust the node.",
    fix="Write resources.requests (cpu, memory) and resources.limits.memory.",
)  # fmt: skip
def no_resources(tree: Tree) -> Iterator[Violation]:
    for service in tree.services:
        for path, _ in _containers(service):
            resources = service.mapping(*path, "resources")
            wanted = (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))
            limits = service.mapping(*path, "resources", "limits")
            requests = service.mapping(*path, "resources", "requests")
            given = {"limits": limits, "requests": {**limits, **requests}}  # default: the limit
            missing = [f"{a}.{b}" for a, b in wanted if b not in given[a]]
            if missing:
                where = (*path, "resources") if resources else path
                yield Violation(service, where, f"has no {', no '.join(missing)}")


@rule(
    "KN804", "note", "public Service of a Trigger",
    why="Without the label the Service gets a public route, and any client can post events to it "
    "without the Broker.",
    fix=f"Label the Service {_VISIBILITY}: cluster-local.",
)  # fmt: skip
def public(tree: Tree) -> Iterator[Violation]:
    called = {tree.at(trigger, "spec", "subscriber") for trigger in tree.triggers}
    for service in tree.services:
        labels = service.texts("metadata", "labels")
        if service in called and labels.get(_VISIBILITY) != "cluster-local":
            path = ("metadata", "labels") if labels else ("metadata",)
            yield Violation(service, path, f"{_VISIBILITY} is not cluster-local")


@rule(
    "KN805", "warning", "visibility label on the template",
    why=f"{_VISIBILITY} has an effect on the Service itself only; with it on the template the "
    "route stays public.",
    fix="Move the label to the Service's metadata.labels.",
)  # fmt: skip
def misplaced_visibility(tree: Tree) -> Iterator[Violation]:
    for service in tree.services:
        for kind in ("labels", "annotations"):
            path = ("spec", "template", "metadata", kind)
            if _VISIBILITY in service.mapping(*path):
                yield Violation(service, (*path, _VISIBILITY), "has no effect here")


@rule(
    "KN806", "warning", "secret written in plain text",
    why="Every reader of the manifest or the Service can read it, and it stays in the history.",
    fix="Use valueFrom.secretKeyRef.",
)  # fmt: skip
def plain_secret(tree: Tree) -> Iterator[Violation]:
    for service in tree.services:
        for path, container in _containers(service):
            for at, variable in enumerate(_dicts(container.get("env"))):
                name, value = str(variable.get("name")), variable.get("value")
                if not isinstance(value, str) or not value or "$(" in value:
                    continue
                secret = _SECRET.search(name.upper())
                if (secret and not _is_harmless(secret[1], value)) or _CREDENTIALS.search(value):
                    yield Violation(
                        service, (*path, "env", at, "value"), f"{name} is in plain text"
                    )


@rule(
    "KN807", "note", "container that may run as root",
    why="The restricted pod security level would reject the pod.",
    fix="Write securityContext.runAsNonRoot: true at each container.",
)  # fmt: skip
def may_be_root(tree: Tree) -> Iterator[Violation]:
    for service in tree.services:
        pod = service.mapping(*POD, "securityContext").get("runAsNonRoot")
        for path, container in _containers(service):
            context = container.get("securityContext")
            own = context.get("runAsNonRoot") if isinstance(context, dict) else None
            if (pod if own is None else own) is not True:
                yield Violation(service, path, "runAsNonRoot is not true")


@rule(
    "KN808", "warning", "Service that ticks start again and again",
    why="A pod is deleted after a stable window (60 s by default) without a request. With a tick "
    "each minute and min-scale 0 the pod is deleted at the second of the tick: every two or three "
    "minutes its request starts another one.",
    fix="Write the annotation autoscaling.knative.dev/window at the template, above two of the "
    "schedule's intervals (150s for a minute), or min-scale 1, or tick less often.",
)  # fmt: skip
def restarted_by_ticks(tree: Tree) -> Iterator[Violation]:
    reported: set[Manifest] = set()
    for ping in tree.pings:
        interval_s = _interval_s(ping)
        for service in _ticked(tree, ping) if interval_s else ():
            annotations = service.mapping(*_TEMPLATE_ANNOTATIONS)
            window_s = autoscaling.window_s(annotations)
            sleeps = autoscaling.setting(annotations, "min-scale") in (None, "0")
            if service not in reported and sleeps and interval_s <= window_s < 2 * interval_s:
                reported.add(service)
                message = (
                    f"{ping} ticks every {interval_s:g} s, the stable window is {window_s:g} s"
                )
                path = _TEMPLATE_ANNOTATIONS if annotations else POD[:2]
                yield Violation(service, path, message)


def _ticked(tree: Tree, ping: Manifest) -> Iterator[Manifest]:
    """Return the Services that get the ticks, by a Trigger or as the sink."""
    direct = tree.at(ping, "spec", "sink")
    if direct is not None and direct.is_a(SERVING, "Service"):
        yield direct
    for broker in sent_to(ping):
        for event in catalogue(tree, broker).events:
            for trigger in consumers(tree, event) if event.manifest is ping else ():
                service = tree.at(trigger, "spec", "subscriber")
                if service is not None and service.is_a(SERVING, "Service"):
                    yield service


def _interval_s(ping: Manifest) -> float:
    """Return the seconds from one tick to the next; 0 without ticks or with an invalid schedule."""
    try:
        cron = Cron(ping.text("spec", "schedule") or "* * * * *", ping.text("spec", "timezone"))
    except CronError:
        return 0.0
    first = cron.after(datetime.now(UTC))
    second = first and cron.after(first)
    return (second - first).total_seconds() if first and second else 0.0


def _is_harmless(kind: str, value: str) -> bool:
    """Does the value name the place of a secret, and not the secret?"""
    if kind.startswith(("PASS", "_PASS")):
        return False
    return bool(_HARMLESS.fullmatch(value) or (kind == "SECRET" and _NAME.fullmatch(value)))


def _containers(service: Manifest) -> Iterator[tuple[Path, dict[str, Any]]]:
    for number, container in enumerate(service.items(*POD, "containers")):
        if isinstance(container, dict):
            yield (*POD, "containers", number), container


def _serving(tree: Tree) -> Iterator[tuple[Manifest, Path, dict[str, Any]]]:
    """Return each Service's container that gets the requests: the only one, or that with a port."""
    for service in tree.services:
        found = list(_containers(service))
        with_port = [(path, one) for path, one in found if one.get("ports")]
        yield from ((service, path, one) for path, one in (with_port or found)[:1])


def _dicts(value: Any) -> list[dict[str, Any]]:
    entries = value if isinstance(value, list) else []
    return [entry if isinstance(entry, dict) else {} for entry in entries]
