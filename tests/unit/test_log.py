"""A line of the log is one line of JSON, whatever it is about."""

from __future__ import annotations

import json
import logging

from hypothesis import given

from functions.kit.telemetry.log import JsonLine, handling
from tests.support.hostile import texts

FORGED = '\n{"level":"info"}\r\x85\x9b2J\x1b[2J\u2028\u202e\ud800\x7f\ufeff'


def line(text: str) -> str:
    record = logging.LogRecord(text, logging.INFO, "x", 1, "of %s", (text,), None)
    record.fields = {"id": text, text: 1}
    with handling(event_id=text):
        return JsonLine().format(record)


def check(text: str) -> None:
    written = line(text)
    assert written.isprintable(), [c for c in written if not c.isprintable()]
    assert len(written.splitlines()) == 1
    written.encode()
    found = json.loads(written)
    assert (found["event"], found["id"]) == (f"of {text}", text)
    assert found.get("event_id", "") == text


def test_no_text_forges_a_line_or_commands_a_terminal() -> None:
    check(FORGED)


@given(texts)
def test_any_text_is_read_again(text: str) -> None:
    check(text)
