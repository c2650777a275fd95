"""Which events a Trigger's filter lets through. The Triggers are in `triggers.py`."""

from __future__ import annotations

import uuid

import pytest

from tests.conformance.conftest import Wire

CASES = [
    ("attributes", {"subject": "a", "color": "red"}, True, "all match"),
    ("attributes", {"subject": "a"}, False, "one is missing"),
    ("attributes", {"subject": "a", "color": "Red"}, False, "case matters"),
    ("attribute-any", {"color": "any"}, True, "an empty value asks for any"),
    ("attribute-any", {}, False, "an empty value asks for presence"),
    ("exact", {"subject": "a", "color": "red"}, True, "both match"),
    ("exact", {"subject": "b", "color": "red"}, False, "one differs"),
    ("exact-nothing", {}, True, "an empty exact value is no condition"),
    ("prefix", {"color": "red"}, True, "begins so"),
    ("prefix", {"color": "ored"}, False, "begins otherwise"),
    ("prefix", {}, False, "is missing"),
    ("suffix", {"color": "red"}, True, "ends so"),
    ("suffix", {"color": "reds"}, False, "ends otherwise"),
    ("not", {"color": "blue"}, True, "differs"),
    ("not", {}, True, "a missing one is not equal"),
    ("not", {"color": "red"}, False, "is equal"),
    ("any", {"subject": "a"}, True, "the second matches"),
    ("any", {"subject": "b"}, False, "none matches"),
    ("all", {"color": "red", "subject": "ab"}, True, "both match"),
    ("all", {"color": "red", "subject": "b"}, False, "one does not"),
    ("cesql", {"size": "4", "color": "red"}, True, "the expression is true"),
    ("cesql", {"size": "3", "color": "red"}, False, "the expression is false"),
    ("cesql", {"size": "x", "color": "red"}, False, "the expression fails"),
    ("cesql-missing", {}, False, "a missing attribute is no match"),
    ("cesql-missing", {"nosuch": "y"}, True, "an attribute that differs"),
    ("time-exact", {"time": "2024-05-01T10:00:00.500+02:00"}, True, "time is canonical"),
]


@pytest.mark.parametrize(
    ("trigger", "attributes", "matches"),
    [pytest.param(*case[:3], id=f"{case[0]}: {case[3]}") for case in CASES],
)
async def test_a_trigger_gets_only_what_its_filter_lets_through(
    wire: Wire, trigger: str, attributes: dict[str, str], matches: bool
) -> None:
    event = str(uuid.uuid4())
    answer = await wire.post(event, f"conformance.{trigger}", b"", attributes)
    assert answer.status_code == 202
    assert len(wire.receiver.requests(f"/{trigger}", event)) == int(matches)
