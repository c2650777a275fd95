"""Code and YAML say the same: forgotten wiring fails here, naming what is missing."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from functions.console.ping_sources import OWN_RECORD
from functions.console.runs import OPTIONAL, RECORDED
from functions.cycle_trigger import schedules
from functions.events.base import AnyEvent, Event, Request
from functions.events.schedule import ScheduleDue
from tests.support.repository import (
    KNATIVE,
    NO_OBJECTS,
    PARTS,
    Manifest,
    Pattern,
    Trigger,
    all_folders,
    consumes,
    container,
    environment,
    event_types,
    function_folders,
    named,
    of_kind,
    producers_of,
    services,
    spec,
    triggers,
)

SERVICES = named(list(services().values()))
TRIGGERS = [pytest.param(t, id=t.name) for t in triggers()]
TICKED = [
    pytest.param(t, id=t.name)
    for t in triggers()
    if ScheduleDue in consumes(t) and not t.everything
]


@pytest.mark.parametrize("name", all_folders())
def test_a_target_has_a_service(name: str) -> None:
    service = services().get(name.replace("_", "-"))
    assert service is not None, f"write knative/base/functions/{name.replace('_', '-')}.yaml"
    assert environment(service)["FUNCTION_TARGET"] == name


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_runs_a_target_within_its_deadline(service: Manifest) -> None:
    variables = environment(service)
    assert variables["FUNCTION_TARGET"] in all_folders()
    assert service["metadata"]["name"] == variables["FUNCTION_TARGET"].replace("_", "-")
    timeout = service["spec"]["template"]["spec"]["timeoutSeconds"]
    assert float(variables["TIMEOUT_SECONDS"]) == timeout


@pytest.mark.parametrize("name", function_folders())
def test_a_function_consumes_what_it_is_annotated_with_and_no_more(name: str) -> None:
    mine = [t for t in triggers() if t.service == name.replace("_", "-")]
    inputs = [kind for kind in spec(name).inputs if kind is not AnyEvent]
    for kind in inputs:
        assert any(p.fits(kind) for t in mine for p in t.patterns), f"no Trigger for {kind.type}"
    for trigger in mine:
        keeps_all = trigger.everything and spec(name).inputs == (AnyEvent,)
        assert trigger.patterns or keeps_all, f"{trigger.name} filters on no type"
        for pattern in trigger.patterns:
            known = any(pattern.fits(kind) for kind in inputs) or AnyEvent in spec(name).inputs
            assert known, f"{trigger.name}: {pattern.text}"


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_has_all_of_its_delivery(trigger: Trigger) -> None:
    """It inherits the Broker's as a whole; one field of its own would replace all of that."""
    fields = {"retry", "backoffPolicy", "backoffDelay", "timeout", "deadLetterSink"}
    assert set(trigger.delivery) == fields
    assert trigger.delivery["backoffPolicy"] == "exponential", "a linear backoff starts with none"
    assert trigger.delivery["deadLetterSink"]["ref"]["name"] == "dead-letter"
    assert trigger.service in services()


def test_who_consumes_everything_produces_nothing() -> None:
    """What it says would come back to it, for ever."""
    output = {
        t.service: spec(t.service.replace("-", "_")).emits for t in triggers() if t.everything
    }
    assert output == {"event-recorder": ()}


@pytest.mark.parametrize("trigger", TICKED)
def test_a_trigger_of_ticks_names_its_schedules(trigger: Trigger) -> None:
    assert trigger.schedules, f"{trigger.name} would hear every schedule's ticks"


@pytest.mark.parametrize("kind", [pytest.param(k, id=k.type) for k in event_types()])
def test_what_is_consumed_has_a_producer(kind: type[Event]) -> None:
    consumers = [name for name in function_folders() if kind in spec(name).inputs]
    if not consumers or issubclass(kind, Request):
        return
    others = ("dev.knative.sources.ping", "dev.knative.apiserver")
    outside = kind.type.startswith(others) and _sources(kind)  # Knative's own sources
    assert producers_of(kind) or outside, (
        f"{consumers} wait for {kind.type}, which nothing produces"
    )


@pytest.mark.parametrize("source", named(of_kind("PingSource", "sources")))
def test_a_schedule_is_named_and_heard(source: Manifest) -> None:
    name = source["spec"]["ceOverrides"]["extensions"]["schedule"]
    assert name == _name(source)
    assert source["spec"]["timezone"], "without a time zone it is the controller's"
    assert source["spec"]["sink"]["ref"]["kind"] == "Broker"
    ScheduleDue.model_validate(
        {
            **json.loads(source["spec"]["data"] or "{}"),
            "schedule": name,
            "time": "2025-01-01T00:00:00Z",
        }
    )
    # Who consumes everything knows its own schedule by its name.
    consumed = any(t.service == name if t.everything else _consumes(t, name) for t in triggers())
    assert consumed, "nothing consumes it"


@pytest.mark.parametrize("source", named(of_kind("PingSource", "sources")))
def test_the_console_reads_the_record_of_who_handles_a_schedule(source: Manifest) -> None:
    """The scheduler answers for all whose database it shares, others for themselves."""
    name = _name(source)
    handlers = {t.service for t in triggers() if t.everything or _consumes(t, name)}
    shared = _database("scheduler")
    own = {one for one in handlers if _database(one) != shared}
    assert own <= {OWN_RECORD.get(name)}, "the console takes it for one that never ran"


def test_the_console_asks_all_that_keep_a_record_of_runs() -> None:
    """Those of the DSM services that do are found by their schedules."""
    with_database = {
        name
        for name in (folder.replace("_", "-") for folder in function_folders())
        if {"DATABASE_URL", "POSTGRES_DB"} & {o["name"] for o in container(services()[name])["env"]}
    }
    kept_elsewhere = {"dead-letter"}  # its record are the dead letters themselves
    assert {*RECORDED, *OPTIONAL} == with_database - kept_elsewhere | {*OWN_RECORD.values()}


def _database(service: str) -> Manifest:
    """The variable that names a Service's database."""
    variables: list[Manifest] = container(services()[service])["env"]
    return next(one for one in variables if one["name"] == "DATABASE_URL")


@pytest.mark.parametrize("name", [n for n in function_folders() if ScheduleDue in spec(n).inputs])
def test_a_function_takes_the_ticks_that_its_triggers_bring_and_no_others(name: str) -> None:
    mine = (t for t in triggers() if t.service == name.replace("_", "-"))
    consumed = {p.text + ("*" if p.prefix else "") for t in mine for p in t.schedules}
    assert set(spec(name).schedules) in (consumed, {"*"})


def test_each_trigger_leads_to_a_type_that_exists() -> None:
    for trigger in triggers():
        for pattern in trigger.patterns:
            known = any(pattern.fits(kind) for kind in event_types())
            assert known, f"{trigger.name} waits for {pattern.text}, which is no event of ours"


@pytest.mark.parametrize("broker", named(of_kind("Broker", "eventing")))
def test_a_broker_has_all_of_its_delivery(broker: Manifest) -> None:
    delivery = broker["spec"]["delivery"]
    assert set(delivery) == {"retry", "backoffPolicy", "backoffDelay", "timeout", "deadLetterSink"}
    sink = delivery["deadLetterSink"]["ref"]["name"]
    assert spec(sink.replace("-", "_")).inputs == (AnyEvent,)
    assert spec(sink.replace("-", "_")).emits == (), "it would go round in circles"
    assert broker["metadata"]["annotations"]["eventing.knative.dev/broker.class"]


@pytest.mark.parametrize("name", [n for n in function_folders() if spec(n).emits])
def test_a_producer_is_given_a_sink(name: str) -> None:
    labels = services()[name.replace("_", "-")]["metadata"]["labels"]
    bound = [b["spec"]["subject"] for b in of_kind("SinkBinding", "sources")]
    assert any(
        s.get("name") == name.replace("_", "-")
        or ("selector" in s and s["selector"]["matchLabels"].items() <= labels.items())
        for s in bound
    ), f"no SinkBinding gives K_SINK to {name}"


@pytest.mark.parametrize("part", PARTS)
def test_every_file_is_in_a_kustomization(part: str) -> None:
    listed = set()
    for path in (KNATIVE / part).rglob("kustomization.yaml"):
        document = yaml.safe_load(path.read_text())
        listed |= {(path.parent / r).resolve() for r in document.get("resources", [])}
        listed |= {
            (path.parent / p["path"]).resolve() for p in document.get("patches", []) if "path" in p
        }
    for path in (KNATIVE / part).rglob("*.yaml"):
        if path.name not in NO_OBJECTS:
            assert path.resolve() in listed, f"{path.relative_to(KNATIVE)} is in no kustomization"


def test_the_shipped_schedules_are_good_ones() -> None:
    entries = json.loads((KNATIVE / "base" / "cronjob-schedule.json").read_text())
    assert len(entries) == 20
    for project, cron in entries.items():
        assert re.fullmatch(r"[a-z0-9-]+", project), "ids are looked up in lower case"
        schedules.check(project, cron)


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])


def _consumes(trigger: Trigger, schedule: str) -> bool:
    return any(_lets(pattern, schedule) for pattern in trigger.schedules)


def _lets(pattern: Pattern, name: str) -> bool:
    return name.startswith(pattern.text) if pattern.prefix else name == pattern.text


def _sources(kind: type[Event]) -> bool:
    found = "PingSource" if kind is ScheduleDue else "ApiServerSource"
    return bool(of_kind(found, "sources"))
