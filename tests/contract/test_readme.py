"""Nothing that the README says about events, functions and their flow may drift."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract import tables

MARKED = [
    pytest.param(path, name, id=f"{path.parent.name}-{name}")
    for path in tables.DOCUMENTS
    for name in tables.PARTS
    if f"<!-- {name} -->" in path.read_text()
]


@pytest.mark.parametrize(("path", "name"), MARKED)
def test_a_readme_says_what_the_code_and_the_yaml_say(path: Path, name: str) -> None:
    assert f"<!-- {name} -->\n{tables.PARTS[name]()}\n<!-- /{name} -->" in path.read_text(), (
        "run python -m tests.contract.tables --write"
    )


def test_every_part_stands_in_a_readme() -> None:
    assert {case.values[1] for case in MARKED} == set(tables.PARTS)


def test_the_flow_shows_the_morning() -> None:
    lines = tables.flow()
    assert "sprint-report -- sprint.completed --> cycle-trigger" in lines
    assert "scrum-simulate -- sprint.simulated --> scrum-report" in lines
    assert "30 8 * * * America/Chicago" in lines


def test_what_stands_between_markers_is_made_anew_and_the_rest_kept() -> None:
    text = tables.filled("a\n<!-- flow -->\nold\n<!-- /flow -->\nb\n")
    assert text == f"a\n<!-- flow -->\n{tables.flow()}\n<!-- /flow -->\nb\n"
