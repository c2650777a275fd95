"""What the lines of the local Knative are spent on, as its decision says it."""

from __future__ import annotations

import re

from tests.support.repository import ROOT

LOCAL = ROOT / "knative" / "local"
ROW = re.compile(r"^\| (`.*`) \| ([\d,]+) \|", re.MULTILINE)


def lines_of(place: str) -> dict[str, int]:
    files = (LOCAL / place).rglob("*.py") if place.endswith("/") else [LOCAL / place]
    return {
        str(file.relative_to(LOCAL)): len(file.read_text(encoding="utf-8").splitlines())
        for file in files
    }


def test_the_table_of_sizes_is_true_and_whole() -> None:
    decisions = (ROOT / "DECISIONS.md").read_text(encoding="utf-8")
    (_, section) = decisions.split("The size of the local Knative\n")
    rows = ROW.findall(section.split("\n## ")[0])
    counted: dict[str, int] = {}
    for places, written in rows:
        found: dict[str, int] = {}
        for place in re.findall(r"`([^`]+)`", places):
            found |= lines_of(place)
        assert not found.keys() & counted.keys(), places
        counted |= found
        number = int(written.replace(",", ""))
        assert abs(sum(found.values()) - number) <= max(50, number // 20), (places, found)
    assert counted.keys() == lines_of("./").keys()
