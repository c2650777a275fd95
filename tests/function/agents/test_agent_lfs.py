"""Files in Git LFS in an agent's workspace: on request, for reading, within a limit."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from functions.agent_pod import lfs
from functions.agent_pod.environment import Failure
from functions.kit.clients.git import GitError
from tests.support.agent_world import CHANGED, REPOSITORY, WANTED, AgentWorld, Pod
from tests.support.github_lfs import pointer
from tests.support.listening import listening

CONTENT = bytes(range(256)) * 8
NAME = "data/model one.bin"


@pytest.fixture
async def with_file(agents: AgentWorld) -> AsyncIterator[AgentWorld]:
    """A private repository with one file in LFS."""
    git = agents.github.git
    files = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
    git.commit(REPOSITORY, "main", {**files, NAME: git.lfs.store(CONTENT)}, "Add a model")
    git.private.add(REPOSITORY)
    async with listening(git.lfs) as git.lfs.url:
        yield agents


async def pod_of(agents: AgentWorld, *, asks: bool = True) -> Pod:
    pod = await agents.pod()
    return replace(pod, places=replace(pod.places, lfs=asks))


async def test_the_agent_finds_their_content_and_delivers_beside_them(
    with_file: AgentWorld,
) -> None:
    pod = await pod_of(with_file)
    await pod.prepare()
    file = pod.places.repository / NAME
    assert file.read_bytes() == CONTENT
    assert pod.git("status", "--porcelain") == "", "without git-lfs of its own"
    assert not list(pod.places.repository.glob(".git/lfs/objects/*/*/*")), "once on the disk"
    [sent] = with_file.github.git.lfs.downloads
    assert "authorization" not in sent, "the storage is another host's"

    file.write_bytes(b"changed")
    pod.write(CHANGED)
    pod.git("add", "--all")
    pod.git("commit", "--quiet", "-m", "Keep the last item")
    pod.write({"src/half.py": "half = 1\n"})
    pod.says(WANTED)
    await pod.checkpoint()
    await pod.collect()
    fact = with_file.emitted()[-1]
    assert (fact["type"], fact["files"]) == ("delivered", ["src/basket.py"])
    async with with_file.cluster.client("agent-outputs") as client:
        bundle = with_file.folder / "kept.bundle"
        bundle.write_bytes((await client.get("/outputs/job-1/bundle")).content)
    pod.git("fetch", "--quiet", str(bundle), "refs/heads/uncommitted")
    assert pod.git("diff", "--name-only", "HEAD", "FETCH_HEAD") == "src/half.py"


async def test_without_the_routes_word_pointers_remain(with_file: AgentWorld) -> None:
    pod = await pod_of(with_file, asks=False)
    await pod.prepare()
    assert (pod.places.repository / NAME).read_text().startswith("version https://git-lfs")
    assert with_file.github.git.lfs.downloads == []


async def test_the_repository_does_not_say_where_they_are(with_file: AgentWorld) -> None:
    """The token would go there."""
    elsewhere = {".lfsconfig": "[lfs]\n\turl = http://127.0.0.1:9/elsewhere\n"}
    with_file.github.git.commit(REPOSITORY, "main", elsewhere, "Move them")
    pod = await pod_of(with_file)
    await pod.prepare()
    assert (pod.places.repository / NAME).read_bytes() == CONTENT


async def test_more_than_the_limit_is_not_begun_with(with_file: AgentWorld) -> None:
    large = {"data/large.bin": pointer("a" * 64, lfs.MAX_BYTES)}
    with_file.github.git.commit(REPOSITORY, "main", large, "Add more")
    await is_not_prepared(with_file, Failure, "the files in LFS have 500 MB, 500 MB at most")
    assert with_file.github.git.lfs.downloads == []


async def test_of_what_is_more_than_its_pointer_claims_the_pointer_is_left(
    with_file: AgentWorld,
) -> None:
    """So what pointers claim bounds what is stored."""
    oid = with_file.github.git.lfs.store(CONTENT * 2000).partition("sha256:")[2][:64]
    small = {"data/small.bin": pointer(oid, 1)}
    with_file.github.git.commit(REPOSITORY, "main", small, "Add more")
    pod = await pod_of(with_file)
    await pod.prepare()
    assert (pod.places.repository / "data/small.bin").read_text() == pointer(oid, 1)
    assert (pod.places.repository / NAME).read_bytes() == CONTENT


async def test_one_by_another_name_costs_no_other_work(
    with_file: AgentWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    large = {"data/large.bin": with_file.github.git.lfs.store(CONTENT * 2500)}
    with_file.github.git.commit(REPOSITORY, "main", large, "Add more")
    pod = await pod_of(with_file)
    await pod.prepare()
    (pod.places.repository / "data/large.bin").rename(pod.places.repository / "moved")
    pod.write({"src/half.py": "half = 1\n"})
    await pod.collect()
    assert "not kept of its work: 'moved' has 5120000 bytes" in capsys.readouterr().out
    async with with_file.cluster.client("agent-outputs") as client:
        bundle = with_file.folder / "kept.bundle"
        bundle.write_bytes((await client.get("/outputs/job-1/bundle")).content)
    pod.git("fetch", "--quiet", str(bundle), "refs/heads/uncommitted")
    assert pod.git("diff", "--name-only", "HEAD", "FETCH_HEAD") == "src/half.py"


@pytest.mark.parametrize("name", [b"caf\xe9.bin", "café.bin".encode()])
async def test_a_name_may_be_no_utf_8(with_file: AgentWorld, name: bytes) -> None:
    git = with_file.github.git
    git.commit(REPOSITORY, "main", {os.fsdecode(name): git.lfs.store(CONTENT)}, "Add more")
    pod = await pod_of(with_file)
    await pod.prepare()
    assert (pod.places.repository / os.fsdecode(name)).read_bytes() == CONTENT
    assert pod.git("status", "--porcelain") == ""


async def test_what_the_server_does_not_have_is_named(with_file: AgentWorld) -> None:
    missing = {"data/missing.bin": pointer("a" * 64, 10)}
    with_file.github.git.commit(REPOSITORY, "main", missing, "Add more")
    await is_not_prepared(with_file, GitError, "Object does not exist")


async def test_an_image_without_git_lfs_is_named(
    with_file: AgentWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    git = shutil.which("git")
    assert git is not None
    (programs / "git").symlink_to(git)
    monkeypatch.setitem(os.environ, "PATH", str(programs))
    await is_not_prepared(with_file, Failure, "WORKSPACE_IMAGE")


async def is_not_prepared(agents: AgentWorld, error: type[Exception], because: str) -> None:
    pod = await pod_of(agents)
    with pytest.raises(error, match=because):
        await pod.prepare()
    await agents.cluster.relayed()
    [fact] = agents.emitted()
    assert (fact["type"], fact["reason"]) == ("undelivered", "not_prepared")
    assert because in fact["details"][0]
