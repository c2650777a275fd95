"""KN8xx: is a Knative Service fit to run for years?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from functions.cron import Cron, CronError
from knative.lint.events import catalogue, receivers
from knative.lint.finding import Found, rule
from knative.lint.thing import POD, SERVING, Path, Thing
from knative.lint.tree import Tree, sent_to
from knative.local.manifests import autoscaling

_TEMPLATE_ANNOTATIONS: Path = ("spec", "template", "metadata", "annotations")
_VISIBILITY = "networking.knative.dev/visibility"
_SECRET = re.compile(r"(PASSWORD|PASSWD|_PASS|SECRET|TOKEN|(API|ACCESS|PRIVATE)_?KEY)$")
# A small number, a switch, or a file.
_HARMLESS = re.compile(r"\d{1,6}|true|false|/(etc|mnt|opt|run|tmp|usr|var)/[\w./-]+", re.IGNORECASE)
_NAME = re.compile(r"[a-z]+(-[a-z]+)+")
_CREDENTIALS = re.compile(r"\w+://[^/\s:@]*:[^/\s:@$]+@")


@rule(
    "KN801", "warning", "Service without a readiness probe",
    why="Knative then only opens the port: a process that listens but cannot work gets events, and "
    "its failures use up their retries.",
    fix="Write readinessProbe.httpGet with a path that answers 503 until the process can work.",
)  # fmt: skip
def no_readiness(tree: Tree) -> Iterator[Found]:
    for service, path, container in _serving(tree):
        if not container.get("readinessProbe"):
            yield Found(service, path, "has no readinessProbe")


@rule(
    "KN802", "note", "Service without a liveness probe",
    why="A process that hangs is never restarted; each event sent to it ends in a timeout.",
    fix="Write livenessProbe.httpGet, with more patience than the readiness probe.",
)  # fmt: skip
def no_liveness(tree: Tree) -> Iterator[Found]:
    for service, path, container in _serving(tree):
        if not container.get("livenessProbe"):
            yield Found(service, path, "has no livenessProbe")


@rule(
    "KN803", "warning", "Service without resources",
    why="Without requests the scheduler packs blindly, without a memory limit one leak takes the "
    "node with it.",
    fix="Write resources.requests (cpu, memory) and resources.limits.memory.",
)  # fmt: skip
def no_resources(tree: Tree) -> Iterator[Found]:
    for service in tree.services:
        for path, _ in _containers(service):
            resources = service.mapping(*path, "resources")
            wanted = (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))
            limits = service.mapping(*path, "resources", "limits")
            requests = service.mapping(*path, "resources", "requests")
            held = {"limits": limits, "requests": {**limits, **requests}}  # absent, it is the limit
            missing = [f"{a}.{b}" for a, b in wanted if b not in held[a]]
            if missing:
                where = (*path, "resources") if resources else path
                yield Found(service, where, f"has no {', no '.join(missing)}")


@rule(
    "KN804", "note", "Service that Triggers call is open to the world",
    why="Without the label the Service gets a public route, and anybody can post events past the "
    "Broker.",
    fix=f"Label the Service {_VISIBILITY}: cluster-local.",
)  # fmt: skip
def public(tree: Tree) -> Iterator[Found]:
    called = {tree.at(trigger, "spec", "subscriber") for trigger in tree.triggers}
    for service in tree.services:
        labels = service.texts("metadata", "labels")
        if service in called and labels.get(_VISIBILITY) != "cluster-local":
            path = ("metadata", "labels") if labels else ("metadata",)
            yield Found(service, path, f"{_VISIBILITY} is not cluster-local")


@rule(
    "KN805", "warning", "visibility label on the template",
    why=f"{_VISIBILITY} counts on the Service itself; on the template it changes nothing and the "
    "route stays public.",
    fix="Move the label to the Service's metadata.labels.",
)  # fmt: skip
def misplaced_visibility(tree: Tree) -> Iterator[Found]:
    for service in tree.services:
        for kind in ("labels", "annotations"):
            path = ("spec", "template", "metadata", kind)
            if _VISIBILITY in service.mapping(*path):
                yield Found(service, (*path, _VISIBILITY), "has no effect here")


@rule(
    "KN806", "warning", "secret written in plain text",
    why="Whoever can read the manifest or the Service reads it; a repository never forgets it.",
    fix="Use valueFrom.secretKeyRef.",
)  # fmt: skip
def plain_secret(tree: Tree) -> Iterator[Found]:
    for service in tree.services:
        for path, container in _containers(service):
            for at, variable in enumerate(_dicts(container.get("env"))):
                name, value = str(variable.get("name")), variable.get("value")
                if not isinstance(value, str) or not value or "$(" in value:
                    continue
                secret = _SECRET.search(name.upper())
                if (secret and not _is_harmless(secret[1], value)) or _CREDENTIALS.search(value):
                    yield Found(service, (*path, "env", at, "value"), f"{name} is in plain text")


@rule(
    "KN807", "note", "container that may run as root",
    why="Nothing forbids it; the namespace's restricted pod security level would refuse the pod.",
    fix="Write securityContext.runAsNonRoot: true at each container.",
)  # fmt: skip
def may_be_root(tree: Tree) -> Iterator[Found]:
    for service in tree.services:
        pod = service.mapping(*POD, "securityContext").get("runAsNonRoot")
        for path, container in _containers(service):
            context = container.get("securityContext")
            own = context.get("runAsNonRoot") if isinstance(context, dict) else None
            if (pod if own is None else own) is not True:
                yield Found(service, path, "runAsNonRoot is not true")


@rule(
    "KN808", "warning", "Service that its ticks start again for ever",
    why="A pod is deleted when a stable window (60 s by default) has brought no request. With "
    "a tick each minute and min-scale 0 that is the second of the tick: every two or three minutes "
    "a pod goes as its request comes, and another one starts.",
    fix="Write the annotation autoscaling.knative.dev/window at the template, above two of the "
    "schedule's intervals (150s for a minute), or min-scale 1, or tick less often.",
)  # fmt: skip
def restarted_by_ticks(tree: Tree) -> Iterator[Found]:
    told: set[Thing] = set()
    for ping in tree.pings:
        interval_s = _interval_s(ping)
        for service in _ticked(tree, ping) if interval_s else ():
            annotations = service.mapping(*_TEMPLATE_ANNOTATIONS)
            window_s = autoscaling.window_s(annotations)
            sleeps = autoscaling.setting(annotations, "min-scale") in (None, "0")
            if service not in told and sleeps and interval_s <= window_s < 2 * interval_s:
                told.add(service)
                words = f"{ping} ticks every {interval_s:g} s, the stable window is {window_s:g} s"
                path = _TEMPLATE_ANNOTATIONS if annotations else POD[:2]
                yield Found(service, path, words)


def _ticked(tree: Tree, ping: Thing) -> Iterator[Thing]:
    """The Services that get the ticks, by a Trigger or as the sink."""
    direct = tree.at(ping, "spec", "sink")
    if direct is not None and direct.is_a(SERVING, "Service"):
        yield direct
    for broker in sent_to(ping):
        for event in catalogue(tree, broker).events:
            for trigger in receivers(tree, event) if event.thing is ping else ():
                service = tree.at(trigger, "spec", "subscriber")
                if service is not None and service.is_a(SERVING, "Service"):
                    yield service


def _interval_s(ping: Thing) -> float:
    """How long it is from one tick to the next; 0 where there is none, or no schedule."""
    try:
        cron = Cron(ping.text("spec", "schedule") or "* * * * *", ping.text("spec", "timezone"))
    except CronError:
        return 0.0
    first = cron.after(datetime.now(UTC))
    second = first and cron.after(first)
    return (second - first).total_seconds() if first and second else 0.0


def _is_harmless(kind: str, value: str) -> bool:
    """Does a value say where a secret is, and not what it is?"""
    if kind.startswith(("PASS", "_PASS")):
        return False
    return bool(_HARMLESS.fullmatch(value) or (kind == "SECRET" and _NAME.fullmatch(value)))


def _containers(service: Thing) -> Iterator[tuple[Path, dict[str, Any]]]:
    for number, container in enumerate(service.items(*POD, "containers")):
        if isinstance(container, dict):
            yield (*POD, "containers", number), container


def _serving(tree: Tree) -> Iterator[tuple[Thing, Path, dict[str, Any]]]:
    """Each Service's container that gets the requests: the only one, or the one with a port."""
    for service in tree.services:
        found = list(_containers(service))
        with_port = [(path, one) for path, one in found if one.get("ports")]
        yield from ((service, path, one) for path, one in (with_port or found)[:1])


def _dicts(value: Any) -> list[dict[str, Any]]:
    entries = value if isinstance(value, list) else []
    return [entry if isinstance(entry, dict) else {} for entry in entries]
