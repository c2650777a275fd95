"""What an agent keeps for its next run: it comes back with its work, and goes nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from functions.agent_pod import state
from functions.agent_pod.collect import STATE_EVERY
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
    for _ in range(STATE_EVERY):
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
    [fact] = agents.emitted()
    assert fact["kept"] is False, "no work"
    assert kept(again) == {SESSION: "{}\n"}
    assert again.git("log", "--format=%s") == pod.git("log", "--format=%s")


async def test_what_looks_like_a_key_is_left_out(agents: AgentWorld) -> None:
    pod = await working(agents)
    keeps(pod, {SESSION: "{}\n", "env.txt": "KEY=AKIAIOSFODNN7EXAMPLE\n"})
    assert kept(await retried(agents, pod)) == {SESSION: "{}\n"}


def written_at(pod: Pod, name: str, minute: int) -> None:
    os.utime(pod.places.state / name, (60 * minute, 60 * minute))


async def test_of_too_much_the_newest_files_are_kept_and_the_others_named(
    agents: AgentWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = await working(agents)
    pod.commit(CHANGED)
    sizes = {"old": 3_000_000, "large": state.MAX_BYTES + 1, "new": 4_000_000, "oldest": 5}
    keeps(pod, {name: "x" * size for name, size in sizes.items()})
    for minute, name in enumerate(("oldest", "old", "new", "large")):
        written_at(pod, name, minute)
    again = await retried(agents, pod)
    assert set(kept(again)) == {"new", "oldest"}
    assert (again.places.repository / "src/basket.py").read_text() == CHANGED["src/basket.py"]
    printed = capsys.readouterr().out
    assert "not kept of its state: 'large' has 5000001 bytes, 5000000 are left" in printed
    assert "not kept of its state: 'old' has 3000000 bytes, 1000000 are left" in printed


async def test_of_too_many_files_the_newest_are_kept(
    agents: AgentWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = await working(agents)
    keeps(pod, {f"{number}.txt": "x" for number in range(state.MAX_FILES + 2)})
    for name in ("0.txt", "7.txt"):
        written_at(pod, name, 0)
    found = kept(await retried(agents, pod))
    assert len(found) == state.MAX_FILES
    assert {"0.txt", "7.txt"}.isdisjoint(found)
    assert "the oldest of 1002 files: 1000 are kept" in capsys.readouterr().out


async def test_a_name_that_is_no_utf_8_is_kept_or_named(
    agents: AgentWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output takes no such text: neither does the one of a container."""
    pod = await working(agents)
    for name, text in ((b"caf\xe9", b"x"), (b"key \xe9", b"AKIAIOSFODNN7EXAMPLE")):
        (pod.places.state / os.fsdecode(name)).write_bytes(text)
    assert set(kept(await retried(agents, pod))) == {os.fsdecode(b"caf\xe9")}
    assert "not kept of its state: 'key \\udce9' has what" in capsys.readouterr().out


async def test_a_path_that_is_longer_than_the_system_takes_costs_no_others(
    agents: AgentWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = await working(agents)
    keeps(pod, {SESSION: "{}\n"})
    at = os.open(pod.places.state, os.O_RDONLY)
    for _ in range(16):  # from within, as an agent can
        os.mkdir("d" * 250, dir_fd=at)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    with os.fdopen(os.open("long.txt", os.O_WRONLY | os.O_CREAT, dir_fd=at), "w") as file:
        file.write("x")
    os.close(at)
    assert kept(await retried(agents, pod)) == {SESSION: "{}\n"}
    assert "long.txt' cannot be written: File name too long" in capsys.readouterr().out


async def test_names_that_git_would_refuse_cost_no_others(
    agents: AgentWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = await working(agents)
    deep = "/".join("d" * (state.MAX_DEPTH + 1))
    refused = {"git~1/x": "a", ".GIT /x": "a", "a\\b": "a", f"{deep}/x": "a"}
    keeps(pod, {**refused, f"ghp_{'a' * 36}": "a", SESSION: "{}\n"})
    again = await retried(agents, pod)
    assert kept(again) == {SESSION: "{}\n"}
    printed = capsys.readouterr().out
    assert f"not kept of its state: '{deep[:-1]}d/' is below 50 folders" in printed
    assert "'[a GitHub token]' has what looks like a GitHub token" in printed
    assert "ghp_" not in printed, "a name may hold a key, too"


async def test_it_is_posted_less_often_than_work_and_last_of_all(agents: AgentWorld) -> None:
    pod = await working(agents)
    pod.commit(CHANGED)
    posted: list[bytes] = []
    app = agents.cluster.apps["agent-outputs"]

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        async def given() -> Any:
            message = await receive()
            posted.append(message.get("body", b""))
            return message

        await app(scope, given, send)

    agents.cluster.add("agent-outputs", noting)
    for number in range(1 + 2 * STATE_EVERY):
        keeps(pod, {SESSION: f"{number}\n"})
        await pod.checkpoint()
    assert b"".join(posted).count(b'"bundle"') == 3
    keeps(pod, {SESSION: "again\n"})
    pod.write({"src/half.py": "half = 1\n"})
    await pod.checkpoint()
    assert b"".join(posted).count(b'"bundle"') == 4, "with work at once"
    keeps(pod, {SESSION: "last\n"})
    await pod.collect()
    again = await agents.pod("job-2", resume=True)
    await again.prepare()
    assert kept(again) == {SESSION: "last\n"}


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
