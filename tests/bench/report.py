"""What a measurement is, and how all of them are shown."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One measurement: `value` in `unit`, held against `peer`, and the aim for their ratio.

    `at_least` says which way is good: a ratio of at least the aim, or at most.
    """

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    aim: float | None = None
    minimum: bool = True

    @property
    def ratio(self) -> float | None:
        return self.value / self.peer_value if self.peer_value else None

    @property
    def met(self) -> bool | None:
        if self.ratio is None or self.aim is None:
            return None
        return self.ratio >= self.aim if self.minimum else self.ratio <= self.aim


def show(rows: Sequence[Row]) -> None:
    table = Table(title=f"{platform.machine()}, Python {platform.python_version()}")
    for heading in ("what", "value", "against", "ratio", "aim", ""):
        table.add_column(heading, justify="right" if heading in ("value", "ratio") else "left")
    for row in rows:
        sign = ">=" if row.minimum else "<="
        peer = f"{row.peer} {row.peer_value:,.4g}" if row.peer_value is not None else row.peer
        table.add_row(
            row.name,
            f"{row.value:,.4g} {row.unit}",
            peer,
            "" if row.ratio is None else f"{row.ratio:.2f}",
            "" if row.aim is None else f"{sign} {row.aim:g}",
            {None: "", True: "met", False: "MISSED"}[row.met],
        )
    Console(width=140).print(table)


def write(rows: Sequence[Row], to: Path) -> None:
    documents = [{**asdict(row), "ratio": row.ratio, "met": row.met} for row in rows]
    to.write_text(json.dumps(documents, indent=2) + "\n")
