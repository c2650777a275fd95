"""What an agent has done is kept while it works, and counts where its pod is lost."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from functions.agent_outputs import tables
from functions.agent_pod.environment import Failure
from functions.agent_pod.work import MAX_BUNDLE_BYTES, MAX_FILE_BYTES
from functions.events.agent import AgentUndelivered
from functions.events.job import JobCancelled, JobFailed, JobSucceeded
from functions.job_grant import signed
from functions.kit.durable import Store
from functions.kit.settings import DatabaseSettings
from tests.support import eventually
from tests.support.agent_world import CHANGED, KEY, REPOSITORY, WANTED, AgentWorld, Pod

ENDED = "Evicted: The node was low on resource: memory."


def fields_of(pod: Pod) -> dict[str, Any]:
    grant = pod.grant
    return {
        "job_id": grant.job_id,
        "kind": "execute",
        "task_id": grant.task_id,
        "service": "shop",
        "group": "",
        "route": grant.route,
        "repository": grant.repository,
        "issue": grant.issue,
        "gives_outputs": True,
    }


def failed(pod: Pod, agents: AgentWorld, reason: str = "BackoffLimitExceeded") -> JobFailed:
    return JobFailed(**fields_of(pod), ended_at=agents.clock(), reason=reason, message=ENDED)


async def tell(agents: AgentWorld, event: JobFailed | JobSucceeded | JobCancelled) -> None:
    answer = await agents.cluster.tell("agent-outputs", event)
    assert answer.status_code == 202, answer.text


async def bundle(agents: AgentWorld, job: str = "job-1") -> int:
    async with agents.cluster.client("agent-outputs") as client:
        return len((await client.get(f"/outputs/{job}/bundle")).content)


async def test_a_lost_pod_leaves_what_it_had_done_a_minute_before(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.write({"src/half.py": "half = 1\n"})
    pod.places.session.write_text("session-7\n")
    await pod.checkpoint()
    await tell(agents, failed(pod, agents))
    assert agents.emitted() == [], "it may be about to post"
    await agents.minute(3)

    [fact] = agents.emitted()
    assert (fact["type"], fact["reason"], fact["kept"]) == ("undelivered", "lost", True)
    assert fact["details"] == [f"BackoffLimitExceeded: {ENDED}"]
    assert fact["usage"]["session"] == "session-7"
    kept = agents.folder / "kept.bundle"
    async with agents.cluster.client("agent-outputs") as client:
        kept.write_bytes((await client.get("/outputs/job-1/bundle")).content)
    pod.git("fetch", "--quiet", str(kept), "refs/heads/uncommitted")
    assert pod.git("show", "FETCH_HEAD:src/half.py") == "half = 1"
    assert agents.pulls == []


async def test_only_what_is_new_is_posted(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    posted: list[str] = []
    app = agents.cluster.apps["agent-outputs"]

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        posted.append(scope.get("path", ""))
        await app(scope, receive, send)

    agents.cluster.add("agent-outputs", counting)
    await pod.checkpoint()
    assert posted == [], "there is nothing yet"
    pod.write({"src/half.py": "half = 1\n"})
    for _ in range(3):
        await pod.checkpoint()
    assert posted == ["/jobs/job-1/checkpoint"]
    pod.write({"src/half.py": "half = 2\n"})
    await pod.checkpoint()
    assert len(posted) == 2


def uses(pod: Pod, **usage: float) -> None:
    pod.places.usage.parent.mkdir(parents=True, exist_ok=True)
    pod.places.usage.write_text(json.dumps(usage))


async def test_what_an_agent_uses_is_reported_while_it_works_and_of_a_lost_pod(
    agents: AgentWorld,
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.write(CHANGED)
    uses(pod, turns=1, cost_usd=0.25)
    for _ in range(3):
        await pod.checkpoint()
    await agents.cluster.relayed()
    assert [fact["usage"]["cost_usd"] for fact in agents.emitted()] == [0.25], "once"
    kept = await size_of_checkpoint(agents)
    uses(pod, turns=4, cost_usd=1.5)
    await pod.checkpoint()
    await agents.cluster.relayed()
    assert await size_of_checkpoint(agents) == kept, "its work is kept, without a second post"
    await tell(agents, failed(pod, agents))
    await agents.minute(3)

    _, second, lost = await emitted(agents, "used", "used", "undelivered")
    assert second["usage"]["turns"] == 4
    assert (lost["reason"], lost["kept"], lost["usage"]["cost_usd"]) == ("lost", True, 1.5)


async def emitted(agents: AgentWorld, *types: str) -> list[dict[str, Any]]:
    """Wait until what was emitted is this, in this order."""

    async def is_it() -> bool:
        return [fact["type"] for fact in agents.emitted()] == list(types)

    await eventually(is_it)
    return agents.emitted()


async def size_of_checkpoint(agents: AgentWorld) -> int:
    connection = await asyncpg.connect(agents.environ["DATABASE_URL"])
    size: int = await connection.fetchval(
        "SELECT length(content) FROM agent_artifact JOIN agent_checkpoint ON name = artifact"
    )
    await connection.close()
    return size


async def test_what_a_failed_agent_has_used_is_read_at_its_end(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    uses(pod, cost_usd=0.75, input_tokens=100)
    for _ in range(2):
        await pod.collect()
    used, fact = await emitted(agents, "used", "undelivered")
    assert used["usage"]["cost_usd"] == 0.75, "whatever comes of its outputs, and when"
    assert (fact["reason"], fact["usage"]["cost_usd"]) == ("no_outputs", 0.75)


async def test_outputs_hide_nothing_of_what_the_usage_file_has(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    uses(pod, cost_usd=5.0)
    pod.says({"nothing_to_do": "It is fixed.", "usage": {"cost_usd": 0.01, "turns": 2}})
    await pod.collect()
    _, fact = await emitted(agents, "used", "undelivered")
    assert (fact["usage"]["cost_usd"], fact["usage"]["turns"]) == (5.0, 2)


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ("", {"input_tokens": 700, "output_tokens": 50}),
        ('{"cost_usd": "none"}', {"input_tokens": 700, "output_tokens": 50}),
        (
            '{"cost_usd": 0.5, "input_tokens": 1, "output_tokens": 60}',
            {"cost_usd": 0.5, "input_tokens": 700, "output_tokens": 60},
        ),
    ],
)
async def test_tokens_are_those_that_the_models_sidecar_has_counted(
    agents: AgentWorld, reported: str, expected: dict[str, float]
) -> None:
    """Where the agent reports no more: one that a text has steered may report nothing."""
    pod = await agents.pod()
    await pod.prepare()
    counted = pod.places.collected / "model-usage.json"
    counted.write_text('{"input_tokens": 700, "output_tokens": 50}')
    pod.places = replace(pod.places, model_usage=counted)
    pod.places.usage.parent.mkdir(parents=True, exist_ok=True)
    pod.places.usage.write_text(reported)
    await pod.checkpoint()
    await agents.cluster.relayed()
    [fact] = agents.emitted()
    assert {name: count for name, count in fact["usage"].items() if count} == expected


async def test_a_repository_that_is_broken_hides_nothing_of_what_is_used(
    agents: AgentWorld,
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    head = pod.places.repository / ".git" / "HEAD"
    head.write_text("a" * 40 + "\n")
    uses(pod, cost_usd=2.0)
    await pod.checkpoint()
    await agents.cluster.relayed()
    assert [fact["usage"]["cost_usd"] for fact in agents.emitted()] == [2.0]


async def test_a_usage_file_that_does_not_fit_costs_no_work(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.write(CHANGED)
    for text in ("no JSON", '{"cost_usd": -1}', '{"cost_usd": "NaN"}', "x" * 20_000):
        pod.places.usage.write_text(text)
        await pod.checkpoint()
    assert await size_of_checkpoint(agents) > 0
    await agents.cluster.relayed()
    assert agents.emitted() == []


async def test_what_cannot_be_kept_is_kept_at_the_next_time(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.write(CHANGED)
    app = agents.cluster.apps["agent-outputs"]

    async def away(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    agents.cluster.add("agent-outputs", away)
    await pod.checkpoint()
    agents.cluster.add("agent-outputs", app)
    await pod.checkpoint()
    await tell(agents, failed(pod, agents))
    await agents.minute(3)
    assert [fact["kept"] for fact in agents.emitted()] == [True]


async def test_changes_that_do_not_fit_cost_no_commits(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit({"src/tax.py": "rate = 0.2\n"}, "Add the tax")
    for number in range(MAX_BUNDLE_BYTES // MAX_FILE_BYTES + 1):
        (pod.places.repository / f"{number}.bin").write_bytes(os.urandom(MAX_FILE_BYTES))
    await pod.collect()
    again = await agents.pod("job-2", resume=True)
    await again.prepare()
    assert again.git("log", "--format=%s", "-1") == "Add the tax"
    assert again.git("status", "--porcelain") == ""


async def test_a_large_file_that_is_committed_stays_and_one_that_is_not_is_named(
    agents: AgentWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    (pod.places.repository / "model.bin").write_bytes(os.urandom(MAX_FILE_BYTES + 1))
    pod.commit({}, "Add the model")
    pod.write({"src/half.py": "half = 1\n"})
    (pod.places.repository / "dump.bin").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    await pod.checkpoint()
    await pod.collect()
    named = [line for line in capsys.readouterr().out.splitlines() if "not kept of" in line]
    again = await agents.pod("job-2", resume=True)
    await again.prepare()
    assert named == [f"not kept of its work: 'dump.bin' has {MAX_FILE_BYTES + 1} bytes"]
    assert (again.places.repository / "model.bin").stat().st_size == MAX_FILE_BYTES + 1
    assert again.git("status", "--porcelain") == "?? src/half.py"


async def test_a_pipe_in_place_of_a_file_hides_nothing_of_the_rest(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED)
    for name in (pod.places.usage, pod.places.session):
        os.mkfifo(name)
    held = os.open(pod.places.usage, os.O_RDWR | os.O_NONBLOCK)
    await pod.checkpoint()
    await pod.collect()
    os.close(held)
    assert len(agents.pulls) == 1


async def test_a_field_of_a_newer_sidecar_is_left_out(agents: AgentWorld) -> None:
    pod = await agents.pod()
    body = {"usage": "", "of_the_future": 1}
    headers = {"authorization": f"Bearer {pod.places.grant.read_text()}"}
    async with agents.cluster.client("agent-outputs") as client:
        answer = await client.post("/jobs/job-1/checkpoint", json=body, headers=headers)
    assert answer.status_code == 202, answer.text


async def test_commits_that_cannot_be_posted_cost_none_of_the_minute_before(
    agents: AgentWorld,
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit({"src/tax.py": "rate = 0.2\n"}, "Add the tax")
    await pod.checkpoint()
    for number in range(MAX_BUNDLE_BYTES // MAX_FILE_BYTES + 1):
        (pod.places.repository / f"{number}.bin").write_bytes(os.urandom(MAX_FILE_BYTES))
    pod.commit({}, "Add what is too large")
    pod.says(WANTED)
    await pod.collect()
    [fact] = agents.emitted()
    assert (fact["type"], fact["reason"], fact["kept"]) == ("undelivered", "no_commits", True)
    assert any("the commits are" in one for one in fact["details"]), fact["details"]
    assert agents.pulls == [], "what the outputs are about is not what is kept"
    again = await agents.pod("job-2", resume=True)
    await again.prepare()
    assert again.git("log", "--format=%s", "-1") == "Add the tax"


async def test_what_a_process_of_the_version_before_has_kept_is_work(
    agents: AgentWorld, outputs_database: str
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    await pod.collect()
    connection = await asyncpg.connect(outputs_database)
    await connection.execute("UPDATE agent_output SET has_work = NULL")
    await connection.close()
    async with agents.cluster.client("agent-outputs") as client:
        assert (await client.get("/outputs/job-1")).json()["has_work"] is True


async def test_what_is_posted_at_the_end_counts_and_not_the_minute_before(
    agents: AgentWorld,
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.write({"src/half.py": "half = 1\n"})
    await pod.checkpoint()
    (pod.places.repository / "src/half.py").unlink()
    pod.commit(CHANGED)
    pod.says(WANTED)
    await pod.collect()
    await tell(
        agents, JobSucceeded(**fields_of(pod), started_at=agents.clock(), ended_at=agents.clock())
    )
    await agents.minute(3)

    [fact] = agents.emitted()
    assert (fact["type"], fact["files"]) == ("delivered", ["src/basket.py"])


async def test_outputs_that_come_after_their_pod_was_given_up_are_applied(
    agents: AgentWorld,
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED)
    await tell(agents, failed(pod, agents, "DeadlineExceeded"))
    await agents.minute(3)
    for _ in range(2):
        await pod.collect()

    assert [fact.get("reason") for fact in agents.emitted()] == ["lost", None]
    [pull] = agents.pulls
    assert agents.emitted()[1]["pull_request"] == pull.number


async def test_outputs_that_come_while_their_job_is_given_up_are_applied(
    agents: AgentWorld,
) -> None:
    """A process has read that nothing was posted; the post comes before it has settled that."""
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED)
    await tell(agents, failed(pod, agents))
    agents.clock.passes(minutes=3)
    store = Store(DatabaseSettings.read(agents.environ))
    async with store.transaction() as tx:
        read = await tables.lease(tx, agents.clock(), 60)
    assert read is not None
    await pod.collect()
    async with store.transaction() as tx:
        given_up = await tables.settle(tx, read, "undelivered", {}, agents.clock())
    await tables.keep(store, read, 0)
    await store.close()
    assert not given_up
    await agents.minute()
    assert [fact["type"] for fact in agents.emitted()] == ["delivered"]


async def test_outputs_and_the_end_of_their_job_wait_for_each_other_once(
    agents: AgentWorld,
) -> None:
    """Both lock what is kept and what has come, in the same order: otherwise it is a deadlock."""
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    await pod.checkpoint()
    held, watching = [await asyncpg.connect(agents.environ["DATABASE_URL"]) for _ in range(2)]
    holding = held.transaction()
    await holding.start()
    await held.execute("SELECT FROM agent_checkpoint FOR UPDATE")

    async def wait(count: int) -> None:
        async def are_waiting() -> bool:
            found: int = await watching.fetchval(
                """SELECT count(*) FROM pg_stat_activity
                   WHERE wait_event_type = 'Lock' AND datname = current_database()"""
            )
            return found == count

        await eventually(are_waiting)

    grant = {"authorization": f"Bearer {pod.places.grant.read_text()}"}
    async with agents.cluster.client("agent-outputs") as client:
        posted = asyncio.create_task(
            client.post("/jobs/job-1/outputs", json={"outputs": None}, headers=grant)
        )
        await wait(1)
        ended = asyncio.create_task(agents.cluster.tell("agent-outputs", failed(pod, agents)))
        await wait(2)
        await holding.rollback()
        answers = [await posted, await ended]
    for connection in (held, watching):
        await connection.close()
    assert [answer.status_code for answer in answers] == [202, 202], [a.text for a in answers]
    [fact] = await emitted(agents, "undelivered")
    assert fact["reason"] == "no_outputs", "what was posted counts"


async def test_a_grant_ends_with_its_job(agents: AgentWorld) -> None:
    """One of a Job in a queue is good for long."""
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED)
    now = agents.clock()
    pod.places.grant.write_text(signed(pod.grant, KEY, now, now + timedelta(days=30)))
    await tell(agents, failed(pod, agents))
    agents.clock.passes(hours=7)
    with pytest.raises(Failure, match="its grant is over"):
        await pod.collect()
    assert agents.pulls == []


async def test_that_late_outputs_come_to_nothing_is_a_fact_of_its_own(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.says({"nothing_to_do": "It is fixed."})
    await tell(agents, failed(pod, agents, "DeadlineExceeded"))
    await agents.minute(3)
    agents.clock.passes(seconds=1)
    await pod.collect()

    assert [fact["reason"] for fact in agents.emitted()] == ["lost", "nothing_to_do"]
    facts = [AgentUndelivered.model_validate(fact) for fact in agents.emitted()]
    assert len({fact.identity() for fact in facts}) == 2, "consumers take both"


async def test_a_job_that_never_ran_or_gives_no_outputs_leaves_nothing(agents: AgentWorld) -> None:
    pod = await agents.pod()
    at = agents.clock()
    await tell(agents, failed(pod, agents, "NotStarted"))
    await tell(agents, JobCancelled(**fields_of(pod), ended_at=at, reason="by a user"))
    plain = {**fields_of(pod), "job_id": "job-2", "gives_outputs": False}
    await tell(agents, JobSucceeded(**plain, started_at=at, ended_at=at))
    await agents.minute(3)
    assert agents.emitted() == []


@pytest.mark.parametrize("reason", ["cancelled", "NotStarted"])
async def test_the_grant_of_a_job_of_which_nothing_is_reported_ends_with_it(
    agents: AgentWorld, reason: str
) -> None:
    pod = await agents.pod()
    at = agents.clock()
    cancelled = JobCancelled(**fields_of(pod), ended_at=at, reason="by a user")
    await tell(agents, cancelled if reason == "cancelled" else failed(pod, agents, reason))
    await agents.minute(3)
    assert agents.emitted() == []
    grant = {"authorization": f"Bearer {pod.places.grant.read_text()}"}
    async with agents.cluster.client("agent-outputs") as client:
        refused = await client.post("/jobs/job-1/workspace", headers=grant)
        assert (refused.status_code, "it is over" in refused.text) == (401, True), refused.text
        assert (await client.get("/outputs")).json()["outputs"] == []
        assert (await client.get("/outputs/job-1")).status_code == 404


async def test_a_cancelled_job_keeps_what_it_had_done(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    await pod.checkpoint()
    await tell(agents, JobCancelled(**fields_of(pod), ended_at=agents.clock(), reason="by mona"))
    await agents.minute(3)

    [fact] = agents.emitted()
    assert (fact["reason"], fact["details"]) == ("lost", ["cancelled: by mona"])
    assert await bundle(agents) > 0


async def test_a_repository_that_the_agent_breaks_stops_no_later_checkpoint(
    agents: AgentWorld,
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    head = pod.places.repository / ".git" / "HEAD"
    good = head.read_text()
    head.write_text("ref: refs/heads/../../../etc/passwd\n")
    await pod.checkpoint()
    head.write_text(good)
    pod.write(CHANGED)
    await pod.checkpoint()
    await tell(agents, failed(pod, agents))
    await agents.minute(3)
    assert [fact["kept"] for fact in agents.emitted()] == [True]
    assert agents.github.git.branches(REPOSITORY) == ["main"]


async def stopped_halfway(agents: AgentWorld) -> Pod:
    """A pod that is gone after a commit, a change, a new and a deleted file, and its session."""
    pod = await agents.pod()
    await pod.prepare()
    pod.commit({"src/tax.py": "rate = 0.2\n"}, "Add the tax")
    pod.write({"src/half.py": "half = 1\n", **CHANGED})
    (pod.places.repository / "README.md").unlink()
    pod.places.session.write_text("session-7")
    await pod.checkpoint()
    await tell(agents, failed(pod, agents))
    await agents.minute(3)
    return pod


async def test_a_retry_goes_on_from_commits_and_changes_and_ends_in_one_pull_request(
    agents: AgentWorld,
) -> None:
    await stopped_halfway(agents)
    again = await agents.pod("job-2", resume=True)
    await again.prepare()

    folder = again.places.repository
    assert again.git("log", "--format=%s", "-1") == "Add the tax"
    assert (folder / "src/half.py").read_text() == "half = 1\n"
    assert (folder / "src/basket.py").read_text() == CHANGED["src/basket.py"]
    assert not (folder / "README.md").exists()
    changed = again.git("status", "--porcelain").splitlines()
    assert sorted(line.split()[-1] for line in changed) == [
        "README.md",
        "src/basket.py",
        "src/half.py",
    ]
    assert again.places.session.read_text() == "session-7"
    again.commit({"src/half.py": "half = 2\n"})
    again.says(WANTED)
    await again.collect()

    [pull] = agents.pulls
    fact = agents.emitted()[-1]
    assert (fact["pull_request"], fact["commits"]) == (pull.number, 2)
    assert fact["files"] == ["README.md", "src/basket.py", "src/half.py", "src/tax.py"]
    assert agents.github.git.file(REPOSITORY, "agent/1", "src/half.py") == "half = 2"


async def test_a_retry_that_is_stopped_before_it_does_anything_loses_nothing(
    agents: AgentWorld,
) -> None:
    await stopped_halfway(agents)
    second = await agents.pod("job-2", resume=True)
    await second.prepare()
    await second.collect()
    third = await agents.pod("job-3", resume=True)
    await third.prepare()
    assert third.git("log", "--format=%s", "-1") == "Add the tax"
    assert (third.places.repository / "src/half.py").read_text() == "half = 1\n"


async def test_a_new_label_begins_anew_and_so_does_a_retry_of_what_was_delivered(
    agents: AgentWorld,
) -> None:
    await stopped_halfway(agents)
    fresh = await agents.pod("job-2")
    await fresh.prepare()
    assert not (fresh.places.repository / "src/half.py").exists()
    fresh.commit({"src/fresh.py": "fresh = True\n"})
    fresh.says(WANTED)
    await fresh.collect()
    assert agents.emitted()[-1]["type"] == "delivered"

    again = await agents.pod("job-3", resume=True)
    await again.prepare()
    assert (again.places.repository / "src/fresh.py").exists()
    assert not (again.places.repository / "src/half.py").exists()


async def test_what_a_rule_refuses_is_not_gone_on_from(agents: AgentWorld) -> None:
    await (await agents.pod()).run({".github/workflows/x.yml": "on: push\n"})
    assert agents.emitted()[-1]["reason"] == "refused"
    again = await agents.pod("job-2", resume=True)
    await again.prepare()
    assert again.git("log", "--format=%s", "-1") != "Keep the last item"


async def test_kept_work_is_not_put_on_commits_of_others(agents: AgentWorld) -> None:
    await stopped_halfway(agents)
    await (await agents.pod("job-9", task_id=f"{REPOSITORY}#9")).run({"src/other.py": "x = 1\n"})
    again = await agents.pod("job-2", resume=True)
    await again.prepare()
    assert (again.places.repository / "src/other.py").exists()
    assert not (again.places.repository / "src/half.py").exists()
    assert again.places.session.read_text() == "session-7"


async def test_another_tasks_work_is_not_gone_on_from(agents: AgentWorld) -> None:
    await stopped_halfway(agents)
    other = await agents.pod("job-2", resume=True, task_id=f"{REPOSITORY}#2", branch="agent/2")
    await other.prepare()
    assert not (other.places.repository / "src/half.py").exists()
