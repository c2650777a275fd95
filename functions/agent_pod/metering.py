"""Count the tokens that a model's answers report, for whoever asks through the sidecar.

An agent reports what it has used itself; one that a text has steered may report less. Its model's
answers pass here, and it cannot change them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_NAMES = (*_INPUT, "output_tokens")
_STREAMED = ("message_start", "message_delta")
MAX_BUFFERED_BYTES = 32 * 1024 * 1024


class Meter:
    """The sum of all answers, in a file of the form `{"input_tokens": 1, "output_tokens": 2}`.

    A container that is started again goes on from it. Input is with what is cached.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._tokens = {"input_tokens": 0, "output_tokens": 0}
        with suppress(OSError, ValueError):  # the first start
            self._tokens |= json.loads(file.read_text(encoding="utf-8"))

    def add(self, name: str, count: int) -> None:
        self._tokens["input_tokens" if name in _INPUT else name] += count

    def write(self) -> None:
        """Write the file, whole at any time."""
        new = self._file.with_suffix(".new")
        try:
            new.write_text(json.dumps(self._tokens), encoding="utf-8")
            new.replace(self._file)
        except OSError as error:
            # The agent's work is worth more than the count.
            logger.warning("the tokens used cannot be written: %s", error.strerror)


class AnswerMeter:
    """Counts one answer while its parts pass; counts within a stream replace those before."""

    def __init__(self, meter: Meter, content_type: str) -> None:
        self._meter = meter
        self._streams = content_type.startswith("text/event-stream")
        self._buffer = bytearray()
        self._counted: dict[str, int] = {}

    def take(self, part: bytes) -> None:
        self._buffer += part
        if self._streams and b"\n" in part:
            *lines, rest = bytes(self._buffer).split(b"\n")
            self._buffer = bytearray(rest)
            for line in lines:
                if line.startswith(b"data:"):
                    self._count(line.removeprefix(b"data:"))
        if len(self._buffer) > MAX_BUFFERED_BYTES:
            self._buffer.clear()  # no answer of the API

    def end(self) -> None:
        """Count an answer that came as a whole."""
        if not self._streams:
            self._count(bytes(self._buffer))

    def _count(self, text: bytes) -> None:
        if b'"usage"' not in text:
            return
        try:
            found = json.loads(text)
        except ValueError:
            return
        if not isinstance(found, dict) or (self._streams and found.get("type") not in _STREAMED):
            return
        usage = _object(found, "usage") or _object(_object(found, "message"), "usage")
        for name in _NAMES:
            count = usage.get(name)
            if isinstance(count, int) and count > (known := self._counted.get(name, 0)):
                self._counted[name] = count
                self._meter.add(name, count - known)
        self._meter.write()


def _object(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = found.get(name)
    return inner if isinstance(inner, dict) else {}
