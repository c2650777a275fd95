"""What a condition may cost: a stranger writes it, and a stranger fills the payload."""

from __future__ import annotations

from typing import Any

import pytest

from functions.orchestrator.conditions import MAX_COST, Conditions, Unevaluable

TWICE = "|[@,@]" * 60
TWICE_FLAT = "|[@,@][]" * 40
EXPENSIVE = {
    "flattened": f"length(payload{TWICE_FLAT}) > `0`",
    "flattened at once": "payload|[@]" + "|[@,@]" * 60 + "|" + "[]" * 60,
    "written down": f"to_string(payload{TWICE})",
    "compared": f"(payload{TWICE}) == (payload{TWICE})",
    "compared for a difference": f"(payload{TWICE}) != (payload{TWICE})",
    "searched": f"contains((payload{TWICE}), (payload{TWICE}))",
    "merged": "payload" + "|merge({a:@,b:@},{c:@,d:@})" * 30 + "|to_string(@)",
    "mapped": "payload" + "|map(&[@,@],[@,@])" * 40 + "|to_string(@)",
    "sorted": f"sort_by(payload{TWICE_FLAT}, &to_string(@))",
    "joined": "to_string(payload)" + "|join('',[@,@])" * 50,
}
PAYLOADS: list[Any] = [{"a": 1}, [1], "x" * 100_000, [list(range(1000))] * 100]


@pytest.mark.parametrize("payload", PAYLOADS, ids=["object", "list", "text", "lists"])
@pytest.mark.parametrize("text", EXPENSIVE.values(), ids=EXPENSIVE)
def test_what_grows_without_end_is_refused(text: str, payload: Any) -> None:
    assert len(text) <= 1000
    with pytest.raises(Unevaluable, match=f"costs more than {MAX_COST} evaluations"):
        Conditions().holds(text, {"payload": payload, "results": {}})


def test_all_conditions_of_a_decision_share_a_budget() -> None:
    facts = {"payload": {"a": [1] * 1000}, "results": {}}
    conditions = Conditions(8000)
    assert conditions.holds("payload.a[?@ == `1`]", facts) is True
    with pytest.raises(Unevaluable, match="costs more"):
        conditions.holds("payload.a[?@ == `1`]", facts)


def test_a_value_that_is_endless_to_write_down_is_not_repeated_in_an_error() -> None:
    with pytest.raises(Unevaluable, match=r"keys\(\) takes object and was given array"):
        Conditions().holds(f"keys(payload{TWICE})", {"payload": [1], "results": {}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("payload.items[?price > `10`] | length(@) > `100`", True),
        ("length(payload.items) == `5000`", True),
        ("payload.items[*].price | sum(@) > `0`", True),
        ("payload.items[] | [0].price == `7`", False),
        ("contains(payload.text, 'xx')", True),
        ("payload.tags == ['a', 'b']", True),
        ("payload.tags != ['a', 'b']", False),
        ("join(',', payload.tags) == 'a,b'", True),
    ],
)
def test_honest_work_over_a_large_payload_is_done(text: str, expected: bool) -> None:
    payload = {
        "items": [{"price": n} for n in range(5000)],
        "text": "x" * 500_000,
        "tags": ["a", "b"],
    }
    assert Conditions().holds(text, {"payload": payload, "results": {}}) is expected
