"""Reading files that an agent has written: no link, no pipe, no more than so many bytes."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_BYTES = 256 * 1024


def read_line(file: Path) -> str:
    """The first line; empty where there is none."""
    return read_text(file).partition("\n")[0].strip()


def read_text(file: Path) -> str:
    """As much as is read of it; empty where it cannot be."""
    try:
        return read_bytes(file, MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""


def read_bytes(file: Path, max_bytes: int) -> bytes:
    """At most `max_bytes`. Raises OSError for what is no regular file."""
    # No link, as what the agent cannot read must not be read for it; no pipe, nor waiting for one.
    number = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(number, "rb") as opened:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return opened.read(max_bytes)
