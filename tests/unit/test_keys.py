"""Keys made of several ids: whatever the ids hold, others have another key."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.cycle_trigger.decide import Cycle
from functions.events.base import joined
from functions.events.schedule import ScheduleDue
from functions.events.sprint import SprintStarted
from functions.kit import cloudevents
from functions.kit.clients import derived_key
from functions.kit.clients.service import header_key
from functions.kit.contract import envelope
from functions.kit.durable.inbox import Key
from tests.support.hostile import texts

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
# Short and of few characters, so that what could be mistaken for another is likely to come.
PART = st.text("a#/:", max_size=3)
ID = st.text("a#/:", min_size=1, max_size=3) | st.just("first")


def emitted(source: str, id_: str, subject: str = "S") -> str:
    """The id of a fact that the event of this source and id causes."""
    started = SprintStarted(
        project_id="P",
        sprint_id=subject,
        sprint_name="first",
        start_date=NOON.date(),
        end_date=NOON.date(),
        task_ids=[],
    )
    [message] = envelope.seal(
        started,
        cause=cloudevents.Message("c", "/c", "t", b""),
        key=Key("f", source, id_),
        source="/functions/f",
        emits=[SprintStarted],
        overrides={},
        at=NOON,
    )
    return message.id


def tick(project: str | None, sprint: str | None) -> str | None:
    due = ScheduleDue(schedule="s", time=NOON, project_id=project, sprint_id=sprint)
    return due.identity()


@given(st.sampled_from("#/:"), *[st.lists(PART, min_size=3, max_size=3)] * 2)
@example("#", ["a#", "b", "c"], ["a", "#b", "c"])
def test_other_parts_are_joined_to_another_text(sep: str, a: list[str], b: list[str]) -> None:
    assert (joined(sep, *a) == joined(sep, *b)) == (a == b)


def test_one_part_is_joined_to_nothing() -> None:
    with pytest.raises(TypeError, match="two parts or more"):
        joined("#", "a#b")


@given(*[st.tuples(PART, PART, ID)] * 2)
@example(("/x", "y#z", "S"), ("/x#y", "z", "S"))
def test_another_cause_or_subject_is_another_fact(
    a: tuple[str, str, str], b: tuple[str, str, str]
) -> None:
    assert (emitted(*a) == emitted(*b)) == (a == b)


@given(*[st.lists(PART, min_size=2, max_size=4)] * 2)
@example(["P#1", "r"], ["P", "1#r"])
@example(["P#1", "r"], ["P", "1", "r"])
def test_calls_for_other_ids_have_other_keys(a: list[str], b: list[str]) -> None:
    assert (derived_key(*a) == derived_key(*b)) == (a == b)


@given(*[st.tuples(st.none() | ID, st.none() | ID)] * 2)
@example(("a/b", "c"), ("a", "b/c"))
def test_ticks_of_other_sprints_are_other_ticks(
    a: tuple[str | None, str | None], b: tuple[str | None, str | None]
) -> None:
    assert (tick(*a) == tick(*b)) == (a == b)


@given(*[st.tuples(ID, st.none() | ID)] * 2)
@example(("P", None), ("P", "first"))
@example(("a:b", "c"), ("a", "b:c"))
def test_other_sprints_are_followed_by_other_cycles(
    a: tuple[str, str | None], b: tuple[str, str | None]
) -> None:
    assert (Cycle(*a).key == Cycle(*b).key) == (a == b)


@given(texts | ID, texts | ID)
def test_a_header_carries_a_key_of_any_text_as_a_digest_of_one_length(a: str, b: str) -> None:
    for name in (a, b):
        assert re.fullmatch("[0-9a-f]{64}", header_key(name))
        assert header_key(header_key(name)) == header_key(name)
    assert (header_key(a) == header_key(b)) == (a == b)


def test_what_has_no_separator_keeps_the_key_that_it_had() -> None:
    assert emitted("/x", "y") == str(uuid5(NAMESPACE_URL, f"/x#y#{SprintStarted.type}#S#0"))
    assert derived_key("P", "r", "1") == str(uuid5(NAMESPACE_URL, "P#r#1"))
    assert tick("P", "S") == "s@2026-03-02T12:00:00+00:00/P/S"
    assert Cycle("P", "S").key == "cycle:P:S"
    assert Cycle("P", None).key == "cycle:P:first"
