"""One-line JSON logs on standard output, each carrying the event that is being handled."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime

_as_text = json.JSONEncoder(ensure_ascii=False, default=str).encode  # made once, not per line
_handling: ContextVar[Mapping[str, str] | None] = ContextVar("handling", default=None)


class JsonLine(logging.Formatter):
    """A record as one JSON object; `extra={"fields": {...}}` adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **(_handling.get() or {}),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        text = _as_text(line)
        if text.isprintable():
            return text
        # Ends of a line that JSON knows not, what a terminal obeys, and half a surrogate pair.
        return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def configure(level: str) -> None:
    """Send every logger's lines through `JsonLine`."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLine())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # What no line of ours shows need not be computed for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # the documented way to spare looking for the caller
    for noisy in ("httpx", "httpcore", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))


class _Handling:
    """A class, as it runs for each event: a generator's context costs several times as much."""

    __slots__ = ("_fields", "_token")

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        self._token = _handling.set({**(_handling.get() or {}), **self._fields})

    def __exit__(self, *error: object) -> None:
        _handling.reset(self._token)


def handling(**fields: str) -> _Handling:
    """Every line logged inside carries `fields`, without those that are empty."""
    return _Handling({name: value for name, value in fields.items() if value})
