"""Watches this process and all that it starts for what must not be done on an event loop."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.local_knative import ROOT
from tests.support.loop_watch.sitecustomize import Watch


class Findings:
    """Long turns of event loops, and calls while a transaction was open; each a line."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def take(self) -> list[str]:
        """Return those since the last look."""
        found = self.file.read_text().splitlines()
        self.file.write_text("")
        return found


@contextlib.contextmanager
def watching() -> Iterator[Findings]:
    """Watch until the end; AssertionError where findings remain that were not taken."""
    # Not tmp_path, which is closed to others: a process may run as another user.
    folder = Path(tempfile.mkdtemp(prefix="loop-watch-"))
    findings = Findings(folder / "findings")
    findings.file.touch()
    folder.chmod(0o755)
    findings.file.chmod(0o666)
    # In this process tests work on a loop as well, and may.
    watch = Watch(findings.file, ROOT / "functions", ROOT / "knative")
    watch.begin()
    try:
        yield findings
        if found := findings.take():
            raise AssertionError("\n".join(found))
    finally:
        watch.end()
        shutil.rmtree(folder)
