"""The processes' logs, as they are and as they are written."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

EVERY_S = 0.3  # between two looks at the files
_LEVELS = ("WARNING", "ERROR", "CRITICAL")


def logs(data: Path) -> dict[str, Path]:
    """The log of each Service, and of PostgreSQL, by name."""
    found = {file.stem: file for file in sorted((data / "logs").glob("*.log"))}
    postgres = data / "postgres" / "log"
    return found | ({"postgres": postgres} if postgres.exists() else {})


def last_lines(file: Path, number: int) -> list[str]:
    """The last lines of a log, of what was put aside too."""
    text = ""
    for part in (file.with_name(f"{file.name}.1"), file):
        with contextlib.suppress(OSError):
            text += part.read_text(errors="replace")
    return text.splitlines()[-number:]


class LogTail:
    """What is written from now on to the logs of `names`, or to all."""

    def __init__(self, data: Path, names: set[str] | None = None) -> None:
        self._data = data
        self._names = names
        self._places = {file: file.stat().st_size for file in logs(data).values()}

    def new(self) -> list[tuple[str, str]]:
        """Service and line of each whole line since the last look."""
        return [
            (name, line)
            for name, file in logs(self._data).items()
            if self._names is None or name in self._names
            for line in self._lines(file)
        ]

    def _lines(self, file: Path) -> list[str]:
        at, size = self._places.get(file, 0), file.stat().st_size
        if size == at:
            return []
        start = at if size > at else 0  # a long log was put aside and begins anew
        with file.open("rb") as stream:
            stream.seek(start)
            text = stream.read()
        whole = text.rfind(b"\n") + 1
        self._places[file] = start + whole
        return text[:whole].decode(errors="replace").splitlines()


def worth_showing(line: str) -> str:
    """The message of a warning or error; empty for anything else.

    >>> worth_showing('{"severity": "ERROR", "message": "no such sprint"}')
    'ERROR no such sprint'
    >>> worth_showing('{"level": "warning", "event": "no room", "number": 1}')
    'WARNING no room'
    >>> worth_showing('{"severity": "INFO", "message": "fine"}')
    ''
    >>> worth_showing("ValueError: broken")
    ''
    """
    try:
        record = json.loads(line)
        level = str(record.get("severity") or record.get("level") or "").upper()
        message = record.get("message") or record.get("event") or line
    except (ValueError, AttributeError):
        level, _, message = line.partition(":")
        level, message = level.strip(), message.strip()
    return f"{level} {message}" if level in _LEVELS else ""
