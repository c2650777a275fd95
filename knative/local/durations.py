"""Durations as users type them."""

from __future__ import annotations

import re

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_PART = r"(\d+(?:\.\d+)?)([smhd])"


def duration_s(text: str) -> float:
    """Seconds; ValueError where it is none.

    >>> duration_s("1h30m"), duration_s("3d"), duration_s("0.5s")
    (5400.0, 259200.0, 0.5)
    """
    if not re.fullmatch(f"(?:{_PART})+", text, re.ASCII):
        raise ValueError(f"{text!r} is no duration like 90s, 15m, 1h30m or 3d")
    return sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(_PART, text))
