"""Outputs that wait for a user's approval: nothing is applied before, and once after."""

from __future__ import annotations

from typing import Any

import pytest

from functions.events.approval import ApprovalDecided, Decision
from tests.support.agent_world import WANTED, AgentWorld, Pod

HOUR_S = 3600


async def decides(
    agents: AgentWorld, pod: Pod, decision: Decision = "approved", **given: Any
) -> None:
    grant = pod.grant
    fact = ApprovalDecided(
        job_id=grant.job_id,
        task_id=grant.task_id,
        route=grant.route,
        repository=grant.repository,
        issue=grant.issue,
        decision=decision,
        decided_at=agents.clock(),
        **{"before": "outputs", "by": "octocat", **given},
    )
    answer = await agents.cluster.tell("agent-outputs", fact)
    assert answer.status_code == 202, answer.text
    await agents.cluster.relayed()


async def state(agents: AgentWorld) -> str:
    async with agents.cluster.client("agent-outputs") as client:
        return str((await client.get("/outputs/job-1")).json()["state"])


async def test_nothing_is_applied_until_a_user_has_seen_the_diffstat(agents: AgentWorld) -> None:
    pod = await agents.pod(approval_s=HOUR_S)
    files = {"src/basket.py": "items = ['last']\n", "src/tax.py": "rate = 0.2\n", "logo": "\0"}
    asked = {**WANTED, "labels": ["agent:done"], "usage": {"turns": 3, "cost_usd": 0.5}}
    await pod.run(files, asked)
    for _ in range(2):
        await pod.collect()
        await agents.minute()

    [used, fact] = agents.emitted()
    assert (used["type"], fact["type"], fact["before"]) == ("used", "requested", "outputs")
    assert fact["wants"] == ["a draft pull request: Keep the last item", "labels: agent:done"]
    assert (fact["commits"], fact["file_count"]) == (1, 3)
    lines = {one["path"]: (one["additions"], one["deletions"]) for one in fact["files"]}
    assert lines == {"logo": (None, None), "src/basket.py": (1, 1), "src/tax.py": (1, 0)}
    assert fact["usage"]["cost_usd"] == 0.5
    assert fact["expires_at"] == "2026-03-02T15:00:00Z"
    assert await state(agents) == "waiting"
    assert agents.pulls == []
    assert agents.github.git.head("acme/shop", "agent/1") is None
    assert agents.github.issues["acme/shop"][1].labels == []

    for _ in range(2):
        await decides(agents, pod)
    await agents.minute()
    assert await state(agents) == "delivered"
    [pull] = agents.pulls
    assert pull.title == "Keep the last item"
    assert [fact["type"] for fact in agents.emitted()] == ["used", "requested", "delivered"]
    await decides(agents, pod, "rejected")
    assert await state(agents) == "delivered", "what was decided stays so"


@pytest.mark.parametrize(
    ("decision", "given", "why"),
    [
        ("rejected", {"reason": "tests fail"}, "rejected by octocat: tests fail"),
        ("expired", {"by": ""}, "no user approved it in time"),
    ],
)
async def test_what_is_not_approved_is_kept_and_never_applied(
    agents: AgentWorld, decision: Decision, given: dict[str, str], why: str
) -> None:
    pod = await agents.pod(approval_s=HOUR_S)
    await pod.run()
    for _ in range(2):
        await decides(agents, pod, decision, **given)
    await decides(agents, pod)
    await agents.minute()

    _, fact = agents.emitted()
    assert (fact["type"], fact["reason"], fact["details"]) == ("undelivered", "not_approved", [why])
    assert fact["kept"] is True
    assert agents.pulls == []
    async with agents.cluster.client("agent-outputs") as client:
        assert (await client.get("/outputs/job-1/bundle")).status_code == 200


async def test_the_approval_of_a_start_applies_no_outputs(agents: AgentWorld) -> None:
    pod = await agents.pod(approval_s=HOUR_S)
    await pod.run()
    await decides(agents, pod, before="start")
    assert await state(agents) == "waiting"


async def test_what_the_rules_refuse_is_not_put_to_a_user(agents: AgentWorld) -> None:
    pod = await agents.pod(approval_s=HOUR_S)
    await pod.run({".github/workflows/x.yml": "on: push\n"})
    [fact] = agents.emitted()
    assert (fact["type"], fact["reason"]) == ("undelivered", "refused")


async def test_nothing_to_do_needs_no_approval(agents: AgentWorld) -> None:
    pod = await agents.pod(approval_s=HOUR_S)
    await pod.prepare()
    pod.says({"nothing_to_do": "It is done."})
    await pod.collect()
    [fact] = agents.emitted()
    assert fact["reason"] == "nothing_to_do"


async def test_an_approval_while_github_is_away_is_not_lost(agents: AgentWorld) -> None:
    pod = await agents.pod(approval_s=HOUR_S)
    await pod.run()
    agents.cluster.down.add("api")
    await decides(agents, pod)
    agents.deploy()
    await agents.minute()
    assert agents.pulls == []
    agents.cluster.down.clear()
    await agents.minute(10)
    await agents.minute(10)
    assert len(agents.pulls) == 1


async def test_a_pod_gets_no_token_while_its_outputs_wait(agents: AgentWorld) -> None:
    pod = await agents.pod(approval_s=HOUR_S)
    await pod.run()
    grant = pod.places.grant.read_text()
    async with agents.cluster.client("agent-outputs") as client:
        headers = {"Authorization": f"Bearer {grant}"}
        answer = await client.post("/jobs/job-1/workspace", json={}, headers=headers)
    assert answer.status_code == 401
