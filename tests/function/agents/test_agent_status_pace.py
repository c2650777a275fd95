"""What users wait for is shown within seconds, however much the agents report beside it."""

from __future__ import annotations

from typing import Any

from functions.agent_status.main import agent_status
from functions.events.agent import AgentUsage, AgentUsed
from functions.events.base import Event
from functions.kit.clients.github import Github
from functions.kit.clients.github_app import GithubSettings
from functions.kit.clients.github_pace import Pace
from tests.function.agents.test_agent_status import (
    ANSWERED,
    AT,
    FAILED,
    PLACE,
    QUEUED,
    REPOSITORY,
    STARTED,
    StatusWorld,
    moved,
)
from tests.function.agents.test_agent_status import status as status
from tests.function.agents.test_agent_status import status_database as status_database

SHIPPED_SHARE = GithubSettings.model_fields["github_share"].default


def deploy(status: StatusWorld, share: float) -> None:
    """A process whose pace has the clock of the test, which a wait moves on."""
    clock = status.clock

    async def sleep(seconds: float) -> None:
        clock.passes(seconds=seconds)

    environ = {**status.environ, "GITHUB_SHARE": str(share)}
    resources = status.cluster.deploy(agent_status, environ, now=clock).resources
    resources._github = Github(
        resources.settings(GithubSettings),
        resources.http,
        clock,
        lambda share: Pace(share, lambda: clock().timestamp(), sleep),
    )


def on(issue: int, event: Event) -> Any:
    return event.model_copy(update={"job_id": f"execute-{issue}", "issue": issue})


def used(issue: int, turns: int) -> AgentUsed:
    usage = AgentUsage(turns=turns, cost_usd=turns / 10)
    return AgentUsed(
        **{**PLACE, "job_id": f"execute-{issue}", "issue": issue}, usage=usage, used_at=AT
    )


def shown_on(status: StatusWorld, issue: int) -> str:
    return "".join(one.body for one in status.github.conversation.on(REPOSITORY, issue))


async def test_ten_jobs_that_report_their_use_for_an_hour_hold_up_nothing(
    status: StatusWorld,
) -> None:
    deploy(status, SHIPPED_SHARE)
    running = [1, *[await status.github.opened(REPOSITORY) for _ in range(9)]]
    for issue in running:
        await status.tell(on(issue, QUEUED), on(issue, STARTED))
    await status.passes(10)
    for minute in range(1, 61):
        began = status.clock()
        pressing: list[tuple[int, Event, str]] = []
        if minute % 3 == 0:
            pressing.append((await status.github.opened(REPOSITORY), QUEUED, "is queued for this"))
        if minute % 30 == 0:
            pressing.append((running[minute // 30], FAILED, "DeadlineExceeded"))
        for issue in running:
            await status.tell(used(issue, minute))
        for issue, event, _ in pressing:
            await status.tell(on(issue, event))
        await status.passes(10)
        for issue, _, text in pressing:
            assert text in shown_on(status, issue), f"minute {minute}"
        spent_s = (status.clock() - began).total_seconds()
        assert spent_s < 60, "no change waits for its window"
        await status.passes(60 - spent_s)
    turns = [f"| Used | {turns} turns" for turns in range(45, 61)]
    for issue in running:
        assert any(one in shown_on(status, issue) for one in turns), "use is shown as well"


async def test_a_change_that_presses_does_not_wait_with_one_that_was_put_off(
    status: StatusWorld,
) -> None:
    deploy(status, 0.2)  # a hundred changes an hour, half of them left to what presses
    issues = [1, *[await status.github.opened(REPOSITORY) for _ in range(25)]]
    for issue in issues:
        await status.tell(on(issue, QUEUED))  # a comment and a reaction
        await status.passes(10)
    await status.passes(600)
    for issue in (1, 2):
        await status.tell(on(issue, moved(2, 1)))
    await status.passes(60)
    assert "number 2" not in shown_on(status, 1) + shown_on(status, 2)

    await status.tell(ANSWERED)
    await status.passes(0)
    assert "it is failed" in shown_on(status, 1)
    assert "number 2" in shown_on(status, 1)
    assert "number 2" not in shown_on(status, 2)
    await status.passes(3600)
    assert "number 2" in shown_on(status, 2), "the next hour has room"


async def test_not_even_a_change_that_presses_comes_before_github_wants_it(
    status: StatusWorld,
) -> None:
    await status.tell(QUEUED)
    await status.passes(660)
    status.github.refuses(0, 429, {"retry-after": "900"})
    await status.tell(moved(2, 1))
    status.github.requests.clear()
    status.deploy()  # a process that does not know
    await status.tell(STARTED)
    for _ in range(14):
        await status.passes(60)
    assert status.github.requests == []
    await status.passes(60)
    assert "is working on this" in status.comment.body


async def test_a_change_that_presses_is_tried_though_github_has_refused_the_one_before(
    status: StatusWorld,
) -> None:
    await status.tell(QUEUED)
    await status.passes(10)
    status.github.refuses(0, 422, {})
    await status.tell(STARTED)
    assert "queued" in status.comment.body
    await status.passes(60)
    assert "queued" in status.comment.body, "by itself it is tried after ten minutes"
    await status.tell(FAILED)
    await status.passes(5)
    assert "DeadlineExceeded" in status.comment.body
