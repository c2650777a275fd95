"""The terminal: plain lines and tables, with colour where a terminal wants it.

Printed by hand, as importing a library for it takes longer than most commands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

COLOURS = {"bold": "1", "red": "31", "green": "32", "yellow": "33"}


def say(text: str = "") -> None:
    """Print a line; go silent, and on, when its reader is gone (`up | head`)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def plain(text: object) -> str:
    """Foreign text with what would move the cursor or change the colours replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def styled(text: str, style: str | None) -> str:
    """`text` in bold or a colour, on a terminal without NO_COLOR."""
    if style is None or os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\x1b[{COLOURS[style]}m{text}\x1b[0m"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], style: int = -1) -> None:
    """Print rows below a head, each column as wide as its widest cell.

    `style`: the number of a column whose cells are states, in their colours.
    """
    cells = [list(columns), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if number and style >= 0:
            padded[style] = state(row[style]) + " " * (widths[style] - len(row[style]))
        line = "  ".join(padded).rstrip()
        say(line if number else styled(line, "bold"))


_STATES = {
    "delivered": "green",
    "ready": "green",
    "pending": "yellow",
    "starting": "yellow",
    "dead-lettering": "yellow",
    "dead-lettered": "red",
    "failed": "red",
}


def state(name: str) -> str:
    """A state in its colour."""
    return styled(name, _STATES.get(name))
