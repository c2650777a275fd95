"""What a laptop has in place of what only a cluster has."""

from __future__ import annotations

from pathlib import Path

import pytest

from knative.local.manifests import core, eventing, serving
from knative.local.manifests.load import load
from knative.local.manifests.problems import ManifestError
from tests.support.repository import KNATIVE

PRODUCTION = KNATIVE / "overlays" / "production"


def test_a_production_overlay_is_refused_by_name_without_them() -> None:
    with pytest.raises(ManifestError) as refused:
        load(PRODUCTION)
    text = str(refused.value)
    assert "a KafkaSource needs a cluster; --stand-ins goes without it" in text
    assert "broker class 'Kafka'" in text
    assert "an ExternalName leads out of the cluster" in text


def test_with_them_it_has_a_broker_and_a_database_of_the_laptop() -> None:
    world = load(PRODUCTION, stand_ins=True)
    assert [broker.name for broker in world.all(eventing.Broker)] == ["default"]
    assert [item.name for item in world.all(core.StatefulSet)] == ["postgres"]
    assert world.get(core.Secret, "dsm", "database")
    assert "Broker default: the local broker instead of Kafka" in world.notes
    assert "Trigger orchestrator-registrations-to-kafka: left out" in world.notes


def test_what_is_behind_a_reverse_proxy_is_asked_directly() -> None:
    world = load(PRODUCTION, stand_ins=True)
    launcher = world.get(serving.KnativeService, "dsm", "job-launcher")
    assert launcher is not None
    environ = {one.name: one.value for one in launcher.container.env}
    assert environ["AGENT_OUTPUTS_URL"] == "http://agent-outputs.dsm.svc.cluster.local"
    assert "Service outputs-proxy: left out" in world.notes


def test_every_function_of_the_local_overlay_is_there_as_well() -> None:
    """Production differs in what is around the functions, and in who tells its events."""

    def triggers(overlay: Path, *, stand_ins: bool = False) -> set[str]:
        return {t.name for t in load(overlay, stand_ins=stand_ins).all(eventing.Trigger)}

    local = triggers(KNATIVE / "overlays" / "local")
    assert triggers(PRODUCTION, stand_ins=True) == local | {"event-recorder"}


def test_an_overlay_that_needs_none_is_left_as_it_is() -> None:
    local = KNATIVE / "overlays" / "local"
    assert load(local, stand_ins=True) == load(local)
