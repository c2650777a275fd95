"""OPERATIONS explains whatever the ledger of schedules says of a nominal time."""

from __future__ import annotations

import re
from dataclasses import fields

from functions.schedule_policy import Policy
from functions.scheduler.decide.tick import Cause, State
from tests.support.local_knative import ROOT

TEXT = (ROOT / "knative" / "OPERATIONS.md").read_text()
SECTION = TEXT.partition("## What became of a nominal time\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|", SECTION, re.MULTILINE)


def test_each_cause_has_a_row_with_its_states_and_meaning() -> None:
    explained = {name for causes, _, _ in ROWS for name in re.findall(r"`([\w-]+)`", causes)}
    assert explained == {cause.value for cause in Cause if cause}
    states = {name for _, cell, _ in ROWS for name in re.findall(r"`(\w+)`", cell)}
    assert states <= {state.value for state in State}
    assert states >= {state.value for state in State} - {State.RUNNING}
    assert all(meaning.strip() for _, _, meaning in ROWS)


def test_each_policy_is_named() -> None:
    named = set(re.findall(r"`([a-z-]+)", SECTION))
    assert {field.name.replace("_", "-") for field in fields(Policy)} <= named
