"""What is made from the code is as the code makes it."""

from __future__ import annotations

import pytest
import yaml

from functions.kit.settings import Settings
from tests.contract import settings_table
from tests.contract.generated import Piece, pieces
from tests.contract.repository import KNATIVE, event_types

PIECES = [pytest.param(piece, id=name) for name, piece in pieces().items()]


@pytest.mark.parametrize("piece", PIECES)
def test_what_is_generated_is_up_to_date(piece: Piece) -> None:
    assert piece.is_true(), f"run `python -m tests.contract.generated`: {piece.path.name} is old"


def test_each_event_of_ours_is_registered_once() -> None:
    documents = yaml.safe_load_all((KNATIVE / "base" / "eventtypes.yaml").read_text())
    names = [document["metadata"]["name"] for document in documents]
    ours = [kind.type for kind in event_types() if not kind.type.startswith("dev.knative.")]
    assert names == ours


@pytest.mark.parametrize("kind", [pytest.param(c, id=c.__name__) for c in settings_table.classes()])
def test_a_setting_says_what_it_means_and_who_reads_it(kind: type[Settings]) -> None:
    assert settings_table.readers(kind)
    for name, field in kind.model_fields.items():
        assert field.description, f"{kind.__name__}.{name} needs a description"
