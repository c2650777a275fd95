"""The Broker on RabbitMQ binds queues by exact attributes: none gets what it does not take."""

from __future__ import annotations

import json

import pytest

from functions.dsm.project_orchestrator.decide import schedule_manifest
from knative.local.broker.filters import compile_filters
from tests.contract.overlays import objects, with_components
from tests.support.repository import GOLDEN, Manifest

SPRINT = schedule_manifest("GEM-001", "GEM-001-S01", "0 14 * * 1-5", "default")
TICK = json.loads((GOLDEN / "dev.knative.sources.ping.json").read_text())


def events() -> list[dict[str, str]]:
    """The attributes of one event of each type, and of a tick of each schedule."""
    golden = [json.loads(path.read_text()) for path in sorted(GOLDEN.glob("*.json"))]
    sources = [SPRINT, *(m for m in objects("local") if m["kind"] == "PingSource")]
    named = [{**TICK, **s["spec"]["ceOverrides"]["extensions"]} for s in sources]
    return [
        {k: v for k, v in event.items() if isinstance(v, str)}
        for event in [*(e for e in golden if e["type"] != TICK["type"]), *named]
    ]


def takers(triggers: list[Manifest], event: dict[str, str]) -> list[str]:
    return sorted(
        m["spec"]["subscriber"]["ref"]["name"]
        for m in triggers
        if compile_filters(m["spec"].get("filter", {}).get("attributes"), m["spec"].get("filters"))(
            event
        )
    )


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, ...]:
    return with_components(tmp_path_factory.mktemp("rabbit"), "dsm", "event-recorder", "rabbitmq")


def test_no_trigger_has_filters_which_that_broker_takes_for_none(
    rabbit: tuple[Manifest, ...],
) -> None:
    found = [m for m in rabbit if m["kind"] == "Trigger"]
    assert found
    assert [m["metadata"]["name"] for m in found if m["spec"].get("filters")] == []


@pytest.mark.parametrize("event", events(), ids=lambda e: e.get("schedule", e["type"]))
def test_an_event_goes_to_whom_it_goes_elsewhere(
    event: dict[str, str], rabbit: tuple[Manifest, ...]
) -> None:
    """And once; job-launcher, which ignores what no route names, gets it in any case."""
    plain = takers([m for m in objects("kind") if m["kind"] == "Trigger"], event)
    there = takers([m for m in rabbit if m["kind"] == "Trigger"], event)
    assert there == sorted({*plain, "job-launcher"})


def test_its_pods_are_let_into_the_namespace(rabbit: tuple[Manifest, ...]) -> None:
    (space,) = (m for m in rabbit if m["kind"] == "Namespace")
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"
