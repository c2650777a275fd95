"""A Job's next pod goes on from what the one before has left; the Job has one outcome."""

from __future__ import annotations

import asyncio

import pytest

from functions.agent_outputs import tables
from functions.agent_pod.environment import Failure, post
from functions.kit.durable import Store
from functions.kit.settings import DatabaseSettings
from tests.function.agents.test_agent_kept import emitted, failed, tell, uses
from tests.support.agent_world import CHANGED, REPOSITORY, WANTED, AgentWorld, Pod


async def begun(agents: AgentWorld, *, may_restart: bool = True) -> Pod:
    """A pod in the middle of its work."""
    pod = await agents.pod(may_restart=may_restart)
    await pod.prepare()
    pod.commit({"src/tax.py": "rate = 0.2\n"}, "Add the tax")
    pod.write({"src/half.py": "half = 1\n"})
    pod.places.session.write_text("session-7")
    (pod.places.state / "notes").write_text("the half is left")
    return pod


async def next_pod(agents: AgentWorld, *, may_restart: bool = True) -> Pod:
    """The same Job's: it has the same grant."""
    pod = await agents.pod(may_restart=may_restart)
    await pod.prepare()
    return pod


def goes_on(pod: Pod) -> None:
    assert pod.git("log", "--format=%s", "-1") == "Add the tax"
    assert (pod.places.repository / "src/half.py").read_text() == "half = 1\n"
    assert pod.places.session.read_text() == "session-7"
    assert (pod.places.state / "notes").read_text() == "the half is left"


async def delivers(agents: AgentWorld, pod: Pod) -> None:
    pod.commit(CHANGED)
    pod.says(WANTED)
    await pod.collect()
    [fact] = await emitted(agents, "delivered")
    assert fact["files"] == ["src/basket.py", "src/half.py", "src/tax.py"]
    assert len(agents.pulls) == 1


async def test_a_pod_that_was_preempted_is_gone_on_from(agents: AgentWorld) -> None:
    """More than once, and also where one has done nothing."""
    await (await begun(agents)).collect()
    for _ in range(2):
        pod = await next_pod(agents)
        goes_on(pod)
        await agents.minute(10)
        await pod.collect()
    pod = await next_pod(agents)
    goes_on(pod)
    await pod.checkpoint()
    assert agents.emitted() == [], "the Job has not ended"
    await delivers(agents, pod)


@pytest.mark.parametrize("may_restart", [True, False])
async def test_a_pod_that_was_lost_is_gone_on_from(agents: AgentWorld, may_restart: bool) -> None:
    await (await begun(agents, may_restart=may_restart)).checkpoint()
    pod = await next_pod(agents, may_restart=may_restart)
    goes_on(pod)
    await delivers(agents, pod)


async def test_a_next_pod_that_cannot_be_prepared_costs_nothing(agents: AgentWorld) -> None:
    await (await begun(agents)).checkpoint()
    pod = await next_pod(agents)
    problem = {"prepared": False, "problems": ["git clone: GitHub is away"]}
    await asyncio.to_thread(post, pod.places, "outputs", problem, 60)
    assert agents.emitted() == [], "the Job has not ended"
    pod = await next_pod(agents)
    goes_on(pod)
    await delivers(agents, pod)


@pytest.mark.parametrize("comes", ["after", "before"])
async def test_without_a_next_pod_the_jobs_end_says_what_came_of_it(
    agents: AgentWorld, comes: str
) -> None:
    """What the last pod has left may come after the end of its Job is known."""
    pod = await begun(agents)
    if comes == "before":
        await pod.collect()
    await tell(agents, failed(pod, agents))
    if comes == "after":
        await pod.collect()
    [fact] = await emitted(agents, "undelivered")
    assert (fact["reason"], fact["kept"]) == ("no_outputs", True)
    with pytest.raises(Failure, match="it is over"):
        await next_pod(agents)


async def test_what_a_pod_without_a_workspace_leaves_replaces_the_one_before(
    agents: AgentWorld,
) -> None:
    """It asks for nothing when it begins."""
    pod = await agents.pod(may_restart=True, branch="")
    uses(pod, turns=1)
    await pod.collect()
    pod.says({"comment": "It is fixed."})
    await pod.collect()
    _, fact = await emitted(agents, "used", "delivered")
    assert fact["commented"]


async def test_what_a_job_has_used_is_the_sum_over_its_pods(agents: AgentWorld) -> None:
    """Each report counts once, also one that is repeated, or of a pod that was taken for lost."""
    first = await begun(agents)
    uses(first, turns=2, cost_usd=0.5)
    await first.checkpoint()
    second = await next_pod(agents)
    uses(second, turns=1, cost_usd=0.25)
    for _ in range(2):
        await second.checkpoint()
        uses(second, turns=1, cost_usd=0.125)  # its agent was started again
    uses(first, turns=3, cost_usd=0.625)
    for _ in range(2):
        await first.collect()
    second.commit(CHANGED)
    second.says({**WANTED, "usage": {"cost_usd": 0.375}})
    for _ in range(2):
        await second.collect()
    *used, delivered = await emitted(agents, "used", "used", "used", "used", "delivered")
    costs = [fact["usage"]["cost_usd"] for fact in (*used, delivered)]
    assert costs == [0.5, 0.75, 0.875, 1.0, 1.0]
    assert delivered["usage"]["turns"] == 4
    uses(first, cost_usd=0.75)
    await first.collect()
    late = (await emitted(agents, "used", "used", "used", "used", "delivered", "used"))[-1]
    assert late["usage"]["cost_usd"] == 1.125


async def test_outputs_are_final_whatever_pod_comes(agents: AgentWorld) -> None:
    pod = await begun(agents)
    pod.git("add", "--all")
    pod.git("commit", "--quiet", "-m", "Keep the last item")
    pod.says(WANTED)
    await pod.collect()
    assert [fact["type"] for fact in agents.emitted()] == ["delivered"]
    with pytest.raises(Failure, match="it is over"):
        await next_pod(agents)
    assert agents.github.git.branches(REPOSITORY) == ["agent/1", "main"]


async def test_what_waits_for_a_next_pod_is_no_backlog(agents: AgentWorld) -> None:
    pod = await begun(agents)
    await pod.collect()
    store = Store(DatabaseSettings.read(agents.environ))
    async with store.connection() as connection:
        now = agents.clock()
        assert await tables.count_waiting(connection, now) == (0, 0.0)
        count, _ = await tables.count_waiting(connection, now + tables.RESTARTS_WITHIN)
    await store.close()
    assert count == 1
