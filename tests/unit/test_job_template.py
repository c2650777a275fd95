"""Route templates: Jinja over an event, and nothing of Python."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.job_launcher.routes.template import BadTemplate, MissingValue, dollar_safe, parse

EVENT = {
    "data": {
        "title": "A & B",
        "number": 7,
        "ready": True,
        "none": None,
        "labels": [{"name": "agent"}, {"name": "bug"}],
        "names": ["x", "y"],
        "odd": {"a.b/c": "deep"},
        "items": "a key",
        "values": {"keys": 1},
    }
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain {text}", "plain {text}"),
        ("ends with a line\n", "ends with a line\n"),
        ("{{ data.title }}", "A & B"),
        ("{{data.number}}-{{ data.ready }}", "7-true"),
        ("{{ data.labels.1.name }}", "bug"),
        ("{{ data.labels[1].name }}", "bug"),
        ('{{ data.odd["a.b/c"] }}', "deep"),
        ('{{ data.none | default("x") }}', "x"),
        ('{{ data.gone.further | default("x") }}', "x"),
        ('{{ data.none.further[3] | default("x") }}', "x"),
        ("{{ data.gone | default(data.title) | lower }}", "a & b"),
        ('{{ data.gone | json | default("[]") }}', "[]"),
        (
            "{{ data.labels | json }}",
            '[\n  {\n    "name": "agent"\n  },\n  {\n    "name": "bug"\n  }\n]',
        ),
        ("{{ data.title | slug }}", "a-b"),
        ("{{ data.items }} {{ data.values.keys }}", "a key 1"),
        ('{{ data.names | join(", ") }}', "x, y"),
        ('{{ data.names[:1] | join(", ") }}', "x"),
        ("{% if data.ready %}yes{% else %}no{% endif %}", "yes"),
        ("{% for one in data.labels %}{{ one.name }};{% endfor %}", "agent;bug;"),
        ('{{ "{{" }}', "{{"),
        ("echo ${#list[@]} #}", "echo ${#list[@]} #}"),
    ],
)
def test_an_expression_is_replaced_by_its_value(text: str, expected: str) -> None:
    assert parse(text).render(EVENT) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ data.title", "unexpected end of template"),
        ("{{ }}", "Expected an expression"),
        ("{{ data.title | }}", "expected token 'name'"),
        ("{{ data.title | exec }}", "No filter named 'exec'"),
        ("{{ data.title | attr('upper') }}", "No filter named 'attr'"),
        ('{{ data.title | default "x" }}', r'write default\("x"\), truncate\(80\)'),
        ("{{ data.title | truncate 8 }}", r'write default\("x"\), truncate\(80\)'),
        ("{% include 'x' %}", "may not include"),
        ("{% if data.x %}", "Unexpected end of template"),
    ],
)
def test_a_wrong_template_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(BadTemplate, match=message):
        parse(text)


@pytest.mark.parametrize("path", ["data.gone", "data.labels.9.name", "data.none", "data.title.x"])
def test_a_path_that_leads_nowhere_is_an_error(path: str) -> None:
    with pytest.raises(MissingValue, match=f"the event has no {path}"):
        parse(f"{{{{ {path} }}}}").render(EVENT)


@pytest.mark.parametrize(
    "expression",
    [
        "data.title.__class__",
        "data.__class__.__mro__",
        "data.get('title')",
        "data.title.upper()",
        "data.title()",
        "data.names.append(1)",
        "'%s'.format(data)",
        "data.title | lower | int('x', 0, 1, 2)",
        "7 // 0",
        "self",
        "self._TemplateReference__context.environment",
    ],
)
def test_nothing_of_python_is_reached(expression: str) -> None:
    with pytest.raises(MissingValue):
        parse(f"{{{{ {expression} }}}}").render(EVENT)


@pytest.mark.parametrize("name", ["range", "dict", "lipsum", "cycler", "namespace"])
def test_a_name_that_no_event_has_is_known_by_the_template(name: str) -> None:
    assert parse(f"{{{{ {name} }}}}").names == {name}


def test_a_value_is_not_a_template() -> None:
    event = {"data": {"title": "{{ data.secret }}", "secret": "s"}}
    assert parse("{{ data.title }}").render(event) == "{{ data.secret }}"


def test_only_values_are_escaped() -> None:
    template = parse("$(OURS) {{ data.title }}")
    assert template.render({"data": {"title": "$(THEIRS)"}}, dollar_safe) == "$(OURS) $$(THEIRS)"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BadTemplate, MissingValue):
        parse(text).render(EVENT)
