"""The alert rules, fed with series by Prometheus' own promtool; and that all they name exists."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.kit.process import metrics_page, serve
from functions.kit.telemetry import metrics

ROOT = serve.FUNCTIONS.parent
MONITORING = ROOT / "knative" / "components" / "monitoring"
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool") or ""
SPEC: dict[str, Any] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["spec"]
ALERTS: dict[str, dict[str, Any]] = {r["alert"]: r for g in SPEC["groups"] for r in g["rules"]}
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dsm.json").read_text())
# Not ours: kube-state-metrics and the kubelet's.
FOREIGN = re.compile(r"\b(?:kube|container)_\w+")
OURS = re.compile(r"\b(?:function|schedule|saga|dead_letters|jobs|deliveries)\w*(?=[{\[) ]|$)")

needs_promtool = pytest.mark.skipif(
    not PROMTOOL,
    reason="promtool is missing: apt-get install prometheus, or set PROMTOOL to where it is",
)


@dataclass(frozen=True)
class Case:
    """Series at one sample a minute, and whether the alert fires `at`."""

    alert: str
    series: dict[str, str]
    at: str
    fires: bool
    message: str = ""


def _run(target: str, outcome: str, kind: str = "") -> str:
    emitted = f'target="{target}",type="dev.knative.sources.ping",outcome="{outcome}"'
    return f"function_last_run_timestamp_seconds{{{emitted}{kind and f',kind={kind!r}'}}}"


REPORT, SCRUM = _run("sprint-report", "ok"), _run("scrum-simulate", "ok")
# Prometheus reads us, whatever it is that we tell.
READ = {'function_unread_gauges{function="dead-letter"}': "0x7200"}
KEPT = 'dead_letters_kept_total{function="dead-letter"}'
MISSED = 'schedule_ticks_total{state="missed",reason="late"}'
CANCELLED = 'schedule_ticks_total{state="failed",reason="cancelled"}'
SENT = 'schedule_lateness_seconds{schedule="s"}'
UNREAD = 'schedules_not_followed{function="scheduler"}'
MISSING = 'deliveries_missing_oldest_seconds{hook="app"}'
COMPARED = 'deliveries_compared_age_seconds{comparison="app"}'
LATE, LAST = (
    f'function_schedule_{name}_seconds{{schedule="s"}}' for name in ("lateness", "last_timestamp")
)
UNEXPECTED, TEMPORARY = (
    f'function_failed_total{{function="f",kind="{kind}",pod="a"}}'
    for kind in ("unexpected", "temporary")
)
# Time begins on a Thursday, at midnight: 38 hours later it is Friday, 14:00.
CASES = [
    Case("DsmMorningMissed", {REPORT: "0x1600"}, "26h", True),
    Case("DsmMorningMissed", {REPORT: "0x1600"}, "25h20m", False),
    Case("DsmMorningMissed", {REPORT: "0x1440 86400x160"}, "26h", False),
    Case("DsmMorningMissed", READ, "27h", True, "it never ran"),
    Case("DsmMorningMissed", READ, "24h", False, "it is not due yet"),
    Case(
        "DsmMorningMissed",
        READ | {_run("sprint-report", "failed", "temporary"): "0+60x7200"},
        "96h",
        True,
        "it only ever failed",
    ),
    Case("DsmMorningMissed", READ | {REPORT: "0x1440 _x20 86400x300"}, "24h15m", False, "a gap"),
    Case("DsmScrumsMissed", {SCRUM: "50400x7200"}, "39h", False, "Friday 15:00, due an hour ago"),
    Case("DsmScrumsMissed", {SCRUM: "50400x7200"}, "40h", True, "Friday 16:00"),
    Case("DsmScrumsMissed", {SCRUM: "_x2280 136800x7200"}, "111h", False, "Monday 15:00"),
    Case("DsmScrumsMissed", {SCRUM: "_x2280 136800x7200"}, "112h", True, "Monday 16:00"),
    Case("DsmScrumsMissed", READ, "75h", True, "it never ran"),
    Case("DsmScrumsMissed", READ, "72h", False, "it is not due yet"),
    Case("DsmScheduleMissed", {MISSED: "0x20 1x100"}, "25m", True),
    Case("DsmScheduleMissed", {MISSED: "0x20 1x100"}, "95m", False, "an hour later"),
    Case("DsmScheduleMissed", {MISSED.replace("missed", "skipped"): "0x20 1x99"}, "25m", False),
    Case("DsmScheduleMissed", {CANCELLED: "0x20 1x100"}, "25m", False, "as its policy says"),
    Case("DsmScheduleSentLate", {SENT: "2x20 400x200"}, "25m", True),
    Case("DsmScheduleSentLate", {SENT: "_x20 400x200"}, "25m", True, "its first run"),
    Case("DsmScheduleSentLate", {SENT: "2x20 400x200"}, "85m", False, "an hour later"),
    Case("DsmScheduleSentLate", {SENT: "2x20 90x200"}, "25m", False),
    Case("DsmScheduleNotFollowed", {UNREAD: "0x5 1x30"}, "16m", True),
    Case("DsmScheduleNotFollowed", {UNREAD: "0x5 1x8 0x20"}, "16m", False, "it was corrected"),
    Case("DsmSchedulerStands", {_run("scheduler", "ok"): "0x30"}, "16m", True),
    Case("DsmSchedulerStands", {_run("scheduler", "ok"): "0+60x30"}, "16m", False),
    Case("DsmTickLate", {LATE: "400x99", LAST: "0x99"}, "5m", True),
    Case("DsmTickLate", {LATE: "400x99", LAST: "0x99"}, "70m", False, "an hour later"),
    Case("DsmTickLate", {LATE: "4x99", LAST: "0x99"}, "5m", False),
    Case("DsmDeadLettersGrow", {KEPT: "0x20 1x60"}, "25m", True),
    Case("DsmDeadLettersGrow", {KEPT: "3x80"}, "45m", False),
    Case(
        "DsmDeadLettersGrow",
        {KEPT: "3x20 4x60", 'dead_letters{state="open"}': "1x80"},
        "25m",
        True,
        "one was redriven, one came",
    ),
    Case("DsmDeadLetterForgotten", {"dead_letters_oldest_open_seconds": "90000x30"}, "15m", True),
    Case("DsmDeadLetterForgotten", {"dead_letters_oldest_open_seconds": "80000x30"}, "15m", False),
    Case("DsmSagaWaits", {"saga_waiting_oldest_seconds": "0+60x60"}, "25m", True),
    Case("DsmSagaWaits", {"saga_waiting_oldest_seconds": "0+60x60"}, "15m", False),
    Case("DsmSagaTimersLate", {"saga_timer_late_seconds": "200x20"}, "10m", True),
    Case("DsmSagaTimersLate", {"saga_timer_late_seconds": "0x3 200x2 0x20"}, "10m", False),
    Case("DsmOutboxAges", {'function_outbox_oldest_seconds{function="f"}': "0+60x30"}, "15m", True),
    Case("DsmOutboxAges", {'function_outbox_oldest_seconds{function="f"}': "60x30"}, "15m", False),
    Case("DsmQueueStands", {'function_queue_oldest_seconds{function="f"}': "8000x30"}, "15m", True),
    Case("DsmQueueStands", {'function_queue_oldest_seconds{function="f"}': "800x30"}, "15m", False),
    Case("DsmDeliveriesMissing", {MISSING: "86000+60x40"}, "25m", True),
    Case("DsmDeliveriesMissing", {MISSING: "3000+60x40"}, "25m", False),
    Case("DsmDeliveriesMissing", {MISSING: "90000x8 0x30"}, "20m", False, "it was fetched"),
    Case("DsmDeliveriesNotCompared", {COMPARED: "43000+60x40"}, "25m", True),
    Case("DsmDeliveriesNotCompared", {COMPARED: "300x40"}, "25m", False),
    Case("DsmFunctionFails", {UNEXPECTED: "0x5 1x20"}, "10m", True),
    Case(
        "DsmFunctionFails",
        {UNEXPECTED.replace("unexpected", "temporary"): "0x5 9x20"},
        "10m",
        False,
    ),
    Case("DsmFunctionFails", {UNEXPECTED: "_x5 1x20"}, "8m", True, "a pod's first request"),
    Case("DsmFunctionFails", {UNEXPECTED: "3x60"}, "30m", False, "long ago"),
    Case(
        "DsmFunctionFails",
        {_run("cycle-trigger", "failed", "unexpected"): "_x10 600x60"},
        "15m",
        True,
        "a pod that nobody has read",
    ),
    Case("DsmFunctionFails", {_run("f", "failed", "temporary"): "600x60"}, "15m", False),
    Case("DsmFunctionFails", {_run("f", "failed", "unexpected"): "600x60"}, "40m", False, "over"),
    Case("DsmNumbersMissing", {"up": "1x30"}, "20m", True),
    Case("DsmNumbersMissing", {REPORT: "1x30", "function_unread_gauges": "1x30"}, "20m", True),
    Case("DsmNumbersMissing", {REPORT: "1x30", "function_unread_gauges": "0x30"}, "20m", False),
    Case(
        "DsmMigrationFailed",
        {'kube_job_failed{namespace="dsm",job_name="migrate",condition="true"}': "1x10"},
        "5m",
        True,
    ),
    Case(
        "DsmMigrationFailed",
        {
            'kube_job_failed{namespace="dsm",job_name="migrate",condition="true"}': "0x10",
            'kube_job_status_failed{namespace="dsm",job_name="migrate"}': "2x10",
            'kube_job_status_succeeded{namespace="dsm",job_name="migrate"}': "1x10",
        },
        "5m",
        False,
        "a later attempt was good",
    ),
    Case(
        "DsmFunctionRestarts",
        {'kube_pod_container_status_restarts_total{namespace="dsm",pod="p"}': "0+1x60"},
        "30m",
        True,
    ),
    Case("DsmDatabaseAway", {'function_database_up{function="f"}': "1x5 0x10"}, "9m", True),
    Case("DsmDatabaseAway", {'function_database_up{function="f"}': "1x5 0 1x10"}, "9m", False),
]


@needs_promtool
def test_prometheus_reads_the_rules(tmp_path: Path) -> None:
    _promtool("check", "rules", str(_rules(tmp_path)))


@needs_promtool
@pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c.alert}-{'fires' if c.fires else 'rests'}-{c.message or c.at}"
)
def test_an_alert_fires_when_it_should_and_rests_when_not(case: Case, tmp_path: Path) -> None:
    firing = f'count(ALERTS{{alertname="{case.alert}", alertstate="firing"}}) or vector(0)'
    test = {
        "interval": "1m",
        "input_series": [{"series": s, "values": v} for s, v in case.series.items()],
        "promql_expr_test": [
            {
                "expr": firing,
                "eval_time": case.at,
                "exp_samples": [{"labels": "{}", "value": int(case.fires)}],
            }
        ],
    }
    document = {
        "rule_files": [str(_rules(tmp_path))],
        "evaluation_interval": "10m" if case.at.endswith("h") else "1m",
        "tests": [test],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(document))
    _promtool("test", "rules", str(tmp_path / "test.yaml"))


def test_every_alert_is_fed_with_series() -> None:
    assert {case.alert for case in CASES if case.fires} == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_leads_to_its_paragraph(alert: str) -> None:
    page, _, anchor = ALERTS[alert]["annotations"]["runbook_url"].partition("#")
    assert page.endswith("/knative/OPERATIONS.md")
    headings = re.findall(
        r"^#+ (.+)$", (ROOT / "knative" / "OPERATIONS.md").read_text(), re.MULTILINE
    )
    assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize(
    "expression",
    [r["expr"] for r in ALERTS.values()]
    + [t["expr"] for p in DASHBOARD["panels"] for t in p["targets"]],
)
def test_an_expression_names_metrics_that_there_are(expression: str) -> None:
    asked = set(re.findall(OURS, expression)) - {"function"}  # that is a label
    assert asked or FOREIGN.search(expression)
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} <= _in_prometheus()


def test_the_dashboard_shows_what_there_is_to_know() -> None:
    shown = " ".join(t["expr"] for p in DASHBOARD["panels"] for t in p["targets"])
    wanted = {
        *("function_handled_total", "function_failed_total", "function_duration_seconds_bucket"),
        *(
            "function_queue_oldest_seconds",
            "function_outbox_oldest_seconds",
            "function_database_up",
        ),
        *("function_schedule_lateness_seconds", "function_runs_last_day"),
        *("saga_runs", "jobs", "dead_letters", "dead_letters_kept_total"),
    }
    assert wanted - set(re.findall(r"[a-z_]+", shown)) == set()


def test_the_page_of_metrics_names_those_that_there_are() -> None:
    page = (ROOT / "knative" / "OPERATIONS.md").read_text()
    table = page.partition("**Metrics** are at")[2].partition("The component")[0]
    named = set(re.findall(r"`([a-z_]+)(?:\{[a-z, ]+\})?`", table))
    assert len(named) > 15
    assert named <= _in_prometheus()


def _in_prometheus() -> set[str]:
    """The metrics that the code names: the kit's, and each function's gauges."""
    gauges = serve.FUNCTIONS.glob("**/gauges.py")
    sources = [*map(inspect.getsource, (metrics, metrics_page)), *(p.read_text() for p in gauges)]
    return {n for source in sources for n in re.findall(r'"([a-z]+(?:_[a-z]+)*)"', source)}


def _rules(folder: Path) -> Path:
    """The PrometheusRule as Prometheus itself reads rules."""
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    return path


def _promtool(*arguments: str) -> None:
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
