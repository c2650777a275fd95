"""The log files of processes: appended to by whoever runs, and bounded here."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

MAX_BYTES = 10 * 1024 * 1024  # of a file; as much again is kept of what was before


def bound(log: Path, max_bytes: int = MAX_BYTES) -> None:
    """Move what a log holds to `NAME.1` once it is large, and begin anew.

    The process keeps its file open for appending, so the file is copied and emptied, not renamed;
    a line that is written between the two is lost.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size > max_bytes:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            with log.open("r+b") as file:
                file.truncate(0)
