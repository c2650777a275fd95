"""Submodules in an agent's workspace: on request, without a token, and never of the pod itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from functions.kit.clients.git import GitError
from tests.support.agent_world import REPOSITORY, AgentWorld, Pod
from tests.support.github_git import git

OTHER = "acme/vendored"
FILES = {"lib.py": "answer = 42\n"}


async def pod_of(agents: AgentWorld, url: str) -> Pod:
    """A pod whose repository has a submodule at `vendor`, and whose route asks for submodules."""
    stand_in = agents.github.git
    commit = stand_in.create(OTHER, FILES)
    modules = f'[submodule "vendor"]\n\tpath = vendor\n\turl = {url}\n'
    stand_in.commit(REPOSITORY, "main", {".gitmodules": modules}, "Vendor")
    bare, index = stand_in.path(REPOSITORY), {"GIT_INDEX_FILE": str(agents.folder / "index")}
    git("read-tree", "main", at=bare, env=index)
    git("update-index", "--add", "--cacheinfo", f"160000,{commit},vendor", at=bare, env=index)
    tree = git("write-tree", at=bare, env=index)
    git("update-ref", "refs/heads/main", git(*_commit(tree), at=bare), at=bare)
    pod = await agents.pod()
    return replace(pod, places=replace(pod.places, submodules=True))


def _commit(tree: str) -> tuple[str, ...]:
    return ("commit-tree", tree, "-p", "main", "-m", "Link it")


async def test_the_agent_finds_them_and_delivers_beside_them(agents: AgentWorld) -> None:
    pod = await pod_of(agents, "../vendored.git")
    await pod.run()
    assert (pod.places.repository / "vendor" / "lib.py").read_text() == FILES["lib.py"]
    [pull] = agents.pulls
    assert agents.github.git.diff(REPOSITORY, "main", "agent/1").count("diff --git") == 1, pull


async def test_none_is_there_where_the_route_does_not_ask(agents: AgentWorld) -> None:
    pod = await pod_of(agents, "../vendored.git")
    pod = replace(pod, places=replace(pod.places, submodules=False))
    await pod.prepare()
    assert list((pod.places.repository / "vendor").iterdir()) == []


@pytest.mark.parametrize("of_whom", ["private", "of the pod"])
async def test_what_only_a_token_or_the_pod_reads_is_not_there(
    agents: AgentWorld, of_whom: str
) -> None:
    own = agents.github.git.path(REPOSITORY).as_uri()
    pod = await pod_of(agents, own if of_whom == "of the pod" else "../vendored.git")
    agents.github.git.private |= {OTHER, REPOSITORY}
    with pytest.raises(GitError, match=r"vendor"):
        await pod.prepare()
    await agents.cluster.relayed()
    [fact] = agents.emitted()
    assert (fact["type"], fact["reason"]) == ("undelivered", "not_prepared")
