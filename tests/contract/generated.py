"""Text that is made from the code and kept in a file, so that nobody writes it twice.

`python -m tests.contract.generated` writes all of it; a test holds each file to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.contract import eventtypes, settings_table
from tests.contract.repository import KNATIVE, ROOT


@dataclass(frozen=True)
class Piece:
    """A text and where it belongs: a whole file, or what stands between two markers of it."""

    path: Path
    text: str
    marker: str | None = None

    def expected(self) -> str:
        """The file with the text in it; ValueError where the markers are missing."""
        if self.marker is None:
            return self.text
        begin, end = f"<!-- {self.marker} -->\n", f"<!-- /{self.marker} -->\n"
        before, found, rest = self.path.read_text().partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"{self.path.relative_to(ROOT)} lacks {begin.strip()} {end.strip()}")
        return f"{before}{begin}\n{self.text}\n{end}{after}"

    def is_true(self) -> bool:
        return self.path.is_file() and self.path.read_text() == self.expected()


def pieces() -> dict[str, Piece]:
    """All that is generated, by name."""
    return {
        "eventtypes": Piece(KNATIVE / "base" / "eventtypes.yaml", eventtypes.manifests()),
        "settings": Piece(KNATIVE / "README.md", settings_table.table(), "settings"),
    }


if __name__ == "__main__":
    for name, piece in pieces().items():
        if not piece.is_true():
            piece.path.write_text(piece.expected())
            print(f"wrote {name} into {piece.path.relative_to(ROOT)}")
