"""Filters: what can never match, what is ignored, and what may not be claimed."""

from __future__ import annotations

import pytest

from tests.support.lint_tree import BASE, GOOD, rules, trigger

NEVER = [
    ("two types", "[{exact: {type: a}}, {exact: {type: b}}]"),
    ("exact against prefix", "[{exact: {type: order.placed}}, {prefix: {type: bill.}}]"),
    ("two prefixes", "[{prefix: {type: order.}}, {prefix: {type: bill.}}]"),
    ("two suffixes", "[{suffix: {type: .v1}}, {suffix: {type: .v2}}]"),
    ("not itself", "[{exact: {x: a}}, {not: {exact: {x: a}}}]"),
    ("not everything", "[{not: {exact: {x: ''}}}]"),
    ("all of one in another", "[{any: [{exact: {x: a}}, {exact: {x: b}}]}, {exact: {x: c}}]"),
    ("no such version", "[{exact: {specversion: '2.0'}}]"),
    ("required attribute absent", '[{cesql: "NOT EXISTS type"}]'),
    ("CESQL AND", """[{cesql: "type = 'a' AND type = 'b'"}]"""),
    ("CESQL against exact", """[{exact: {type: a}}, {cesql: "type IN ('b', 'c')"}]"""),
    ("CESQL numbers", '[{cesql: "weight > 5 AND weight < 5"}]'),
    ("CESQL LIKE", """[{cesql: "type LIKE 'a%' AND type LIKE 'b%'"}]"""),
    ("CESQL false", '[{cesql: "FALSE"}]'),
    ("absent and compared", """[{cesql: "NOT EXISTS x AND x != 'a'"}]"""),
    ("CESQL that gives text", '[{cesql: "urgent"}]'),
    ("no part", "[{any: []}]"),
]
SOMETIMES = [
    ("prefix and suffix", "[{prefix: {type: order.}}, {suffix: {type: .v1}}]"),
    ("nested prefixes", "[{prefix: {type: order.}}, {prefix: {type: order.pla}}]"),
    ("any", "[{any: [{exact: {type: a}}, {exact: {type: b}}]}]"),
    ("not", "[{not: {exact: {type: a}}}]"),
    ("absent", "[{not: {prefix: {x: a}}}]"),
    ("CESQL or", """[{cesql: "type = 'a' OR type = 'b'"}]"""),
    ("CESQL numbers", '[{cesql: "weight > 5 AND weight < 7"}]'),
    ("CESQL boolean", '[{cesql: "urgent AND TRUE"}]'),
    ("functions are believed", """[{cesql: "LENGTH(type) > 3 AND type LIKE '%a_c%'"}]"""),
    ("arithmetic is believed", '[{cesql: "weight * 2 = 6"}]'),
    ("two attributes are believed", '[{cesql: "sender = receiver"}]'),
    ("number and LIKE", """[{cesql: "status >= 400 AND status LIKE '5%'"}]"""),
    ("number and IN", '[{cesql: "retries > 5 AND retries NOT IN (6, 7)"}]'),
    ("number and exact", """[{cesql: "amount > 100"}, {not: {exact: {amount: "101"}}}]"""),
    ("number and prefix", """[{cesql: "amount > 100"}, {prefix: {amount: "2"}}]"""),
    ("escaped", r"""[{cesql: "subject LIKE 'a\%b%'"}]"""),
    ("old version", "[{exact: {specversion: '0.3'}}]"),
]


def filtering(filters: str) -> str:
    return trigger("t", filter_=f"filters: {filters}")


@pytest.mark.parametrize("filters", [f for _, f in NEVER], ids=[name for name, _ in NEVER])
def test_a_contradiction_never_matches(filters: str) -> None:
    assert "KN401" in rules(*BASE, filtering(filters))


@pytest.mark.parametrize("filters", [f for _, f in SOMETIMES], ids=[n for n, _ in SOMETIMES])
def test_what_can_match_is_not_accused(filters: str) -> None:
    assert not rules(*BASE, filtering(filters)) & {"KN401", "KN403"}


def test_a_filter_of_too_many_attributes_is_believed() -> None:
    message = ", ".join(f"{{exact: {{x{n}: a}}}}" for n in range(30))
    assert "KN401" not in rules(*BASE, filtering(f"[{message}, {{exact: {{x0: b}}}}]"))


PAIRS = [
    ("KN402", "[{exact: {type: ''}}]", "[{exact: {type: a}}]"),
    ("KN402", "[{any: [{prefix: {}}]}]", "[{any: [{prefix: {type: a}}]}]"),
    ("KN402", "[{not: {not: {suffix: {x: ''}}}}]", "[{not: {suffix: {x: a}}}]"),
    ("KN403", "[{exact: {Type: a}}]", "[{exact: {type: a}}]"),
    ("KN403", "[{exact: {type: 5}}]", "[{exact: {type: '5'}}]"),
    ("KN403", "[{exact: {type: a}, prefix: {type: a}}]", "[{exact: {type: a}}]"),
    ("KN403", '[{cesql: "type = "}]', """[{cesql: "type = 'a'"}]"""),
    ("KN403", "[{regex: {type: a}}]", "[{suffix: {type: a}}]"),
    ("KN403", "{exact: {type: a}}", "[]"),
    ("KN406", """[{cesql: "x != 'a'"}]""", """[{cesql: "EXISTS x AND x != 'a'"}]"""),
    ("KN406", """[{cesql: "NOT (region = 'eu')"}]""", """[{cesql: "type != 'eu'"}]"""),
    ("KN406", """[{cesql: "region NOT IN ('eu')"}]""", """[{cesql: "region IN ('eu')"}]"""),
    ("KN406", """[{cesql: "region NOT LIKE 'e%'"}]""", """[{cesql: "region LIKE 'e%'"}]"""),
    ("KN406", """[{cesql: "x != 'q'"}]""", """[{not: {cesql: "x != 'q'"}}]"""),
    ("KN406", """[{cesql: "EXISTS a AND x != 'q'"}]""", """[{cesql: "EXISTS a OR x != 'q'"}]"""),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "bad", "good"), PAIRS)
def test_a_filter_rule_tells_bad_from_good(rule: str, bad: str, good: str) -> None:
    assert rule in rules(*BASE, filtering(bad))
    assert rule not in rules(*BASE, filtering(good))


def test_an_empty_value_in_filter_attributes_means_present() -> None:
    here = trigger("t", filter_='filter: {attributes: {region: ""}}')
    assert not rules(*BASE, here) & {"KN401", "KN402"}


def test_a_filter_without_attributes_is_refused() -> None:
    assert "KN403" in rules(*BASE, trigger("t", filter_="filter: {type: order.placed}"))


def test_a_filter_beside_filters_is_ignored() -> None:
    both = "filters: [{exact: {type: a}}]\n  filter: {attributes: {type: b}}"
    assert "KN404" in rules(*BASE, trigger("t", filter_=both))
    assert "KN404" not in rules(*GOOD)


def test_an_empty_list_of_filters_leaves_filter_in_force() -> None:
    both = "filters: []\n  filter: {attributes: {type: b}}"
    assert "KN404" not in rules(*BASE, trigger("t", filter_=both))
