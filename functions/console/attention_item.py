"""One action item."""

from __future__ import annotations

from dataclasses import dataclass

SHOWN = 5  # of each kind


@dataclass(frozen=True)
class Item:
    """Its name, what is the matter, its state, and the page where a user can act."""

    text: str
    why: str
    state: str
    href: str
