"""What an agent keeps for its next run: it comes back with its work, and goes nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from functions.agent_pod import state
from tests.function.agents.test_agent_kept import failed, tell
from tests.support.agent_world import CHANGED, REPOSITORY, WANTED, AgentWorld, Pod

SESSION = "projects/-workspace-repository/0b7f.jsonl"


async def working(agents: AgentWorld) -> Pod:
    pod = await agents.pod()
    await pod.prepare()
    pod.places.session.write_text("0b7f")
    return pod


def keeps(pod: Pod, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = pod.places.state / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


async def retried(agents: AgentWorld, pod: Pod) -> Pod:
    """The pod of a retry, after the first one is lost."""
    await pod.checkpoint()
    await tell(agents, failed(pod, agents))
    await agents.minute(3)
    again = await agents.pod("job-2", resume=True)
    await again.prepare()
    return again


def kept(pod: Pod) -> dict[str, str]:
    found = [one for one in pod.places.state.rglob("*") if one.is_file()]
    return {str(one.relative_to(pod.places.state)): one.read_text() for one in found}


async def test_it_comes_back_with_the_session_and_the_work(agents: AgentWorld) -> None:
    pod = await working(agents)
    pod.commit(CHANGED)
    keeps(pod, {SESSION: '{"a": 1}\n', "gone.txt": "x"})
    await pod.checkpoint()
    (pod.places.state / "gone.txt").unlink()
    keeps(pod, {SESSION: '{"a": 1}\n{"b": 2}\n'})
    again = await retried(agents, pod)
    assert kept(again) == {SESSION: '{"a": 1}\n{"b": 2}\n'}
    assert again.places.session.read_text() == "0b7f"
    assert (again.places.repository / "src/basket.py").read_text() == CHANGED["src/basket.py"]
    assert again.git("status", "--porcelain") == ""

    again.says(WANTED)
    await again.collect()
    [pull] = agents.pulls
    assert "0b7f" not in agents.github.git.diff(REPOSITORY, "main", pull.head), "never pushed"


async def test_it_comes_back_where_there_is_no_work_yet(agents: AgentWorld) -> None:
    pod = await working(agents)
    keeps(pod, {SESSION: "{}\n"})
    again = await retried(agents, pod)
    assert kept(again) == {SESSION: "{}\n"}
    assert again.git("log", "--format=%s") == pod.git("log", "--format=%s")


async def test_what_looks_like_a_key_is_left_out(agents: AgentWorld) -> None:
    pod = await working(agents)
    keeps(pod, {SESSION: "{}\n", "env.txt": "KEY=AKIAIOSFODNN7EXAMPLE\n"})
    assert kept(await retried(agents, pod)) == {SESSION: "{}\n"}


@pytest.mark.parametrize("of_what", ["bytes", "files"])
async def test_too_much_of_it_costs_no_work(agents: AgentWorld, of_what: str) -> None:
    pod = await working(agents)
    pod.commit(CHANGED)
    many = {f"{number}.txt": "x" for number in range(state.MAX_FILES + 1)}
    keeps(pod, {"large": "x" * (state.MAX_BYTES + 1)} if of_what == "bytes" else many)
    again = await retried(agents, pod)
    assert kept(again) == {}
    assert (again.places.repository / "src/basket.py").read_text() == CHANGED["src/basket.py"]


@pytest.mark.parametrize("place", ["the folder", "a folder in it", "a file in it", "a repository"])
async def test_nothing_is_read_through_what_an_agent_puts_there(
    agents: AgentWorld, place: str
) -> None:
    """The grant is beside it, for the sidecar alone."""
    pod = await working(agents)
    pod.commit(CHANGED)
    beside: Path = pod.places.grant.parent
    if place == "the folder":
        pod.places.state.rmdir()
        pod.places.state.symlink_to(beside)
    elif place == "a folder in it":
        (pod.places.state / "more").symlink_to(beside)
    elif place == "a file in it":
        (pod.places.state / "grant").symlink_to(pod.places.grant)
    else:
        keeps(pod, {".git/config": "[core]\n\tfsmonitor = touch /tmp/ran\n", "sub/.git/HEAD": "x"})
    again = await retried(agents, pod)
    assert kept(again) == {}
    assert (again.places.repository / "src/basket.py").read_text() == CHANGED["src/basket.py"]
