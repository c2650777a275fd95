"""A pull request has a check run beside the comment, with buttons that are commands."""

from __future__ import annotations

from typing import Any

import pytest

from functions.agent_status import check_run
from functions.agent_status.decide import Shown
from functions.events.agent import AgentDelivered, AgentUndelivered, AgentUsage, AgentUsed
from functions.events.approval import ApprovalDecided, ApprovalRequested
from functions.events.job import JobCancelled, JobFailed, JobQueued, JobStarted, JobSucceeded
from tests.function.agents.test_agent_status import AT, JOB, PLACE, REPOSITORY, StatusWorld
from tests.function.agents.test_agent_status import status as status
from tests.function.agents.test_agent_status import status_database as status_database
from tests.support.github_checks import CheckRun
from tests.support.github_world import Pull

OF_PULL: dict[str, Any] = {**JOB, "kind": "review", "issue": 2, "gives_outputs": True}
PLACE_OF_PULL: dict[str, Any] = {**PLACE, "issue": 2}
QUEUED = JobQueued(
    **OF_PULL, cause_id="1", cause_source="/s", cause_type="com.github", pull_request=True
)
STARTED = JobStarted(**OF_PULL, started_at=AT)
SUCCEEDED = JobSucceeded(**OF_PULL, started_at=AT, ended_at=AT)
DELIVERED = AgentDelivered(**PLACE_OF_PULL, settled_at=AT, commented=True)


@pytest.fixture
def pull(status: StatusWorld) -> Pull:
    git = status.github.git
    git.create(REPOSITORY, {"a.py": "a = 1\n"})
    found = Pull(2, "Keep it", "", "main", "main", False, "octocat", AT)
    status.github.pulls.setdefault(REPOSITORY, {})[2] = found
    return found


def runs(status: StatusWorld) -> list[CheckRun]:
    return list(status.github.checks.runs.values())


def buttons(run: CheckRun) -> list[str]:
    return [one["identifier"] for one in run.body["actions"]]


async def test_a_check_run_follows_the_job_of_a_pull_request(
    status: StatusWorld, pull: Pull
) -> None:
    await status.tell(QUEUED, QUEUED)
    [run] = runs(status)
    assert run.head_sha == status.github.git.head(REPOSITORY, "main")
    assert (run.body["name"], run.body["external_id"]) == (
        "agent: issue-labelled-agent",
        JOB["job_id"],
    )
    assert (run.body["status"], buttons(run)) == ("queued", ["stop"])
    await status.tell(STARTED, SUCCEEDED)
    await status.passes(60)
    assert (run.body["status"], run.body["started_at"]) == ("in_progress", "2026-03-02T14:00:00Z")
    status.github.requests.clear()
    await status.tell(DELIVERED, DELIVERED)
    await status.passes(60)
    assert [one.split()[0] for one in status.github.requests] == ["PATCH", "PATCH"]
    assert (run.body["status"], run.body["conclusion"]) == ("completed", "success")
    assert buttons(run) == ["retry"]
    assert run.body["output"]["title"] == "Done: the agent has answered here."
    await status.passes(60)
    assert len(runs(status)) == 1


async def test_what_is_used_is_shown_in_a_check_run_at_its_end_only(
    status: StatusWorld, pull: Pull
) -> None:
    usage = AgentUsage(turns=3)
    await status.tell(QUEUED, STARTED)
    await status.passes(600)
    status.github.requests.clear()
    await status.tell(AgentUsed(**PLACE_OF_PULL, usage=usage, used_at=AT))
    await status.passes(600)
    assert [one.split()[0] for one in status.github.requests] == ["PATCH"], "the comment's alone"
    await status.tell(DELIVERED)
    await status.passes(60)
    assert "| Used | 3 turns |" in runs(status)[0].body["output"]["summary"]


async def test_a_second_job_has_a_check_run_of_its_own(status: StatusWorld, pull: Pull) -> None:
    await status.tell(QUEUED)
    await status.tell(QUEUED.model_copy(update={"job_id": "review-2"}))
    await status.passes(60)
    assert [run.body["external_id"] for run in runs(status)] == [JOB["job_id"], "review-2"]


async def test_an_issue_has_none(status: StatusWorld) -> None:
    issue = QUEUED.model_copy(update={"issue": 1, "pull_request": False})
    await status.tell(issue)
    assert len(status.comments) == 1
    assert runs(status) == []


async def test_the_check_run_goes_on_where_a_user_deleted_the_comment(
    status: StatusWorld, pull: Pull
) -> None:
    await status.tell(QUEUED)
    conversation = status.github.conversation
    [comment] = conversation.on(REPOSITORY, 2)
    conversation.delete(comment)
    await status.tell(STARTED, SUCCEEDED)
    await status.passes(60)
    await status.tell(DELIVERED)
    await status.passes(60)
    [run] = runs(status)
    assert run.body["conclusion"] == "success"
    assert conversation.on(REPOSITORY, 2) == []


async def test_without_the_permission_the_comment_is_all(status: StatusWorld, pull: Pull) -> None:
    """With a token of a user, GitHub takes no check runs."""
    environ = {"DATABASE_URL": status.environ["DATABASE_URL"]}
    status.environ = {**environ, "GITHUB_TOKEN": status.github.token}
    status.deploy()
    await status.tell(QUEUED, STARTED)
    await status.passes(60)
    [comment] = status.github.conversation.on(REPOSITORY, 2)
    assert "is working on this" in comment.body
    assert runs(status) == []


async def test_while_github_is_away_the_check_run_waits(status: StatusWorld, pull: Pull) -> None:
    status.cluster.down.add("api")
    await status.tell(QUEUED, STARTED)
    for _ in range(5):
        await status.passes(60)
    status.deploy()
    status.cluster.down.clear()
    for _ in range(5):
        await status.passes(120)
    [run] = runs(status)
    assert run.body["status"] == "in_progress"


async def test_what_waits_for_approval_has_buttons_for_it(status: StatusWorld, pull: Pull) -> None:
    asks = ApprovalRequested(**PLACE_OF_PULL, before="outputs", expires_at=AT, wants=["a comment"])
    await status.tell(QUEUED, STARTED, SUCCEEDED, asks)
    await status.passes(60)
    [run] = runs(status)
    assert run.body["conclusion"] == "action_required"
    assert buttons(run) == ["approve-outputs", "reject-outputs"]
    decided = ApprovalDecided(
        **PLACE_OF_PULL, before="outputs", decision="approved", by="octocat", decided_at=AT
    )
    await status.tell(decided, DELIVERED)
    await status.passes(60)
    assert run.body["conclusion"] == "success"


@pytest.mark.parametrize(
    ("fact", "conclusion"),
    [
        (JobFailed(**OF_PULL, ended_at=AT, reason="DeadlineExceeded", message=""), "timed_out"),
        (JobFailed(**OF_PULL, ended_at=AT, reason="Refused", message="bad"), "failure"),
        (JobCancelled(**OF_PULL, ended_at=AT, reason="stopped"), "cancelled"),
        (AgentUndelivered(**PLACE_OF_PULL, settled_at=AT, reason="nothing_to_do"), "neutral"),
        (AgentUndelivered(**PLACE_OF_PULL, settled_at=AT, reason="refused"), "failure"),
        (AgentUndelivered(**PLACE_OF_PULL, settled_at=AT, reason="not_approved"), "cancelled"),
    ],
)
async def test_each_end_has_its_conclusion(
    status: StatusWorld, pull: Pull, fact: Any, conclusion: str
) -> None:
    await status.tell(QUEUED, fact)
    await status.passes(60)
    [run] = runs(status)
    assert run.body["conclusion"] == conclusion


def test_the_buttons_are_within_what_github_takes() -> None:
    for name, (label, description) in check_run._BUTTONS.items():
        assert len(label) <= 20
        assert len(description) <= 40
        assert len(f"{name}-outputs") <= 20
    assert check_run.newest_job({}) is None
    assert check_run.newest_job({"j": {"number": 1, "pull_request": False}}) is None
    assert check_run.conclusion_of(Shown(1, "succeeded")) == "neutral"
