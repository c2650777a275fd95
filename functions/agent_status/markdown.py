"""Texts of others as parts of a comment on GitHub. Pure."""

from __future__ import annotations

from datetime import datetime


def line(given: str) -> str:
    """One line that ends no table, mentions no user and hides nothing."""
    plain = " ".join(str(given).split()).replace("<!--", "&lt;!--").replace("|", "\\|")
    return plain.replace("@", "@\u200b")[:500]


def time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
