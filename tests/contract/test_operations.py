"""Schedules: OPERATIONS explains the ledger, and what has none does not hold up a virtual clock."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from functions.cron import Cron
from functions.schedule_policy import PREFIX, Policy
from functions.scheduler.decide.tick import Cause, State
from knative.local.manifests.sources import IDLE_INTERVAL
from tests.support.local_knative import ROOT
from tests.support.repository import of_kind

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


def test_a_tick_of_each_minute_may_be_left_out_while_nothing_happens() -> None:
    """One alone without the annotation would let a virtual night take minutes."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for source in of_kind("PingSource", "sources"):
        cron = Cron(source["spec"]["schedule"], source["spec"].get("timezone", ""))
        first = cron.after(begin)
        assert first is not None
        second = cron.after(first)
        assert second is not None
        annotations = source["metadata"].get("annotations", {})
        has_ledger = any(name.startswith(PREFIX) for name in annotations)
        is_seldom = second - first >= timedelta(hours=1)
        assert has_ledger or is_seldom or IDLE_INTERVAL in annotations, source["metadata"]["name"]
