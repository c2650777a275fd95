"""Arguments as values; argparse's own error says what they are to be."""

from __future__ import annotations

import argparse
from datetime import datetime


def count(text: str) -> int:
    """A number from 1 on."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def time(text: str) -> datetime:
    """A moment; without an offset, in the zone of this machine."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        message = f"{text!r} is no time like 2026-11-25T08:00-06:00"
        raise argparse.ArgumentTypeError(message) from None


def days(text: str) -> float:
    """A number of days above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days above 0")
    return number
