"""Which route an event takes."""

from __future__ import annotations

from typing import Any

import pytest

from functions.job_launcher.match import choose, facts_of
from functions.job_launcher.render import requests_of
from functions.job_launcher.route_file import parse
from functions.job_launcher.settings import LauncherSettings
from tests.function.job_world import shipped_routes
from tests.unit.job_events import ALERT, ISSUE, PULL, TASK, event

ROUTES = parse(shipped_routes())


@pytest.mark.parametrize(
    ("type", "data", "route"),
    [
        pytest.param("com.github.issue.labeled", ISSUE, "issue-labelled-agent", id="labelled"),
        pytest.param(
            "com.github.issue.labeled",
            {**ISSUE, "label": {"name": "bug"}},
            None,
            id="another label, though it has agent too",
        ),
        pytest.param("com.github.issue.opened", ISSUE, None, id="another action"),
        pytest.param("com.github.pull_request.opened", PULL, "pull-request-reviewed", id="opened"),
        pytest.param(
            "com.github.pull_request.reopened", PULL, "pull-request-reviewed", id="reopened"
        ),
        pytest.param("com.github.pull_request.closed", PULL, None, id="closed"),
        pytest.param("com.grafana.alert.firing", ALERT, "alert-of-a-task", id="alert"),
        pytest.param(
            "com.grafana.alert.firing",
            {**ALERT, "alerts": ALERT["alerts"][:1]},
            None,
            id="only a resolved alert has a task",
        ),
        pytest.param("com.grafana.alert.resolved", {**ALERT, "status": "resolved"}, None, id="ok"),
        pytest.param("io.dsm.task.requested.v1", TASK, "task-requested", id="task"),
        pytest.param("io.dsm.task.updated.v1", TASK, None, id="updated task"),
        pytest.param("com.github.push", {"ref": "refs/heads/main"}, None, id="push"),
        pytest.param("com.github.issue.labeled", "no object", None, id="odd data"),
    ],
)
def test_the_shipped_routes_take_what_they_should(type: str, data: Any, route: str | None) -> None:
    asked = event(type, data)
    choice = choose(ROUTES, asked)

    assert (choice.route.name if choice.route else None) == route
    if choice.route is not None:
        assert all(one.task_id for one in requests_of(choice, asked, LauncherSettings()))


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ("{type: com.github.*}", True),
        ("{type: com.gitlab.*}", False),
        ("{type: [x, com.github.pull_request.opened]}", True),
        ("{type: '*', branch: main}", True),
        ("{type: '*', branch: release/*}", False),
        ("{type: '*', action: opened}", True),
        ("{type: '*', source: /s}", True),
        ("{type: '*', source: /other}", False),
        ("{type: '*', label: agent}", False),
        ("{type: '*', severity: critical}", False),
    ],
)
def test_all_that_a_route_names_must_match(match: str, fits: bool) -> None:
    routes = parse(f"routes:\n  - {{name: a, match: {match}, ignore: x}}")
    choice = choose(routes, event("com.github.pull_request.opened", PULL))
    assert bool(choice.route) is fits


@pytest.mark.parametrize("label", ["task_id", "task_id=T-1", "severity=crit*"])
def test_an_alert_is_matched_by_label_or_label_and_value(label: str) -> None:
    routes = parse(f"routes:\n  - {{name: a, match: {{type: '*', label: '{label}'}}, ignore: x}}")
    assert choose(routes, event("com.grafana.alert.firing", ALERT)).route


def test_a_branch_is_the_base_of_a_pull_request_or_the_pushed_one() -> None:
    pushed = facts_of(event("com.github.push", {"ref": "refs/heads/feature/x"}))
    assert pushed.branch == "feature/x"
    assert facts_of(event("com.github.pull_request.opened", PULL)).branch == "main"


def test_the_first_route_that_matches_is_taken_and_the_others_say_why_not() -> None:
    text = """
routes:
  - {name: a, match: {type: '*', action: closed}, ignore: x}
  - {name: b, match: {type: '*'}, ignore: x}
  - {name: c, match: {type: '*'}, ignore: x}
"""
    choice = choose(parse(text), event("com.github.pull_request.opened", PULL))
    assert choice.route is not None
    assert choice.route.name == "b"
    assert choice.passed == {"a": "action is opened, not closed"}
