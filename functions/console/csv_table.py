"""The tables of a panel as CSV: what is seen, row by row."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

# A spreadsheet takes a cell that begins so for a formula, but for a number with its sign.
_FORMULA = re.compile(r"(?![+-][\d.]+$)[=+\-@\t\r]")


class _Cells(HTMLParser):
    """Collects the rows of all tables, with the text of each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._cell: list[str] | None = None
        self._in_time = False
        self._folded = 0  # what a cell folds away is for reading: a payload, say

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("th", "td") and self.tables:
            self._cell = []
        elif tag == "details" and self._cell is not None:
            self._folded += 1
        elif tag == "time" and self._cell is not None:
            self._cell.append(dict(attrs).get("datetime") or "")
            self._in_time = True  # the instant stands for the text
        elif self._cell is not None:
            self._cell.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "time":
            self._in_time = False
        elif tag == "details" and self._folded:
            self._folded -= 1
        elif tag in ("th", "td") and self._cell is not None and self.tables[-1]:
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None and not self._in_time and not self._folded:
            self._cell.append(data)


def as_csv(html: str) -> str:
    """The tables of a page's part, an empty line between two; times are RFC 3339.

    >>> print(as_csv("<table><tr><th>A</th><th>B</th></tr><tr><td>=1</td><td><small>b</small></td>"
    ...              "</tr></table>"), end="")
    A,B
    '=1,b
    >>> print(as_csv("<table><tr><td>+20</td><td>+20-A1</td></tr></table>"), end="")
    +20,'+20-A1
    >>> print(as_csv("<table><tr><td>a<details><pre>{}</pre></details></td></tr></table>"), end="")
    a
    """
    found = _Cells()
    found.feed(html)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, table in enumerate(found.tables):
        if number:
            out.write("\n")
        for row in table:
            writer.writerow([f"'{cell}" if _FORMULA.match(cell) else cell for cell in row])
    return out.getvalue()
