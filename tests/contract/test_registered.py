"""EventTypes and settings are as the code has them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from functions.kit.settings import Settings
from tests.contract import eventtypes, settings_table
from tests.support.repository import event_types


@pytest.mark.parametrize("path", eventtypes.files(), ids=lambda path: path.parent.name)
def test_the_event_types_are_those_of_the_code(path: Path) -> None:
    assert path.read_text() == eventtypes.files()[path], (
        "run python -m tests.contract.tables --write"
    )


def test_each_event_of_ours_is_registered_once() -> None:
    documents = [d for path in eventtypes.files() for d in yaml.safe_load_all(path.read_text())]
    names = [document["metadata"]["name"] for document in documents]
    ours = [kind.type for kind in event_types() if not kind.type.startswith("dev.knative.")]
    assert sorted(names) == sorted(ours)


@pytest.mark.parametrize("kind", [pytest.param(c, id=c.__name__) for c in settings_table.classes()])
def test_a_setting_says_what_it_means_and_who_reads_it(kind: type[Settings]) -> None:
    assert settings_table.readers(kind)
    for name, field in kind.model_fields.items():
        assert field.description, f"{kind.__name__}.{name} needs a description"
