"""The template language: paths and filters over an event, and nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.job_launcher.template import BadTemplate, Missing, dollar_safe, parse

EVENT = {
    "data": {
        "title": "A & B",
        "number": 7,
        "ready": True,
        "none": None,
        "labels": [{"name": "agent"}, {"name": "bug"}],
        "names": ["x", "y"],
        "odd": {"a.b/c": "deep"},
    }
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain {text}", "plain {text}"),
        ("{{ data.title }}", "A & B"),
        ("{{data.number}}-{{ data.ready }}", "7-true"),
        ("{{ data.labels.1.name }}", "bug"),
        ('{{ data.odd."a.b/c" }}', "deep"),
        ('{{ data.none | default "x" }}', "x"),
        ("{{ data.gone | default data.title | lower }}", "a & b"),
        ('{{ data.gone | json | default "[]" }}', "[]"),
        ("{{ data.title | slug }}", "a-b"),
        ("{{ data.title | truncate 3 }}", "A &"),
        ('{{ data.names | join ", " }}', "x, y"),
        ('{{ data.names | first 1 | join ", " }}', "x"),
        ('{{ "{{" }}', "{{"),
    ],
)
def test_an_expression_is_replaced_by_its_value(text: str, expected: str) -> None:
    assert parse(text).render(EVENT) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ data.title", "is not closed"),
        ("{{ }}", "is empty"),
        ("{{ data.title | }}", "a filter after"),
        ("{{ data.title | exec }}", "no filter exec"),
        ("{{ data.title | default }}", "default takes an argument"),
        ("{{ data.title | truncate x }}", "takes a number"),
        ("{{ data.names | first x }}", "takes a number"),
        ("{{ data.title() }}", "cannot read"),
        ("{{ 1 + 1 }}", "cannot read"),
    ],
)
def test_a_wrong_template_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(BadTemplate, match=words):
        parse(text)


@pytest.mark.parametrize("path", ["data.gone", "data.labels.9.name", "data.none", "data.title.x"])
def test_a_path_that_leads_nowhere_is_an_error(path: str) -> None:
    with pytest.raises(Missing, match=f"the event has no {path}"):
        parse(f"{{{{ {path} }}}}").render(EVENT)


def test_a_value_is_not_a_template() -> None:
    event = {"data": {"title": "{{ data.secret }}", "secret": "s"}}
    assert parse("{{ data.title }}").render(event) == "{{ data.secret }}"


def test_only_values_are_escaped() -> None:
    template = parse("$(OURS) {{ data.title }}")
    assert template.render({"data": {"title": "$(THEIRS)"}}, dollar_safe) == "$(OURS) $$(THEIRS)"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BadTemplate, Missing):
        parse(text).render(EVENT)
