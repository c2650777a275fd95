"""The alert rules, fed with series by Prometheus' own promtool; and that all they name exists."""

from __future__ import annotations

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

from functions.kit import metrics, serve

ROOT = serve.FUNCTIONS.parent
MONITORING = ROOT / "knative" / "components" / "monitoring"
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool") or ""
SPEC: dict[str, Any] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["spec"]
ALERTS: dict[str, dict[str, Any]] = {r["alert"]: r for g in SPEC["groups"] for r in g["rules"]}
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dsm.json").read_text())
# Not ours: kube-state-metrics and the kubelet's.
FOREIGN = re.compile(r"\b(?:kube|container)_\w+")
OURS = re.compile(r"\b(?:function|saga|dead_letters|jobs|deliveries)\w*(?=[{\[) ]|$)")

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


REPORT = (
    'function_last_run_timestamp_seconds{target="sprint-report",'
    'type="dev.knative.sources.ping",outcome="ok"}'
)
OPEN = 'dead_letters{state="open"}'
CASES = [
    Case("DsmMorningMissed", {REPORT: "0x1600"}, "26h", True),
    Case("DsmMorningMissed", {REPORT: "0x1600"}, "25h20m", False),
    Case("DsmMorningMissed", {REPORT: "0x1440 86400x160"}, "26h", False),
    Case("DsmTickLate", {'function_schedule_lateness_seconds{schedule="s"}': "400x10"}, "5m", True),
    Case("DsmTickLate", {'function_schedule_lateness_seconds{schedule="s"}': "4x10"}, "5m", False),
    Case("DsmDeadLettersGrow", {OPEN: "0x20 1x60"}, "25m", True),
    Case("DsmDeadLettersGrow", {OPEN: "3x80"}, "45m", False),
    Case("DsmDeadLettersGrow", {OPEN: "3x20 2x60"}, "25m", False),
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
    Case(
        "DsmFunctionFails",
        {'function_failed_total{function="f",kind="unexpected"}': "0x5 1x20"},
        "10m",
        True,
    ),
    Case(
        "DsmFunctionFails",
        {'function_failed_total{function="f",kind="temporary"}': "0x5 9x20"},
        "10m",
        False,
    ),
    Case("DsmNumbersMissing", {"up": "1x30"}, "20m", True),
    Case("DsmNumbersMissing", {REPORT: "1x30", "function_unread_gauges": "1x30"}, "20m", True),
    Case("DsmNumbersMissing", {REPORT: "1x30", "function_unread_gauges": "0x30"}, "20m", False),
    Case(
        "DsmMigrationFailed",
        {'kube_job_status_failed{namespace="dsm",job_name="migrate"}': "1x10"},
        "5m",
        True,
    ),
    Case(
        "DsmFunctionRestarts",
        {'kube_pod_container_status_restarts_total{namespace="dsm",pod="p"}': "0+1x60"},
        "30m",
        True,
    ),
    Case(
        "DsmDatabaseAway",
        {'kube_statefulset_status_replicas_ready{namespace="dsm",statefulset="postgres"}': "0x10"},
        "5m",
        True,
    ),
]


@needs_promtool
def test_prometheus_reads_the_rules(tmp_path: Path) -> None:
    _promtool("check", "rules", str(_rules(tmp_path)))


@needs_promtool
@pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c.alert}-{'fires' if c.fires else 'rests'}-{c.at}"
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
    document = {"rule_files": [str(_rules(tmp_path))], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(document))
    _promtool("test", "rules", str(tmp_path / "test.yaml"))


def test_every_alert_is_fed_with_series() -> None:
    assert {case.alert for case in CASES if case.fires} == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_leads_to_its_paragraph(alert: str) -> None:
    page, _, anchor = ALERTS[alert]["annotations"]["runbook_url"].partition("#")
    assert page.endswith("/knative/README.md")
    headings = re.findall(r"^#+ (.+)$", (ROOT / "knative" / "README.md").read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize(
    "expression",
    [r["expr"] for r in ALERTS.values()]
    + [t["expr"] for p in DASHBOARD["panels"] for t in p["targets"]],
)
def test_an_expression_names_metrics_that_there_are(expression: str) -> None:
    asked = set(re.findall(OURS, expression)) - {"function"}  # that is a label
    assert asked or FOREIGN.search(expression)
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} <= _told()


def _told() -> set[str]:
    """The metrics that the code names: the kit's, and each function's gauges."""
    sources = [Path(metrics.__file__), *serve.FUNCTIONS.glob("*/gauges.py")]
    return {n for p in sources for n in re.findall(r'"([a-z]+(?:_[a-z]+)*)"', p.read_text())}


def _rules(folder: Path) -> Path:
    """The PrometheusRule as Prometheus itself reads rules."""
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    return path


def _promtool(*arguments: str) -> None:
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
