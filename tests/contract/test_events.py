"""Each event type has one true example, which its class reads and writes back unchanged."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from functions.events.base import Event
from functions.events.sprint import SprintsReported
from functions.events.webhook import JobCancelRequested
from functions.kit import cloudevents
from functions.kit.contract import envelope
from tests.support.hostile import places, spoilt
from tests.support.repository import GOLDEN, event_types

KINDS = [pytest.param(kind, id=kind.type) for kind in event_types()]
OURS = [pytest.param(k, id=k.type) for k in event_types() if k.type.startswith("io.dsm.")]


def is_part(some: object, whole: object) -> bool:
    """Does `whole` say all that `some` says?"""
    if isinstance(some, dict) and isinstance(whole, dict):
        return all(name in whole and is_part(some[name], whole[name]) for name in some)
    if isinstance(some, list) and isinstance(whole, list):
        return len(some) == len(whole) and all(map(is_part, some, whole))
    return some == whole


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_type_has_a_true_example(kind: type[Event]) -> None:
    path = GOLDEN / f"{kind.type}.json"
    assert path.is_file(), f"write {path.relative_to(GOLDEN.parent.parent)}: one true example"
    document = json.loads(path.read_text())
    message = cloudevents.from_json(document)
    assert kind.covers(message.type)
    event = envelope.open_(message, (kind,))
    written = event.model_dump(
        mode="json", by_alias=True, exclude=set(kind.attributes()), exclude_unset=kind.family
    )
    if kind.family:  # others name its fields: there are more than we read
        assert is_part(written, document["data"])
    else:
        assert written == document["data"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_shows_its_subject_as_the_entity(kind: type[Event]) -> None:
    message = cloudevents.from_json(json.loads((GOLDEN / f"{kind.type}.json").read_text()))
    event = envelope.open_(message, (kind,))
    if message.type.startswith("io.dsm."):
        assert message.subject == event.subject()


# What a Job is about is named by whoever asked for it; a report's rows name what was found.
OF_OTHERS = (
    "io.dsm.job.",
    "io.dsm.agent.",
    "io.dsm.approval.",
    "io.dsm.budget.",
    "io.dsm.saga.",
    "com.",
    SprintsReported.type,
)


@pytest.mark.parametrize("id", [".", ".."])
@pytest.mark.parametrize("kind", KINDS)
def test_an_id_that_a_url_loses_is_no_id(kind: type[Event], id: str) -> None:
    if kind.type.startswith(OF_OTHERS) and kind is not JobCancelRequested:
        return
    document = json.loads((GOLDEN / f"{kind.type}.json").read_text())
    for path in places(document["data"]):
        if path[-1] in ("id", "project_id", "sprint_id", "task_id"):
            spoilt_one = document | {"data": spoilt(document["data"], path, id)}
            with pytest.raises(ValidationError, match="a URL loses it") as caught:
                envelope.open_(cloudevents.from_json(spoilt_one), (kind,))
            assert path in [error["loc"] for error in caught.value.errors()]


def test_a_type_has_one_meaning() -> None:
    types = [kind.type for kind in event_types()]
    assert sorted(set(types)) == types


def test_each_example_is_of_a_type_that_exists() -> None:
    assert {p.stem for p in GOLDEN.glob("*.json")} == {kind.type for kind in event_types()}


@pytest.mark.parametrize("kind", OURS)
def test_our_types_are_reverse_dns_facts_with_a_version(kind: type[Event]) -> None:
    *expected_text, version = kind.type.split(".")
    assert len(expected_text) >= 3
    assert all(word.isalpha() for word in expected_text)
    assert version.startswith("v")
    assert version[1:].isdecimal()
    assert kind.__doc__
