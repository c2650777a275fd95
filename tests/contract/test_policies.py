"""With the component `oidc` each producer may send what its code emits, and nothing else."""

from __future__ import annotations

import pytest

from tests.contract import policies
from tests.contract.overlays import with_components
from tests.support.repository import Manifest, function_folders, spec


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, ...]:
    return with_components(tmp_path_factory.mktemp("oidc"), "oidc", "dsm")


def test_the_policies_are_those_of_the_code() -> None:
    assert policies.PATH.read_text() == policies.text(), (
        "run python -m tests.contract.tables --write"
    )


def test_each_function_that_emits_has_an_identity_and_its_types() -> None:
    for folder in function_folders():
        kinds = [kind for kind in spec(folder).emits if kind.type != "dev.knative.sources.ping"]
        if kinds:
            assert set(kinds) <= set(policies.producers()[folder.replace("_", "-")])


def test_a_service_is_bound_once(objects: tuple[Manifest, ...]) -> None:
    bound = [
        m["spec"]["subject"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        for m in objects
        if m["kind"] == "SinkBinding"
    ]
    assert len(bound) == len(set(bound)) == len(policies.producers())


def test_only_the_dead_letters_may_send_anything(objects: tuple[Manifest, ...]) -> None:
    free = [
        m["metadata"]["name"]
        for m in objects
        if m["kind"] == "EventPolicy" and not m["spec"].get("filters")
    ]
    assert free == ["producer-dead-letter"]
