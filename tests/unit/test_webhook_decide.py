"""What agents and users ask, as events and questions."""

from __future__ import annotations

from typing import Any

import pytest

from functions.events.webhook import JobCancelRequested, TaskRequested, TaskUpdateRequested
from functions.webhook_receiver import decide
from functions.webhook_receiver.decide import Question
from tests.support.webhook_requests import ALERT, TASK


def command(name: str, *args: Any, **options: Any) -> dict[str, Any]:
    return {"command": name, "args": list(args), "options": options}


def test_a_pm_agents_new_task_is_requested_for_its_service() -> None:
    emitted = decide.pm(TASK, "msg_1")

    assert isinstance(emitted, TaskRequested)
    assert (emitted.task_id, emitted.service, emitted.project_id) == ("t-1", "docs", "PHE001")
    assert (emitted.priority, emitted.origin, emitted.acceptance_criteria) == (
        "high",
        "pm",
        ["it is written"],
    )


@pytest.mark.parametrize(
    ("body", "emitted"),
    [
        (
            {"action": "update_task", "task": {"id": 7, "status": "blocked"}},
            TaskUpdateRequested(task_id="7", status="blocked", origin="pm"),
        ),
        ({"action": "cancel_task", "task": {"id": "7"}}, JobCancelRequested(task_id="7")),
        ({"action": "get_task_status", "task": {"id": "a/b"}}, Question("/tasks/a%2Fb")),
    ],
    ids=["update", "cancel", "status"],
)
def test_what_else_a_pm_agent_asks(body: dict[str, Any], emitted: object) -> None:
    assert decide.pm(body, "msg_1") == emitted


@pytest.mark.parametrize(
    ("body", "emitted"),
    [
        (
            command("create_task", "Fix", "it", microservice="shop", task_id="9"),
            TaskRequested(task_id="9", service="shop", title="Fix it", origin="cli"),
        ),
        (
            command("update_task", "9", priority="low"),
            TaskUpdateRequested(task_id="9", priority="low", origin="cli"),
        ),
        (command("cancel_task", "9"), JobCancelRequested(task_id="9")),
        (command("cancel_job", "j", reason="no"), JobCancelRequested(job="j", reason="no")),
        (command("get_task_status", "9"), Question("/tasks/9")),
        (
            command("list_jobs", microservice="shop", status="failed", limit=5),
            Question("/jobs", {"service": "shop", "state": "failed", "limit": "5"}),
        ),
        (command("get_job", "../x"), Question("/jobs/..%2Fx")),
        (
            command("get_job_logs", "j", follow=True),
            Question("/jobs/j/logs", {"follow": "true"}, is_log=True),
        ),
    ],
    ids=lambda value: value.get("command") if isinstance(value, dict) else None,
)
def test_what_a_user_asks(body: dict[str, Any], emitted: object) -> None:
    assert decide.cli(body, "msg_1") == emitted


def test_a_pm_agents_task_that_names_no_service_is_for_its_project() -> None:
    emitted = decide.pm(TASK | {"task": {"id": 1, "title": "t"}}, "msg_1")

    assert isinstance(emitted, TaskRequested)
    assert emitted.service == "PHE001"


def test_a_users_task_without_an_id_gets_one_of_its_request() -> None:
    emitted = [
        decide.cli(command("create_task", "x", service="s"), id)
        for id in ("msg_1", "msg_1", "msg_2")
    ]
    ids = {one.task_id for one in emitted if isinstance(one, TaskRequested)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "command: must be one of"),
        (command("explode"), "command: must be one of"),
        ({"command": ["list_jobs"]}, "command: must be one of"),
        (command("get_job"), "job: name which"),
        (command("get_job", ""), "job: name which"),
        ({"command": "get_job", "args": "x"}, "args: must be"),
        ({"command": "list_jobs", "options": []}, "options: must be an object"),
        (command("list_jobs", status=["a"]), "options: must be strings"),
        (command("create_task", "x"), "service"),
        (command("create_task", "x", service="s", servise="t"), "servise"),
        (command("cancel_job", "j", job="k", reason=5), "reason"),
        (command("cancel_task"), "either job or task_id"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decide.cli(body, "msg_1")


def test_a_notification_is_the_same_whatever_the_order_and_texts_of_its_alerts() -> None:
    alert: Any = ALERT["alerts"][0]
    other = alert | {"fingerprint": "beef"}
    first = decide.grafana_id(ALERT | {"alerts": [alert, other]})

    assert first == decide.grafana_id(ALERT | {"alerts": [other, alert], "title": "again"})
    assert first != decide.grafana_id(ALERT | {"alerts": [alert]})
    for changed in ({"status": "resolved"}, {"startsAt": "2026-02-02T00:00:00Z"}):
        assert first != decide.grafana_id(ALERT | {"alerts": [alert | changed, other]})


NULLS = ("description", "acceptance_criteria", "priority", "metadata", "agent_type", "assigned_to")


@pytest.mark.parametrize("action", ["create_task", "update_task"])
def test_what_is_null_is_as_if_it_were_not_given(action: str) -> None:
    task = {"id": "PM-2", "title": "t", "service": "s"}
    given = {"action": action, "project_id": None, "task": {**task, **dict.fromkeys(NULLS)}}
    assert decide.pm(given, "msg_1") == decide.pm({"action": action, "task": task}, "msg_1")


def test_an_option_that_is_null_is_as_if_it_were_not_given() -> None:
    assert decide.cli(command("list_jobs", state=None), "m") == Question("/jobs")


@pytest.mark.parametrize("id", [".", ".."])
@pytest.mark.parametrize("action", ["create_task", "update_task", "cancel_task", "get_task_status"])
def test_an_id_that_a_url_loses_is_refused(action: str, id: str) -> None:
    with pytest.raises(ValueError, match="is no id"):
        decide.pm({"action": action, "task": {"id": id, "title": "t", "service": "s"}}, "m")
    with pytest.raises(ValueError, match="is no id"):
        decide.cli(command(action, id, title="t", service="s", task_id=id), "m")
