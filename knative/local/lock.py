"""One runtime per data directory: a lock that goes with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO


class DataLock:
    """The lock of one data directory; the file holds the owner's process id."""

    def __init__(self, data: Path) -> None:
        self._path = data / "lock"
        self._file: IO[str] | None = None

    def take(self) -> bool:
        """True when this process now owns the directory."""
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file
        return True

    @property
    def taken(self) -> bool:
        return self._file is not None

    def owner(self) -> int | None:
        """The process id of the runtime that owns the directory, None when none does."""
        if not self._path.exists():
            return None
        with self._path.open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return int(file.read() or 0) or None
        return None

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
