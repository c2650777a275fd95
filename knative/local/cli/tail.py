"""Shows warnings and errors of the processes' logs as they are written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

EVERY_S = 0.3
_LEVELS = ("WARNING", "ERROR", "CRITICAL")


async def follow_logs(folder: Path, show: Callable[[str, str], None]) -> None:
    """Call `show(service, line)` for each new warning or error, until cancelled."""
    places = {file: file.stat().st_size for file in _logs(folder)}
    while True:
        await asyncio.sleep(EVERY_S)
        for file in _logs(folder):
            for line in _new_lines(file, places):
                words = worth_showing(line)
                if words:
                    show(file.stem, words)


def _logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def _new_lines(file: Path, places: dict[Path, int]) -> list[str]:
    """The whole lines written since the last look; `places` remembers how far that went."""
    at = places.get(file, 0)
    if file.stat().st_size == at:
        return []
    with file.open("rb") as stream:
        stream.seek(at)
        text = stream.read()
    whole = text.rfind(b"\n") + 1
    places[file] = at + whole
    return text[:whole].decode(errors="replace").splitlines()


def worth_showing(line: str) -> str:
    """The message of a warning or error; empty for anything else.

    >>> worth_showing('{"severity": "ERROR", "message": "no such sprint"}')
    'ERROR no such sprint'
    >>> worth_showing('{"level": "warning", "event": "dead letter", "letter": 1}')
    'WARNING dead letter'
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
