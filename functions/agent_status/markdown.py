"""Texts of others as parts of a comment on GitHub. Pure."""

from __future__ import annotations

from datetime import datetime

from functions.untrusted_text import harmless


def line(given: str) -> str:
    """One line that ends no table, mentions no user, loads no image and hides nothing."""
    return " ".join(harmless(str(given)).split()).replace("|", "\\|")[:500]


def time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
