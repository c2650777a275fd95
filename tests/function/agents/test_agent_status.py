"""One comment for each route and issue, that says what its agent does and has done."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from functions.agent_status import decide
from functions.agent_status.main import agent_status
from functions.events.agent import (
    AgentAnswered,
    AgentDelivered,
    AgentRefused,
    AgentUndelivered,
    AgentUsage,
    AgentUsed,
    UndeliveredReason,
)
from functions.events.approval import ApprovalDecided, ApprovalRequested, ChangedFile
from functions.events.base import Event
from functions.events.job import (
    BudgetWarned,
    JobFailed,
    JobHeld,
    JobMoved,
    JobQueued,
    JobRecorded,
    JobStarted,
    JobSucceeded,
)
from functions.events.schedule import ScheduleDue
from tests.conftest import MakeMigrated
from tests.support.cluster import Cluster
from tests.support.deliveries_world import Clock
from tests.support.github_conversation import Comment
from tests.support.github_standin import GithubStandIn

REPOSITORY = "acme/shop"
AT = datetime(2026, 3, 2, 14, tzinfo=UTC)
JOB: dict[str, Any] = {
    "job_id": "execute-1",
    "kind": "execute",
    "task_id": "acme/shop#1",
    "service": "acme/shop",
    "group": "",
    "route": "issue-labelled-agent",
    "repository": REPOSITORY,
    "issue": 1,
}
PLACE = {name: JOB[name] for name in ("job_id", "task_id", "route", "repository", "issue")}
QUEUED = JobQueued(**JOB, cause_id="1", cause_source="/s", cause_type="com.github")
STARTED = JobStarted(**JOB, started_at=AT)
SUCCEEDED = JobSucceeded(**JOB, started_at=AT, ended_at=AT)
FAILED = JobFailed(**JOB, ended_at=AT, reason="DeadlineExceeded", message="too long, @octocat")
DELIVERED = AgentDelivered(
    **PLACE,
    settled_at=AT,
    pull_request=57,
    commits=2,
    files=["src/a.py"],
    usage=AgentUsage(turns=14, cost_usd=0.42),
)
REFUSED = AgentUndelivered(
    **PLACE, settled_at=AT, reason="refused", details=[".github/workflows/x: no"], kept=True
)
STRANGER = AgentRefused(
    route=JOB["route"],
    repository=REPOSITORY,
    issue=1,
    login="stranger",
    asked="/agent review",
    reason="actor is read, not write or more",
    refused_at=AT,
)
ANSWERED = AgentAnswered(
    route=JOB["route"],
    repository=REPOSITORY,
    issue=1,
    login="octocat",
    asked="/agent why",
    answer="it is failed",
    answered_at=AT,
)


@dataclass
class StatusWorld:
    cluster: Cluster
    clock: Clock
    github: GithubStandIn
    environ: dict[str, str]

    def deploy(self, **settings: str) -> None:
        self.cluster.deploy(agent_status, {**self.environ, **settings}, now=self.clock)

    async def tell(self, *events: Event) -> None:
        for event in events:
            answer = await self.cluster.tell("agent-status", event)
            assert answer.status_code == 202, answer.text

    async def passes(self, seconds: float) -> None:
        """Time passes, and a tick comes."""
        self.clock.passes(seconds=seconds)
        await self.tell(ScheduleDue(schedule="agent-status-sweep", time=self.clock()))

    @property
    def comments(self) -> list[Comment]:
        return self.github.conversation.on(REPOSITORY, 1)

    @property
    def comment(self) -> Comment:
        [found] = self.comments
        return found


@pytest.fixture(scope="module")
async def status_database(make_migrated: MakeMigrated) -> str:
    return await make_migrated("agent_status")


@pytest.fixture
async def status(
    cluster: Cluster, status_database: str, tmp_path: Path
) -> AsyncIterator[StatusWorld]:
    connection = await asyncpg.connect(status_database)
    await connection.execute("TRUNCATE status_thread, issue_usage, inbox, run")
    await connection.close()
    clock = Clock()
    async with httpx.AsyncClient(verify=False) as no_receiver:
        github = GithubStandIn(clock, no_receiver, "secret", folder=tmp_path)
        cluster.add("api", github)
        await github.opened(REPOSITORY)
        environ = {
            "DATABASE_URL": status_database,
            "GITHUB_APP_ID": "1",
            "GITHUB_SHARE": "1000",
            "GITHUB_APP_PRIVATE_KEY": github.private_key,
        }
        world = StatusWorld(cluster, clock, github, environ)
        world.deploy()
        yield world
    assert not github.document.violations, github.document.violations


async def test_one_comment_and_a_reaction_say_that_the_issue_was_seen(status: StatusWorld) -> None:
    await status.tell(QUEUED)
    assert status.comment.body.startswith("**An agent is queued for this.**")
    assert status.github.conversation.reactions == [
        (f"/repos/{REPOSITORY}/issues/1/reactions", "eyes")
    ]


def moved(place: int, minute: int) -> JobMoved:
    return JobMoved(
        **{**JOB, "group": "acme/shop"}, place=place, moved_at=AT.replace(minute=minute)
    )


async def test_a_place_in_the_queue_is_shown_and_edited_no_more_than_each_ten_minutes(
    status: StatusWorld,
) -> None:
    await status.tell(QUEUED.model_copy(update={"group": "acme/shop", "place": 4}))
    await status.passes(0)
    assert "queued for this, number 4 of group acme/shop." in status.comment.body
    await status.passes(300)
    await status.tell(moved(3, 1))
    await status.passes(290)
    assert "number 4" in status.comment.body
    await status.tell(moved(2, 2), moved(3, 1))
    await status.passes(10)
    assert "number 2" in status.comment.body
    assert len(status.comment.edits) == 2

    await status.passes(11)
    await status.tell(moved(1, 3), STARTED)
    await status.passes(0)
    assert "is working on this" in status.comment.body, "what matters does not wait so long"
    assert len(status.comment.edits) == 3


async def test_what_matters_comes_before_a_place_that_waits_for_its_turn(
    status: StatusWorld,
) -> None:
    await status.tell(QUEUED)
    await status.passes(15)
    await status.tell(moved(2, 1))
    await status.passes(1)
    assert len(status.comment.edits) == 1
    await status.tell(ANSWERED)
    await status.passes(0)
    assert len(status.comment.edits) == 2
    assert "it is failed" in status.comment.body
    assert "number 2" in status.comment.body


async def test_what_a_job_uses_is_shown_while_it_works_with_what_all_have_used(
    status: StatusWorld,
) -> None:
    second = {**JOB, "job_id": "execute-2"}
    used = AgentUsage(turns=3, input_tokens=1000, cost_usd=1.5)
    await status.tell(QUEUED, STARTED, FAILED)
    await status.passes(10)
    await status.tell(AgentUsed(**PLACE, usage=used, used_at=AT))
    await status.passes(600)
    assert "| Used | 3 turns, 1,000 tokens, $1.50 |" in status.comment.body
    assert "All agents" not in status.comment.body
    other = {**PLACE, "job_id": "execute-2"}
    await status.tell(
        QUEUED.model_copy(update=second),
        AgentUsed(**other, usage=AgentUsage(cost_usd=0.25), used_at=AT),
        REFUSED.model_copy(update={**other, "usage": AgentUsage(cost_usd=0.5, turns=2)}),
    )
    await status.passes(60)
    assert "| Used | 2 turns, $0.50 |" in status.comment.body
    shown = "| All agents here so far | 2 Jobs, 5 turns, 1,000 tokens, $2.00 |"
    assert shown in status.comment.body


async def test_a_job_that_its_budget_has_ended_says_so(status: StatusWorld) -> None:
    why = {"reason": "BudgetUsedUp", "message": "it has used $11.50, and might use $10.00"}
    await status.tell(QUEUED, STARTED, FAILED.model_copy(update=why))
    await status.passes(10)
    body = status.comment.body
    assert body.startswith("**The agent was stopped: it has used what it might of its group's")
    assert "> BudgetUsedUp: it has used $11.50, and might use $10.00" in body
    assert "goes on from what was kept" in body


async def test_a_job_that_was_recorded_only_is_no_success(status: StatusWorld) -> None:
    recorded = JobRecorded(**JOB, ended_at=AT, reason="this machine has no command agent")
    await status.tell(QUEUED, recorded)
    await status.passes(10)
    assert status.comment.body.startswith("**Recorded only: this machine cannot run the agent")
    assert "> this machine has no command agent" in status.comment.body


async def test_links_lead_to_the_console_where_its_url_is_known(status: StatusWorld) -> None:
    await status.tell(QUEUED)
    assert "| Job | `execute-1` |" in status.comment.body
    status.deploy(CONSOLE_URL="https://console.example.org/")
    await status.tell(STARTED)
    await status.passes(10)
    page = "https://console.example.org/jobs/execute-1"
    assert f"`execute-1` ([console]({page}), [log]({page}#panel-log)) |" in status.comment.body


async def test_the_same_comment_is_edited_no_more_than_once_in_ten_seconds(
    status: StatusWorld,
) -> None:
    await status.tell(QUEUED, STARTED, SUCCEEDED)
    assert len(status.comment.edits) == 1, "what came within ten seconds waits"
    status.github.requests.clear()
    await status.passes(10)
    assert len(status.comment.edits) == 2
    assert [one.split()[0] for one in status.github.requests] == ["PATCH"], "one request an edit"
    await status.tell(DELIVERED)
    await status.passes(60)

    assert len(status.comment.edits) == 3
    assert status.comment.body.startswith("**Draft pull request #57 is ready for review.**")
    assert "14 turns, $0.42" in status.comment.body
    await status.passes(60)
    assert len(status.comment.edits) == 3, "nothing has changed"


async def test_events_in_any_order_and_twice_end_in_the_same_text(status: StatusWorld) -> None:
    await status.tell(DELIVERED, SUCCEEDED, STARTED, QUEUED)
    await status.passes(10)
    first = status.comment.body
    await status.tell(QUEUED, STARTED, SUCCEEDED, DELIVERED)
    await status.passes(60)
    assert status.comment.body == first
    assert "#57" in first
    assert len(status.comments) == 1


async def test_what_was_refused_is_reported_with_the_reason(status: StatusWorld) -> None:
    await status.tell(QUEUED, REFUSED)
    await status.passes(10)
    body = status.comment.body
    assert "breaks the rules of its route" in body
    assert "- .github/workflows/x: no" in body
    assert "What it has done is kept." in body


async def test_what_the_network_refused_is_reported_beside_what_came_of_it(
    status: StatusWorld,
) -> None:
    blocked = ["*.evil.example:443 (2 times)"]
    await status.tell(QUEUED, SUCCEEDED.model_copy(update={"blocked": blocked}), DELIVERED)
    await status.passes(10)
    assert "Draft pull request #57" in status.comment.body
    assert "Its network refused `*.evil.example:443 (2 times)`." in status.comment.body


async def test_a_failure_mentions_no_user_and_says_what_to_do(status: StatusWorld) -> None:
    await status.tell(QUEUED, FAILED)
    await status.passes(10)
    assert "> DeadlineExceeded: too long, @\u200boctocat" in status.comment.body
    assert "or set the label again" in status.comment.body


@pytest.mark.parametrize(
    ("changes", "headline", "quoted", "advice"),
    [
        (
            {"pod_reason": "Evicted", "message": "Evicted: The node was low on resource: memory."},
            "The agent was stopped: its node ran short of memory or disk.",
            "> BackoffLimitExceeded: Evicted: The node was low on resource",
            "`/agent retry` goes on from what was kept of its work.",
        ),
        (
            {"pod_reason": "DeletionByTaintManager", "message": "DeletionByTaintManager: gone"},
            "The agent was stopped: its node is gone or ill.",
            "gone",
            "`/agent retry` goes on",
        ),
        (
            {"container": "setup", "message": "container setup, exit code 127: npm: not found"},
            "The route's setup command failed, so no agent has started.",
            "npm: not found",
            "Correct the route's `setup`",
        ),
    ],
)
@pytest.mark.parametrize("reported", [None, "lost", "no_outputs"])
async def test_why_an_agent_was_stopped_stands_there_with_what_to_do(
    status: StatusWorld,
    changes: dict[str, str],
    headline: str,
    quoted: str,
    advice: str,
    reported: UndeliveredReason | None,
) -> None:
    facts: list[Event] = [
        QUEUED,
        FAILED.model_copy(update={"reason": "BackoffLimitExceeded", **changes}),
    ]
    if reported:
        facts.append(REFUSED.model_copy(update={"reason": reported, "details": []}))
    await status.tell(*facts)
    await status.passes(10)
    body = status.comment.body
    assert body.startswith(f"**{headline}**")
    assert quoted in body
    assert advice in body


async def test_a_comment_that_a_user_deleted_stays_deleted(status: StatusWorld) -> None:
    await status.tell(QUEUED)
    status.github.conversation.delete(status.comment)
    await status.tell(STARTED)
    await status.passes(60)
    await status.tell(SUCCEEDED, DELIVERED)
    await status.passes(60)
    assert status.comments == []


async def test_while_github_is_away_nothing_is_lost_and_all_is_written_once(
    status: StatusWorld,
) -> None:
    status.cluster.down.add("api")
    await status.tell(QUEUED, STARTED)
    for _ in range(10):
        await status.passes(60)
    status.cluster.down.clear()
    status.github.refuses(2, 429, {"retry-after": "120"})
    for _ in range(4):
        await status.passes(60)
    await status.tell(SUCCEEDED, DELIVERED)
    await status.passes(60)

    assert status.comment.edits[-1].startswith("**Draft pull request #57")
    assert len(status.comments) == 1


async def test_a_process_that_died_after_commenting_makes_no_second_comment(
    status: StatusWorld,
) -> None:
    """Its comment is found by its mark: GitHub made it, the answer was lost."""
    status.github.lose_answer_of = "/comments"
    await status.tell(QUEUED)
    assert len(status.comments) == 1
    status.deploy()
    await status.tell(STARTED)
    await status.passes(60)
    assert len(status.comments) == 1
    assert "is working on this" in status.comment.body


async def test_a_second_job_is_shown_above_the_first(status: StatusWorld) -> None:
    await status.tell(QUEUED, FAILED)
    again = QUEUED.model_copy(update={"job_id": "execute-2"})
    await status.tell(again)
    await status.passes(10)
    head, _, before = status.comment.body.partition("Before:")
    assert head.startswith("**An agent is queued")
    assert "`execute-1`: The agent failed." in before


async def test_what_was_not_started_is_reported_with_a_reaction_and_a_line(
    status: StatusWorld,
) -> None:
    conversation = status.github.conversation
    command = Comment(99, REPOSITORY, 1, "stranger", ["/agent review"])
    conversation.comments[command.id] = command
    await status.tell(STRANGER.model_copy(update={"comment": command.id}), STRANGER)
    _, comment = status.comments
    assert comment.body.startswith("**No agent works on this.**")
    assert (
        "- /agent review by stranger: not started: actor is read, not write or more" in comment.body
    )
    reactions = conversation.reactions
    assert reactions == [(f"/repos/{REPOSITORY}/issues/comments/99/reactions", "confused")]
    await status.tell(QUEUED)
    await status.passes(60)
    assert comment.body.startswith("**An agent is queued for this.**")
    assert "by stranger: not started: actor is read" in comment.body
    assert [content for _, content in reactions] == ["confused", "eyes"]


async def test_a_label_that_was_refused_has_its_reaction_on_the_issue(status: StatusWorld) -> None:
    await status.tell(STRANGER.model_copy(update={"asked": "label agent"}))
    assert status.github.conversation.reactions == [
        (f"/repos/{REPOSITORY}/issues/1/reactions", "confused")
    ]


async def test_a_command_is_answered_in_the_comment_also_where_a_user_deleted_it(
    status: StatusWorld,
) -> None:
    conversation = status.github.conversation
    await status.tell(QUEUED, STARTED)
    await status.passes(10)
    conversation.delete(status.comment)
    await status.tell(FAILED)
    await status.passes(10)
    assert status.comments == []
    await status.tell(ANSWERED)
    await status.passes(10)
    assert status.comment.body.startswith("**The agent failed.**")
    assert "- /agent why by octocat: it is failed" in status.comment.body
    assert (f"/repos/{REPOSITORY}/issues/1/reactions", "+1") in conversation.reactions


@pytest.mark.parametrize("text", ["<!-- dsm status {route} -->", "**Working** {mark}"])
async def test_a_stranger_who_writes_our_mark_does_not_capture_the_comment(
    status: StatusWorld, text: str
) -> None:
    """A second attempt looks for its own comment, not for anybody's."""
    conversation = status.github.conversation
    mark = f"<!-- dsm status {JOB['route']} -->"
    foreign = Comment(98, REPOSITORY, 1, "stranger", [text.format(route=JOB["route"], mark=mark)])
    conversation.comments[foreign.id] = foreign
    status.github.refuses(0, 502, {})
    await status.tell(QUEUED)
    for _ in range(3):
        await status.passes(60)
    assert len(foreign.edits) == 1
    assert [one.author for one in status.comments] == ["stranger", conversation.bot]


async def test_the_comment_of_a_token_is_known_by_its_user(status: StatusWorld) -> None:
    conversation = status.github.conversation
    mark = f"<!-- dsm status {JOB['route']} -->"
    conversation.comments[98] = Comment(98, REPOSITORY, 1, "stranger", [mark])
    database = status.environ["DATABASE_URL"]
    status.environ = {"DATABASE_URL": database, "GITHUB_TOKEN": status.github.token}
    status.deploy()
    status.github.lose_answer_of = "/comments"
    await status.tell(QUEUED)
    for _ in range(3):
        await status.passes(60)
    await status.tell(STARTED)
    await status.passes(60)
    assert [one.author for one in status.comments] == ["stranger", conversation.user]
    assert "is working on this" in status.comments[1].body
    assert status.github.requests.count("GET /user") == 1


async def test_outputs_that_come_late_replace_that_they_were_lost(status: StatusWorld) -> None:
    """In whatever order, and however often."""
    lost = REFUSED.model_copy(update={"reason": "lost", "details": [], "kept": False})
    later = {"settled_at": AT + timedelta(minutes=1), "usage": AgentUsage(cost_usd=0.42)}
    refused = REFUSED.model_copy(update=later)
    await status.tell(QUEUED, FAILED, lost, refused, lost)
    await status.passes(10)
    assert "breaks the rules of its route" in status.comment.body
    assert "$0.42" in status.comment.body
    await status.tell(lost.model_copy(update={"settled_at": AT + timedelta(seconds=1)}))
    await status.passes(10)
    assert "breaks the rules of its route" in status.comment.body


async def test_a_command_has_its_reaction_where_the_comment_is_deleted(
    status: StatusWorld,
) -> None:
    conversation = status.github.conversation
    await status.tell(QUEUED)
    conversation.delete(status.comment)
    await status.tell(STARTED)
    await status.passes(60)
    stop = ANSWERED.model_copy(update={"asked": "/agent stop"})
    status_again = STRANGER.model_copy(
        update={"asked": "/agent status", "refused_at": AT + timedelta(seconds=1)}
    )
    await status.tell(stop, status_again)
    await status.passes(60)
    reactions = [content for _, content in conversation.reactions]
    assert reactions == ["eyes", "+1", "confused"]
    assert status.comments == [], "only who may asks for it again"


async def test_a_wish_that_comes_while_the_comment_is_found_deleted_is_kept(
    status: StatusWorld, status_database: str
) -> None:
    await status.tell(QUEUED)
    status.github.conversation.delete(status.comment)
    app = status.cluster.apps["api"]
    wished = False

    async def asking_meanwhile(scope: Any, receive: Any, send: Any) -> None:
        nonlocal wished
        if scope.get("method") == "PATCH" and not wished:
            wished = True
            # As another process stores it.
            connection = await asyncpg.connect(status_database)
            await connection.execute(
                """UPDATE status_thread SET replies = $1::jsonb, version = version + 1,
                       pressing_version = version + 1, comment_deleted = false""",
                json.dumps(decide.replied([], ANSWERED)),
            )
            await connection.close()
        await app(scope, receive, send)

    status.cluster.add("api", asking_meanwhile)
    await status.tell(STARTED)
    for _ in range(3):
        await status.passes(60)
    assert wished
    assert "- /agent why by octocat: it is failed" in status.comment.body


async def test_what_is_about_no_issue_is_ignored(status: StatusWorld) -> None:
    await status.tell(QUEUED.model_copy(update={"issue": None}))
    assert status.github.requests == []


async def test_without_credentials_nothing_is_asked(status: StatusWorld) -> None:
    status.cluster.deploy(agent_status, {"DATABASE_URL": status.environ["DATABASE_URL"]})
    await status.tell(QUEUED)
    assert status.github.requests == []


ASKED = ApprovalRequested(
    **PLACE,
    before="outputs",
    expires_at=AT,
    wants=["a draft pull request: Keep it, @octocat"],
    commits=2,
    file_count=30,
    files=[
        ChangedFile(path="src/a.py", additions=3, deletions=1),
        ChangedFile(path="logo.png"),
    ],
    usage=AgentUsage(cost_usd=0.42),
    summary="Fixed the slice.",
)
DECIDED = ApprovalDecided(
    **PLACE, before="outputs", decision="approved", by="octocat", decided_at=AT
)


async def test_what_waits_for_approval_is_shown_with_its_diffstat(status: StatusWorld) -> None:
    await status.tell(QUEUED, STARTED, SUCCEEDED, ASKED, ASKED)
    await status.passes(10)
    body = status.comment.body
    assert body.startswith("**The agent has ended; what it has made waits for approval.**")
    assert "- a draft pull request: Keep it, @\u200boctocat" in body
    assert "2 commit(s) to 30 file(s), +3 -1:" in body
    assert "| `src/a.py` | 3 | 1 |" in body
    assert "| `logo.png` | binary | binary |" in body
    assert "and 28 more" in body
    assert "`/agent approve`, or `/agent reject`" in body
    assert "2026-03-02 14:00:00 UTC" in body
    assert "$0.42" in body
    await status.tell(DECIDED, DELIVERED)
    await status.passes(60)
    assert status.comment.body.startswith("**Draft pull request #57")
    assert "Approved by octocat." in status.comment.body
    assert "/agent approve" not in status.comment.body


async def test_a_decision_that_overtakes_its_request_leaves_nothing_to_approve(
    status: StatusWorld,
) -> None:
    await status.tell(DECIDED, ASKED, SUCCEEDED, STARTED, QUEUED)
    await status.passes(10)
    assert status.comment.body.startswith("**The agent has ended.**")


async def test_a_budget_that_holds_or_is_nearly_used_is_a_line(status: StatusWorld) -> None:
    held = JobHeld(**JOB, reason="the budget of group shop is used up", until=AT)
    warned = BudgetWarned(
        **{**JOB, "group": "shop"}, unit="usd", used=8.5, limit=10, day_ends_at=AT
    )
    await status.tell(held, held, QUEUED)
    await status.passes(10)
    assert "> the budget of group shop is used up" in status.comment.body
    await status.tell(STARTED, warned, warned)
    await status.passes(60)
    assert "the budget of group shop is used up" not in status.comment.body
    line = "85 % of the budget of group shop (usd) are used, until 2026-03-02 14:00:00 UTC."
    assert line in status.comment.body


async def test_a_start_that_waits_says_how_to_approve_it(status: StatusWorld) -> None:
    start = ApprovalRequested(**PLACE, before="start", expires_at=AT)
    await status.tell(start, QUEUED)
    await status.passes(10)
    assert status.comment.body.startswith("**An agent waits for approval before it starts.**")
    await status.tell(DECIDED.model_copy(update={"before": "start"}))
    await status.passes(10)
    assert status.comment.body.startswith("**An agent is queued for this.**")
