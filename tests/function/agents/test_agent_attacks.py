"""What an issue may lead an agent to try: nothing of it leaves, and each refusal is reported."""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions import job_grant
from functions.agent_pod.environment import post
from functions.agent_pod.prepare import WORK
from functions.job_grant import OutputRules
from functions.kit.clients.git import git, git_bytes
from tests.support.agent_world import CHANGED, KEY, REPOSITORY, WANTED, AgentWorld, Pod
from tests.support.github_git import git as remote_git

AWS = "AKIAIOSFODNN7EXAMPLE"
WHO = {f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def workflow(pod: Pod) -> None:
    pod.commit({".github/workflows/ci.yml": "on: push\n"})


def workflow_in_between(pod: Pod) -> None:
    pod.commit({".github/workflows/ci.yml": "on: push\n"})
    pod.git("rm", "--quiet", ".github/workflows/ci.yml")
    pod.git("commit", "--quiet", "-m", "Away again")


def owners(pod: Pod) -> None:
    pod.commit({"docs/CODEOWNERS": "* @stranger\n"})


def action(pod: Pod) -> None:
    pod.commit({"tools/lint/action.yml": "runs: {using: node20, main: index.js}\n"})


def link(pod: Pod) -> None:
    (pod.places.repository / "passwd").symlink_to("/etc/passwd")
    pod.commit(CHANGED)


def submodule(pod: Pod) -> None:
    head = pod.git("rev-parse", "HEAD")
    pod.git("update-index", "--add", "--cacheinfo", f"160000,{head},other")
    pod.git("commit", "--quiet", "-m", "Take another repository in")


def secret(pod: Pod) -> None:
    pod.commit({"config.py": f'KEY = "{AWS}"\n'})


def secret_in_between(pod: Pod) -> None:
    pod.commit({"config.py": f'KEY = "{AWS}"\n'})
    pod.commit({"config.py": "KEY = None\n"})


def secret_in_message(pod: Pod) -> None:
    pod.commit(CHANGED, f"The key is {AWS}")


def secret_in_name(pod: Pod) -> None:
    pod.commit({f"keys/{AWS}.txt": "x"})


def secret_of_committer(pod: Pod) -> None:
    pod.write(CHANGED)
    email = f"user.email={AWS}@example.com"
    pod.git("-c", email, "commit", "--quiet", "-am", "x", "--author", "A <a@example.com>")


def large(pod: Pod) -> None:
    pod.commit({"data.bin": "x" * 1_000_001})


def many(pod: Pod) -> None:
    pod.commit({f"file-{number}": "x" for number in range(101)})


@pytest.mark.parametrize(
    ("attack", "because"),
    [
        (workflow, ".github/workflows/ci.yml: agents may not change this path"),
        (workflow_in_between, ".github/workflows/ci.yml: agents may not change this path"),
        (owners, "docs/CODEOWNERS: agents may not change this path"),
        (action, "tools/lint/action.yml: agents may not change this path"),
        (link, "passwd: is a symbolic link"),
        (submodule, "other: is a submodule"),
        (secret, "config.py: has what looks like an AWS access key"),
        (secret_in_between, "config.py: has what looks like an AWS access key"),
        (secret_in_message, "a commit message: has what looks like an AWS access key"),
        (secret_in_name, "the name of a file: has what looks like an AWS access key"),
        (secret_of_committer, "an author or committer: has what looks like an AWS access key"),
        (large, "1000001 bytes in new and changed files, 1000000 at most"),
        (many, "101 files, 100 at most"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
async def test_commits_that_the_rules_forbid_are_kept_and_not_pushed(
    agents: AgentWorld, attack: Callable[[Pod], None], because: str
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    attack(pod)
    pod.says(WANTED)
    await pod.collect()

    [fact] = agents.emitted()
    assert (fact["reason"], fact["details"], fact["kept"]) == ("refused", [because], True)
    assert agents.github.git.branches(REPOSITORY) == ["main"]
    assert AWS not in str(fact)


@pytest.mark.parametrize(
    ("outputs", "because"),
    [
        pytest.param(
            {"comment": f"The key: {AWS}"}, "the comment: has what looks like", id="secret"
        ),
        pytest.param(
            {"pull_request": {"title": "x", "body": AWS}}, "the description: has what", id="body"
        ),
        pytest.param(
            {"labels": ["approved"]}, "the route does not let it set the label approved", id="label"
        ),
    ],
)
async def test_texts_and_labels_that_the_rules_forbid_are_refused(
    agents: AgentWorld, outputs: dict[str, Any], because: str
) -> None:
    await (await agents.pod()).run(outputs=outputs)
    [fact] = agents.emitted()
    assert fact["reason"] == "refused"
    assert fact["details"][0].startswith(because)
    assert agents.github.conversation.on(REPOSITORY, 1) == []
    assert agents.github.issues[REPOSITORY][1].labels == []


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({"comment": "Done.", "summary": f"The key: {AWS}"}, "refused"),
        ({"comment": "Done.", "summary": f"{AWS[:9]}<!-- -->{AWS[9:]}"}, "refused"),
        ({"nothing_to_do": f"The key: {AWS}"}, "refused"),
        ({"labels": [AWS]}, "refused"),
        ({AWS: "x", "comment": "Done."}, "invalid_outputs"),
        ({"pull_request": {"title": "x", AWS: "x"}, "summary": AWS}, "invalid_outputs"),
    ],
    ids=["summary", "summary-in-two", "nothing-to-do", "label", "field", "field-within"],
)
async def test_a_secret_is_not_published_by_its_refusal(
    agents: AgentWorld, outputs: dict[str, Any], reason: str
) -> None:
    await (await agents.pod()).run(outputs=outputs)
    [fact] = agents.emitted()
    assert (fact["reason"], fact["summary"]) == (reason, "")
    assert AWS not in str(fact)
    assert agents.github.conversation.on(REPOSITORY, 1) == []


async def test_a_forbidden_path_does_not_publish_the_secret_in_it(agents: AgentWorld) -> None:
    await (await agents.pod()).run({f".github/workflows/{AWS}.yml": "on: push\n"})
    [fact] = agents.emitted()
    assert (fact["reason"], AWS in str(fact)) == ("refused", False)
    assert ".github/workflows/[an AWS access key].yml: agents may not" in fact["details"][0]


async def test_a_route_may_forbid_more_paths_and_pull_requests_at_all(agents: AgentWorld) -> None:
    rules = OutputRules(forbidden_paths=["src/*"])
    await (await agents.pod("a", rules=rules)).run()
    await (await agents.pod("b", rules=OutputRules(pull_request=False))).run()
    assert [fact["details"] for fact in agents.emitted()] == [
        ["src/basket.py: agents may not change this path"],
        ["the route lets it open no pull request"],
    ]


async def test_nothing_that_the_agent_configures_is_run_beside_it(agents: AgentWorld) -> None:
    """Hooks, filters, monitors and helpers of its repository, which the sidecar would run."""
    pod = await agents.pod()
    await pod.prepare()
    mark = agents.folder / "ran"
    evil = agents.folder / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    evil.chmod(0o755)
    pod.commit(CHANGED | {".gitattributes": "* filter=evil diff=evil\n"})
    for name in (
        *("core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process"),
        *("diff.evil.command", "diff.evil.textconv", "uploadpack.packObjectsHook", "gpg.program"),
        *("core.sshCommand", "core.editor", "core.pager", "credential.helper"),
    ):
        pod.git("config", name, str(evil))
    for hook in ("pre-commit", "post-commit", "reference-transaction", "post-index-change"):
        (file := pod.places.repository / ".git/hooks" / hook).parent.mkdir(exist_ok=True)
        file.write_text(evil.read_text())
        file.chmod(0o755)
    pod.write({"src/basket.py": "uncommitted = True\n"})
    pod.says(WANTED)
    await pod.collect()

    assert not mark.exists()
    assert [fact["type"] for fact in agents.emitted()] == ["delivered"]


def untracked(pod: Pod) -> None:
    """The repository is there, and no commit has it."""


def gitlink(pod: Pod) -> None:
    pod.git("add", "sub")
    pod.git("commit", "--quiet", "-m", "Take it in")


def gitdir_file(pod: Pod) -> None:
    gitlink(pod)
    (pod.places.repository / "sub/.git").rename(pod.places.repository.parent / "elsewhere")
    (pod.places.repository / "sub/.git").write_text("gitdir: ../../elsewhere\n")


@pytest.mark.parametrize("kind", [untracked, gitlink, gitdir_file])
@pytest.mark.parametrize("way", ["core.fsmonitor", "filter.evil.clean", "filter.evil.process"])
async def test_nothing_that_a_repository_within_configures_is_run_beside_it(
    agents: AgentWorld, kind: Callable[[Pod], None], way: str
) -> None:
    """Git runs itself in a submodule, with the submodule's own configuration."""
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    mark, evil = agents.folder / "ran", agents.folder / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    evil.chmod(0o755)
    sub = pod.places.repository / "sub"
    pod.git("init", "--quiet", "sub")
    pod.write({"sub/a.txt": "a\n", "sub/.git/info/attributes": "* filter=evil\n"})
    pod.git("-C", "sub", "add", "a.txt")
    who = ("-c", "user.name=a", "-c", "user.email=b")
    pod.git("-C", "sub", *who, "commit", "--quiet", "-m", "Mine")
    kind(pod)
    pod.git("-C", "sub", "config", way, str(evil))
    os.utime(sub / "a.txt", (1, 1))
    pod.write({"src/basket.py": "uncommitted = True\n"})
    mark.unlink(missing_ok=True)

    await pod.checkpoint()
    pod.write({"src/basket.py": "uncommitted = 2\n", "sub/a.txt": "b\n"})
    await pod.checkpoint()
    await pod.collect()
    assert not mark.exists()
    assert await _uncommitted(agents, pod) == ["src/basket.py"]


async def test_repositories_within_do_not_cost_the_changes_around_them(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    head = pod.git("rev-parse", "HEAD")
    pod.git("update-index", "--add", "--cacheinfo", f"160000,{head},vendor/lib")
    pod.git("commit", "--quiet", "-m", "Take another repository in")
    pod.write({".gitignore": "ignored\n"})
    for folder in ("empty", "ignored/deep", "src", " "):
        pod.git("init", "--quiet", folder)
    pod.write({"src/basket.py": "uncommitted = True\n", "new\n.py": "new = True\n"})
    await pod.checkpoint()
    # What was uncommitted is committed, and changes once more.
    pod.write({"src/basket.py": "committed = True\n"})
    pod.git("commit", "--quiet", "-m", "More", "src/basket.py")
    pod.write({"src/basket.py": "uncommitted = 2\n"})
    (pod.places.repository / "README.md").unlink()
    await pod.collect()
    assert await _uncommitted(agents, pod) == [
        ".gitignore",
        "README.md",
        '"new\\n.py"',
        "src/basket.py",
    ]
    assert "vendor/lib" in pod.git("ls-tree", "-r", "--name-only", "FETCH_HEAD")


async def _uncommitted(agents: AgentWorld, pod: Pod) -> list[str]:
    """The files that changed and were not committed, as agent-outputs has kept them."""
    async with agents.cluster.client("agent-outputs") as client:
        answer = await client.get(f"/outputs/{pod.places.job}/bundle")
    (kept := agents.folder / "kept.bundle").write_bytes(answer.content)
    pod.git("fetch", "--quiet", "--no-recurse-submodules", str(kept), "refs/heads/uncommitted")
    return pod.git("diff-tree", "-r", "--name-only", "FETCH_HEAD^", "FETCH_HEAD").splitlines()


@pytest.mark.parametrize("name", ["outputs", "HEAD"])
async def test_what_the_agent_cannot_read_is_not_read_for_it(agents: AgentWorld, name: str) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    file = pod.places.outputs if name == "outputs" else pod.places.repository / ".git/HEAD"
    file.unlink(missing_ok=True)
    file.symlink_to(pod.places.grant)
    await pod.collect()
    [fact] = agents.emitted()
    assert fact["type"] == "undelivered"
    assert pod.places.grant.read_text() not in str(fact)


async def test_a_pipe_holds_nothing_up(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    os.mkfifo(pod.places.outputs)
    await pod.collect()
    [fact] = agents.emitted()
    assert (fact["reason"], "no regular file" in str(fact["details"])) == ("no_outputs", True)


async def test_messages_of_commits_have_no_effect_on_github(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit({"a.txt": "1\n"}, "Add a\n\nSee #1.")
    untouched = pod.git("rev-parse", "HEAD")
    pod.git("checkout", "--quiet", "-b", "side")
    pod.commit({"b.txt": "2\n"}, "Thank @octocat [skip ci]\n\nfixes acme/shop#9, GH-8\nCloses #1")
    pod.git("checkout", "--quiet", "agent/1")
    pod.commit({"c.txt": "3\n"}, "Add c")
    beside = pod.git("rev-parse", "HEAD")
    pod.git("merge", "--quiet", "--no-ff", "-m", "Merge it", "side")
    pod.git("config", "i18n.commitEncoding", "utf-7")
    pod.commit({"d.txt": "4\n"}, "Thank +AEA-octocat")
    who = "--format=%an %ae %at %cn %ce %ct"
    written = pod.git("-c", "i18n.logOutputEncoding=utf-8", "log", "-1", who)
    pod.says(WANTED)
    agents.github.refuses(4, 502, {})  # another attempt makes the same commits
    await pod.collect()
    await agents.minute()

    [fact] = agents.emitted()
    assert (fact["type"], fact["commits"]) == ("delivered", 5), fact
    at, branch = agents.github.git.path(REPOSITORY), "agent/1"
    messages = remote_git("log", "--format=%B", f"main..{branch}", at=at)
    for gone in ("@octocat", "#9", "GH-8", "[skip ci]"):
        assert gone not in messages
    assert all(kept in messages for kept in ("Closes #1", "See #1.", "Thank @\u200boctocat"))
    pushed = remote_git("rev-list", f"main..{branch}", at=at).split()
    assert {untouched, beside} <= set(pushed), "others stay as they are"
    assert remote_git("log", "-1", who, branch, at=at) == written
    assert remote_git("rev-parse", f"{branch}^{{tree}}", at=at) == pod.git(
        "rev-parse", "HEAD^{tree}"
    )


async def test_commits_of_users_are_not_overwritten(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    theirs = agents.github.git.commit(REPOSITORY, "agent/1", {"a.txt": "mine\n"}, "Mine")
    pod.commit(CHANGED)
    pod.says(WANTED)
    await pod.collect()

    [fact] = agents.emitted()
    assert (fact["reason"], fact["kept"]) == ("branch_moved", True)
    assert agents.github.git.head(REPOSITORY, "agent/1") == theirs


async def test_the_agents_repository_has_no_token(agents: AgentWorld) -> None:
    agents.github.git.private.add(REPOSITORY)
    pod = await agents.pod()
    await pod.prepare()
    config = (pod.places.repository / ".git/config").read_text()
    assert "ghs_" not in config
    assert "uthorization" not in config
    assert not any(
        b"ghs_" in file.read_bytes() for file in pod.places.collected.rglob("*") if file.is_file()
    )


async def ask(agents: AgentWorld, job: str, token: str, what: str = "workspace") -> httpx.Response:
    async with agents.cluster.client("agent-outputs") as client:
        headers = {"Authorization": f"Bearer {token}"}
        return await client.post(f"/jobs/{job}/{what}", json={}, headers=headers)


async def test_a_grant_is_of_one_job_and_for_a_time(agents: AgentWorld) -> None:
    pod = await agents.pod()
    token = pod.places.grant.read_text()
    now = agents.clock()
    forged = job_grant.signed(pod.grant, "x" * 40, now, now + timedelta(hours=1))
    assert (await ask(agents, "job-1", token)).status_code == 200
    assert (await ask(agents, "job-2", token)).status_code == 401
    assert (await ask(agents, "job-1", forged)).status_code == 401
    assert (await ask(agents, "job-1", "")).status_code == 401
    agents.clock.passes(hours=3)
    assert (await ask(agents, "job-1", token)).status_code == 401


@pytest.mark.parametrize("what", ["outputs", "checkpoint"])
async def test_a_body_without_end_is_not_waited_for(agents: AgentWorld, what: str) -> None:
    pod = await agents.pod()
    agents.deploy({"TIMEOUT_SECONDS": "0.3"})

    async def without_end() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    headers = {"Authorization": f"Bearer {pod.places.grant.read_text()}"}
    async with agents.cluster.client("agent-outputs") as client, asyncio.timeout(60):
        answer = await client.post(f"/jobs/job-1/{what}", content=without_end(), headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (408, "the body took over 0.3 s")


async def test_a_workspace_token_reads_one_repository_until_the_outputs_have_come(
    agents: AgentWorld,
) -> None:
    agents.github.git.create("acme/other", {"a": "b"})
    pod = await agents.pod()
    token = pod.places.grant.read_text()
    given = (await ask(agents, "job-1", token)).json()["token"]
    rights = agents.github._rights
    assert (rights.may(given, "contents"), rights.may(given, "issues")) == ("read", "")
    with pytest.raises(Exception, match="404"):
        rights.check_git(given, "acme/other", writes=False)

    await pod.run()
    assert (await ask(agents, "job-1", token)).status_code == 401


async def test_a_key_that_is_too_short_takes_nothing(agents: AgentWorld) -> None:
    pod = await agents.pod()
    agents.deploy({"GRANT_KEY": "short"})
    assert (await ask(agents, "job-1", pod.places.grant.read_text())).status_code == 401
    assert len(KEY) >= job_grant.MIN_KEY_LENGTH


def huge_message(pod: Pod) -> None:
    """One commit that inflates to more memory than git gets."""
    message = b"x" * 450_000_000
    commit = git("commit-tree", "HEAD^{tree}", "-p", "HEAD", at=own(pod), env=WHO, given=message)
    pod.git("update-ref", "HEAD", commit)


def huge_file(pod: Pod) -> None:
    secret(pod)
    with (pod.places.repository / "zeros").open("wb") as file:
        file.truncate(450_000_000)
    pod.commit({}, "Nothing, much of it")


def trees_of_one(pod: Pod) -> None:
    """Ten folders in each folder, which are the same one: a few objects, and 10^5 files each time
    that they come and go."""
    tree, commit = pod.git("rev-parse", "HEAD:src"), "HEAD"
    for _ in range(5):
        listing = "".join(f"040000 tree {tree}\t{number}\n" for number in range(10))
        tree = git("mktree", at=own(pod), given=listing.encode())
    flat = pod.git("rev-parse", "HEAD:src")
    for one in (tree, flat, tree, flat):
        commit = pod.git("commit-tree", one, "-p", commit, "-m", "All of it")
    pod.git("update-ref", "HEAD", commit)


@pytest.mark.parametrize(
    ("attack", "because"),
    [
        (huge_message, "Out of memory"),
        (huge_file, f"{450_000_000 + len(AWS) + 9} bytes in new and changed files, 1000000 at"),
        (trees_of_one, "the commits cannot be read: git log: more than 16 MB come of it"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
async def test_what_inflates_is_refused_before_it_is_in_memory(
    agents: AgentWorld, attack: Callable[[Pod], None], because: str
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    base = pod.git("rev-parse", "HEAD")
    attack(pod)
    pod.git("update-ref", WORK, "HEAD")
    bundle = git_bytes("bundle", "create", "-", WORK, f"^{base}", at=own(pod))
    body = {"outputs": json.dumps(WANTED), "bundle": b64encode(bundle).decode()}
    await asyncio.to_thread(post, pod.places, "outputs", body, 60)
    await agents.cluster.relayed()

    [fact] = agents.emitted()
    assert (fact["reason"], fact["kept"], len(fact["details"])) == ("refused", True, 1)
    assert because in fact["details"][0]


def own(pod: Pod) -> Path:
    return pod.places.repository / ".git"


@pytest.mark.parametrize(
    "encoding", [b"unicode_escape", b"idna", b"punycode", b"hex", b"no-such", b"latin-1 x", b"\xff"]
)
async def test_an_encoding_that_is_none_holds_no_commit_up(
    agents: AgentWorld, encoding: bytes
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED, "Keep \\ud800 of @octocat")
    at = pod.places.repository
    head, _, message = git_bytes("cat-file", "commit", "HEAD", within=at).partition(b"\n\n")
    encoded = head + b"\nencoding " + encoding + b"\n\n" + message
    made = git_bytes("hash-object", "-t", "commit", "-w", "--stdin", within=at, given=encoded)
    pod.git("reset", "--quiet", "--hard", made.decode().strip())
    pod.says(WANTED)
    await pod.collect()

    assert [fact["type"] for fact in agents.emitted()] == ["delivered"]
    written = remote_git("cat-file", "commit", "agent/1", at=agents.github.git.path(REPOSITORY))
    assert written.endswith("Keep \\ud800 of @\u200boctocat")
    assert "encoding" not in written
