"""Events whose types others name are opened by what the types begin with."""

from __future__ import annotations

import json

import pytest

from functions.events.webhook import GithubEvent, GrafanaNotified, JobCancelRequested, TaskRequested
from functions.kit import cloudevents
from functions.kit.contract import envelope


def message(type_: str, data: object) -> cloudevents.Message:
    return cloudevents.Message(
        "d-1", "https://api.github.com/repos/o/r", type_, json.dumps(data).encode()
    )


@pytest.mark.parametrize("type_", ["com.github.issue.labeled", "com.github.push", "com.github.new"])
def test_a_family_covers_every_type_that_begins_with_its_name(type_: str) -> None:
    event = envelope.open_(message(type_, {"unheard": 1}), (TaskRequested, GithubEvent))

    assert isinstance(event, GithubEvent)
    assert event.event_type == type_


def test_a_family_does_not_cover_what_only_looks_like_it() -> None:
    with pytest.raises(envelope.UnknownType):
        envelope.open_(message("com.githubber.push", {}), (GithubEvent,))


def test_a_github_event_is_read_as_far_as_we_need_it() -> None:
    data = {
        "action": "labeled",
        "label": {"name": "agent"},
        "issue": {"number": 7, "labels": [{"name": "agent", "color": "f00"}], "body": None},
        "repository": {"full_name": "o/r", "private": True},
    }

    event = envelope.open_(message("com.github.issue.labeled", data), (GithubEvent,))

    assert isinstance(event, GithubEvent)
    assert event.subject() == "7"
    assert event.issue is not None
    assert [label.name for label in event.issue.labels] == ["agent"]


def test_a_grafana_notification_is_read_by_grafanas_names() -> None:
    alert = {"status": "firing", "labels": {"task_id": "7"}, "startsAt": "2026-01-01T00:00:00Z"}
    data = {"status": "firing", "groupKey": "{}", "commonLabels": {"a": "b"}, "alerts": [alert]}

    event = envelope.open_(message("com.grafana.alert.firing", data), (GrafanaNotified,))

    assert isinstance(event, GrafanaNotified)
    assert event.alerts[0].starts_at == "2026-01-01T00:00:00Z"
    assert event.common_labels == {"a": "b"}


@pytest.mark.parametrize("fields", [{}, {"job": "j", "task_id": "t"}], ids=["none", "both"])
def test_a_cancellation_names_either_a_job_or_a_task(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either job or task_id"):
        JobCancelRequested(**fields)
