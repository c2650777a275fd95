"""What the commands print: tables whose rows are lines, whatever stands in them."""

from __future__ import annotations

import pytest

from knative.local.cli import terminal


def test_a_long_reason_stays_on_the_line_of_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "status 422: " + "no such project; " * 40 + "\nand a second line"
    terminal.table(["id", "reason"], [["1", reason], ["2", "gone"]])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("1   status 422: no such project")
    assert lines[1].endswith("and a second line")
    assert lines[2] == "2   gone"
