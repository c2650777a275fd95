"""KN7xx: does a tick have its schedule's name, and does it come when its author expects it?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePath

from functions.cron import Cron, CronError
from functions.schedule_policy import PREFIX, PolicyError, parse
from knative.lint.finding import Violation, rule
from knative.lint.manifest import EVENTING, Manifest
from knative.lint.rules.schema import is_extension
from knative.lint.tree import Tree, ref_key
from knative.local.manifests import admission

_EXTENSIONS = ("spec", "ceOverrides", "extensions")
_CALENDAR = f"{PREFIX}calendar"
_NAMED = re.compile(r"""^(?:name:|X-WR-CALNAME:)\s*["']?([^"'\r\n#]+)""", re.MULTILINE)


@rule(
    "KN701", "warning", "unnamed schedule",
    why="All PingSources send the type dev.knative.sources.ping with a random id; at a Broker only "
    "their source, which has the namespace, distinguishes them.",
    fix="Write ceOverrides.extensions with a name (schedule: NAME) and filter on it.",
)  # fmt: skip
def unnamed(tree: Tree) -> Iterator[Violation]:
    for ping in tree.pings:
        if _to_broker(ping) and not ping.texts(*_EXTENSIONS):
            yield Violation(ping, ("spec",), "no ceOverrides extension names this schedule")


@rule(
    "KN702", "warning", "two schedules of one name",
    why="A Trigger that filters on the extension gets the ticks of both.",
    fix="Give each PingSource its own value.",
)  # fmt: skip
def same_name(tree: Tree) -> Iterator[Violation]:
    first: dict[str, Manifest] = {}
    for ping in tree.pings:
        names = ping.texts(*_EXTENSIONS)
        sink = ref_key(ping.mapping("spec", "sink", "ref"), ping)
        if names and _to_broker(ping):
            other = first.setdefault(repr((sink, sorted(names.items()))), ping)
            if other is not ping:
                yield Violation(ping, _EXTENSIONS, f"the same extensions as {other}")


@rule(
    "KN703", "error", "schedule that the API server rejects",
    why="A PingSource takes five or six cron fields (no @every), a known time zone, one of data "
    "and dataBase64, and a JSON object where contentType says so.",
    fix="Correct the field.",
)  # fmt: skip
def refused(tree: Tree) -> Iterator[Violation]:
    for ping in tree.pings:
        for path, message in ping.refusals:
            if not is_extension(path):
                yield Violation(ping, path, message)


@rule(
    "KN704", "note", "schedule without a time zone",
    why="It is then read in UTC: a local morning moves by an hour in spring and autumn.",
    fix="Write spec.timezone; Etc/UTC if that is meant.",
)  # fmt: skip
def no_zone(tree: Tree) -> Iterator[Violation]:
    for ping in tree.pings:
        schedule = ping.text("spec", "schedule")
        fields = schedule.split()
        hourly = len(fields) in (5, 6) and set(fields[-4:]) <= {"*", "?"}
        known = ping.text("spec", "timezone") or "TZ=" in schedule
        if schedule and not known and not hourly and schedule != "@hourly":
            yield Violation(ping, ("spec", "schedule"), f"{schedule!r} is read in UTC")


@rule(
    "KN706", "warning", "schedule that never comes",
    why="No day of the next five years fits the expression. The API server takes it, the source is "
    "Ready, and it never fires.",
    fix="Correct the day or the month.",
)  # fmt: skip
def never_due(tree: Tree) -> Iterator[Violation]:
    for ping in tree.pings:
        schedule = ping.text("spec", "schedule")
        try:
            due = Cron(schedule, ping.text("spec", "timezone")).after(datetime.now(UTC))
        except CronError:
            continue  # KN703
        if due is None:
            yield Violation(ping, ("spec", "schedule"), f"{schedule!r} has no time in five years")


@rule(
    "KN707", "error", "policy that the scheduler cannot read",
    why="The scheduler keeps the last valid policies, or ignores the schedule. Without its "
    "calendar none of its times runs.",
    fix="Correct the annotation; the message names its valid values.",
)  # fmt: skip
def bad_policy(tree: Tree) -> Iterator[Violation]:
    for ping in tree.pings:
        for name, text in ping.mapping("metadata", "annotations").items():
            if str(name).startswith(PREFIX):
                try:
                    parse({str(name): str(text)})
                except PolicyError as error:
                    yield Violation(ping, ("metadata", "annotations", str(name)), str(error))
        wanted = ping.mapping("metadata", "annotations").get(_CALENDAR)
        known = _calendars(tree)
        if wanted and known and str(wanted) not in known:
            message = f"the ConfigMap calendars has {', '.join(sorted(known))}, and no {wanted}"
            yield Violation(ping, ("metadata", "annotations", _CALENDAR), message)


@rule(
    "KN705", "error", "extension name that an event cannot have",
    why="The webhook rejects characters other than letters and digits. It accepts a context "
    "attribute of CloudEvents, such as id or type: the source is Ready, and every tick is lost.",
    fix="Leave out dashes and underscores; use no name of a CloudEvents attribute.",
)  # fmt: skip
def bad_extension(tree: Tree) -> Iterator[Violation]:
    for manifest in tree.manifests:
        for path, message in manifest.refusals:
            if is_extension(path):
                yield Violation(manifest, path, message)
        for name in manifest.mapping(*_EXTENSIONS):
            if str(name).lower() in admission.RESERVED:
                message = f"{str(name)!r} is CloudEvents' own: every event is lost"
                yield Violation(manifest, (*_EXTENSIONS, str(name)), message)


def _calendars(tree: Tree) -> set[str]:
    """The names of the calendars in the tree's ConfigMap; empty where it has none to compare."""
    files = [
        (str(file), str(text))
        for one in tree.of("", "ConfigMap")
        if one.name == "calendars"
        for file, text in one.mapping("data").items()
    ]
    named = ((file, _NAMED.search(text)) for file, text in files)
    return {found[1].strip() if found else PurePath(file).stem for file, found in named}


def _to_broker(ping: Manifest) -> bool:
    ref = ping.mapping("spec", "sink", "ref")
    return ref_key(ref, ping)[:2] == (EVENTING, "Broker")
