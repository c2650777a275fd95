"""What an agent has committed and written becomes one draft pull request, or a reason why not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from functions.agent_outputs import tables
from functions.agent_outputs.applier import MAX_UNENDED
from functions.agent_pod.collect import POST_S
from functions.agent_pod.work import GIT_S
from functions.job_launcher.kubernetes import workspace
from functions.kit.clients.git import GitError
from tests.support.agent_world import CHANGED, REPOSITORY, WANTED, AgentWorld


async def test_commits_become_a_draft_pull_request(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.run()

    assert agents.pulls, str(agents.emitted())
    [pull] = agents.pulls
    assert (pull.title, pull.head, pull.base, pull.draft) == (
        "Keep the last item",
        "agent/1",
        "main",
        True,
    )
    assert "The basket lost it." in pull.body
    assert "Closes #1" in pull.body
    files = agents.github.git.file(REPOSITORY, "agent/1", "src/basket.py")
    assert files == CHANGED["src/basket.py"].strip()
    [fact] = agents.emitted()
    assert (fact["type"], fact["pull_request"], fact["commits"]) == ("delivered", pull.number, 1)
    assert fact["files"] == ["src/basket.py"]


async def test_ten_deliveries_make_one_pull_request(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.run()
    for _ in range(9):
        await pod.collect()
    await agents.minute()

    assert len(agents.pulls) == 1
    assert len(agents.emitted()) == 1


async def test_a_second_run_of_a_task_goes_on_in_the_same_pull_request(
    agents: AgentWorld,
) -> None:
    await (await agents.pod("job-1")).run()
    again = await agents.pod("job-2")
    await again.prepare()
    assert (again.places.repository / "src/basket.py").read_text() == CHANGED["src/basket.py"]
    again.commit({"src/tax.py": "rate = 0.2\n"}, "Add the tax")
    again.says({"pull_request": {"title": "Keep the last item, with tax"}})
    await again.collect()

    assert agents.pulls, str(agents.emitted())
    [pull] = agents.pulls
    assert pull.title == "Keep the last item, with tax"
    assert agents.github.git.file(REPOSITORY, "agent/1", "src/tax.py") == "rate = 0.2"
    assert [fact["pull_request"] for fact in agents.emitted()] == [pull.number] * 2


async def test_nothing_to_do_is_reported_with_its_reason(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.says({"nothing_to_do": "The basket keeps its last item already."})
    await pod.collect()

    [fact] = agents.emitted()
    assert (fact["type"], fact["reason"]) == ("undelivered", "nothing_to_do")
    assert fact["details"] == ["The basket keeps its last item already."]
    assert agents.pulls == []


async def test_an_agent_that_says_nothing_has_not_delivered(agents: AgentWorld) -> None:
    """Killed, out of time, or done without a word: what it committed is kept."""
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    await pod.collect()

    [fact] = agents.emitted()
    assert (fact["reason"], fact["kept"]) == ("no_outputs", True)
    assert agents.github.git.branches(REPOSITORY) == ["main"]


async def test_a_pull_request_of_nothing_is_none(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.says(WANTED)
    await pod.collect()
    assert [fact["reason"] for fact in agents.emitted()] == ["no_commits"]


async def test_what_is_not_committed_is_kept_and_not_pushed(
    agents: AgentWorld,
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.write(CHANGED)
    pod.says(WANTED)
    await pod.collect()

    [fact] = agents.emitted()
    assert (fact["reason"], fact["kept"]) == ("no_commits", True)
    async with agents.cluster.client("agent-outputs") as client:
        answer = await client.get("/outputs/job-1/bundle")
    kept = agents.folder / "kept.bundle"
    kept.write_bytes(answer.content)
    pod.git("fetch", "--quiet", str(kept), "refs/heads/uncommitted")
    assert pod.git("show", "FETCH_HEAD:src/basket.py") == CHANGED["src/basket.py"].strip()


async def test_a_comment_and_labels_of_the_list_are_set_once(agents: AgentWorld) -> None:
    wanted = {"comment": "Which tax, @octocat?<!-- hidden -->", "labels": ["agent:done"]}
    pod = await agents.pod()
    await pod.run(outputs=wanted)

    [comment] = agents.github.conversation.on(REPOSITORY, 1)
    assert comment.body.startswith("Which tax, @\u200boctocat?\n")
    assert "hidden" not in comment.body
    assert agents.github.issues[REPOSITORY][1].labels == ["agent:done"]
    [fact] = agents.emitted()
    assert (fact["type"], fact["commented"], fact["labels"]) == ("delivered", True, ["agent:done"])


async def test_what_was_done_is_reported_where_github_refuses_the_rest(agents: AgentWorld) -> None:
    """A conversation that was locked takes no comment; the pull request is there all the same."""
    pod = await agents.pod()
    agents.github.issues[REPOSITORY][1].locked = True
    await pod.run(outputs=WANTED | {"comment": "See there."})

    [pull] = agents.pulls
    [fact] = agents.emitted()
    assert (fact["type"], fact["pull_request"], fact["commented"]) == (
        "delivered",
        pull.number,
        False,
    )
    assert "issue is locked" in fact["details"][0]


async def test_what_does_not_fit_the_schema_says_why(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.run(outputs='{"pull_request": {"titel": "x"}}')
    [fact] = agents.emitted()
    assert (fact["reason"], fact["kept"]) == ("invalid_outputs", True)
    assert fact["details"] == ["pull_request.title: Field required"]


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (
            r'{"nothing_to_do": "x", "summary": "a\u0000b"}',
            "summary: Value error, must not contain",
        ),
        (r'{"nothing_to_do": "x", "usage": {"session": "\u0000"}}', "usage.session: Value error"),
        (r'{"labels": ["a\u0000b"]}', "labels.0: Value error, must not contain"),
        (r'{"a\u0000b": 1, "nothing_to_do": "x"}', r"a\x00b: Extra inputs"),
        ('{"nothing_to_do": "x", "usage": {"cost_usd": 1e999}}', "usage.cost_usd: Input should"),
        ('{"nothing_to_do": "x", "usage": {"cost_usd": NaN}}', "usage.cost_usd: Input should"),
        ('{"nothing_to_do": "x", "usage": {"turns": 1' + "0" * 30 + "}}", "usage.turns: Input"),
    ],
)
async def test_what_no_database_keeps_is_refused_by_field(
    agents: AgentWorld, text: str, because: str
) -> None:
    await (await agents.pod()).run(outputs=text)
    [fact] = agents.emitted()
    assert fact["reason"] == "invalid_outputs"
    assert fact["details"][0].startswith(because)


async def test_outputs_that_cannot_be_stored_hold_up_no_others(
    agents: AgentWorld, outputs_database: str
) -> None:
    nothing = {"nothing_to_do": "It is done."}
    connection = await asyncpg.connect(outputs_database)
    await connection.execute(
        """ALTER TABLE agent_output ADD CONSTRAINT never
           CHECK (job_id <> 'job-1' OR state = 'received')"""
    )
    try:
        await (await agents.pod("job-1")).run(outputs=nothing)
        await (await agents.pod("job-2")).run(outputs=nothing)
        assert [fact["job_id"] for fact in agents.emitted()] == ["job-2"]
    finally:
        await connection.execute("ALTER TABLE agent_output DROP CONSTRAINT never")
        await connection.close()
    await agents.minute()
    assert [fact["job_id"] for fact in agents.emitted()] == ["job-2", "job-1"]


async def test_names_of_files_are_read_as_they_are(agents: AgentWorld) -> None:
    names = [" ", "a\nb", ":100644 000000 ", "\t", "ä"]
    await (await agents.pod()).run(dict.fromkeys(names, "x"))
    [fact] = agents.emitted()
    assert (fact["type"], sorted(fact["files"])) == ("delivered", sorted(names))


async def test_while_github_is_away_outputs_wait(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED)
    agents.cluster.down.add("api")
    await pod.collect()
    for _ in range(10):
        await agents.minute()
    assert agents.emitted() == []
    agents.cluster.down.clear()
    agents.github.refuses(0, 429, {"retry-after": "60"})
    for _ in range(8):
        await agents.minute()

    assert [fact["type"] for fact in agents.emitted()] == ["delivered"]
    assert len(agents.pulls) == 1


async def test_a_pull_request_that_was_closed_meanwhile_is_not_opened_again(
    agents: AgentWorld,
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED | {"labels": ["agent:done"]})
    agents.github.refuses(5, 502, {})
    await pod.collect()
    assert agents.emitted() == [], "it was opened, and what follows has failed"
    [pull] = agents.pulls
    pull.state = "closed"
    await agents.minute()

    assert [one.state for one in agents.pulls] == ["closed"]
    assert [fact["pull_request"] for fact in agents.emitted()] == [pull.number]


async def test_a_pull_request_is_reported_though_github_is_away_since(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED | {"labels": ["agent:done"], "usage": {"turns": 3}})
    agents.github.refuses(5, 502, {})
    await pod.collect()
    agents.cluster.down.add("api")
    await agents.minute()
    await agents.minute(25 * 60)

    [pull] = agents.pulls
    [used, fact] = agents.emitted()
    assert used["usage"]["turns"] == 3, "known before"
    assert (fact["type"], fact["pull_request"]) == ("delivered", pull.number)
    assert (fact["commits"], fact["files"]) == (1, ["src/basket.py"])
    assert fact["usage"]["turns"] == 3
    assert fact["details"][0].startswith("the rest was not applied: GitHub: ")


async def test_a_pull_request_whose_answer_was_lost_is_found(agents: AgentWorld) -> None:
    """Also where a user has pushed to its branch meanwhile."""
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED)
    agents.github.lose_answer_of = "/pulls"
    await pod.collect()
    assert agents.emitted() == [], "the answer was lost"
    agents.github.git.commit(REPOSITORY, "agent/1", {"README.md": "# Our shop\n"}, "Ours")
    await agents.minute()

    [pull] = agents.pulls
    assert [(f["type"], f["pull_request"]) for f in agents.emitted()] == [
        ("delivered", pull.number)
    ]


@pytest.mark.parametrize("wants", [WANTED, {"comment": "It is fixed."}], ids=["pull", "comment"])
async def test_what_is_given_up_names_a_pull_request_that_may_be_open(
    agents: AgentWorld, wants: dict[str, Any]
) -> None:
    """GitHub opens it, its answer is lost, and GitHub stays away until all is given up."""
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(wants)
    agents.github.lose_answer_of = "/pulls" if "pull_request" in wants else "/comments"
    await pod.collect()
    agents.cluster.down.add("api")
    await agents.minute(25 * 60)

    [fact] = agents.emitted()
    assert (fact["type"], fact["reason"]) == ("undelivered", "not_applied")
    named = [text for text in fact["details"] if "agent/1 may be open all the same" in text]
    assert len(named) == len(agents.pulls)

    agents.cluster.down.discard("api")
    again = await agents.pod("job-2", resume=True)
    await again.prepare()
    again.commit({"src/tax.py": "rate = 0.2\n"}, "Add the tax")
    again.says(WANTED)
    await again.collect()
    [pull] = agents.pulls
    assert agents.emitted()[-1]["pull_request"] == pull.number, "a retry finds it"


async def test_a_process_that_is_stopped_gives_back_what_it_works_on(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED)
    agents.cluster.waits = False
    asked = asyncio.Event()

    async def hang(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    github = agents.cluster.apps["api"]
    agents.cluster.add("api", hang)
    posted = asyncio.create_task(asyncio.to_thread(pod.sidecar.collect))
    await asyncio.wait_for(asked.wait(), 60)
    await agents.cluster.close()
    await posted
    agents.cluster.add("api", github)
    agents.cluster.waits = True
    agents.deploy()
    await agents.minute(0.1)
    assert [fact["type"] for fact in agents.emitted()] == ["delivered"]


async def test_outputs_of_a_process_that_died_are_applied_by_the_next(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED)
    agents.cluster.down.add("api")
    await pod.collect()
    await agents.cluster.crash("agent-outputs")
    agents.cluster.down.clear()
    agents.deploy()
    await agents.minute()
    assert [fact["type"] for fact in agents.emitted()] == ["delivered"]


@pytest.mark.parametrize(
    ("deaths", "becomes"), [(MAX_UNENDED - 1, "delivered"), (MAX_UNENDED, "undelivered")]
)
async def test_outputs_that_kill_each_process_are_given_up(
    agents: AgentWorld, outputs_database: str, deaths: int, becomes: str
) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED)
    agents.cluster.down.add("api")
    await pod.collect()
    agents.clock.passes(minutes=5)
    connection = await asyncpg.connect(outputs_database)
    await connection.set_type_codec(
        "jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )
    tx: Any = connection  # the functions' own are of a pool
    for _ in range(deaths):  # of a process that is killed nothing is left but its lease
        assert await tables.lease(tx, agents.clock(), 0)
    await connection.close()
    agents.cluster.down.clear()
    await agents.minute()

    [fact] = agents.emitted()
    assert fact["type"] == becomes
    if becomes == "undelivered":
        assert (fact["reason"], fact["kept"]) == ("not_applied", True)
        assert fact["details"][0].startswith(f"{MAX_UNENDED} attempts ended with their process")


async def test_a_clone_that_fails_is_reported_as_no_workspace(agents: AgentWorld) -> None:
    pod = await agents.pod(ref="no-such-branch")
    with pytest.raises(GitError):
        await pod.prepare()
    await agents.cluster.relayed()

    [fact] = agents.emitted()
    assert (fact["type"], fact["reason"], fact["kept"]) == ("undelivered", "not_prepared", False)
    assert "no-such-branch" in fact["details"][0]
    assert "ghs_" not in fact["details"][0]


def test_the_sidecar_has_the_time_to_try_again() -> None:
    assert workspace.GRACE_S >= POST_S + 2 * GIT_S


async def test_without_a_repository_an_agent_reports_to_whoever_asked(agents: AgentWorld) -> None:
    pod = await agents.pod(repository="", branch="", issue=None, task_id="T-1")
    pod.places.outputs.parent.mkdir()
    pod.says({"report": "The cache is full.<!-- hidden -->", "summary": "Looked."})
    await pod.collect()

    [fact] = agents.emitted()
    assert (fact["type"], fact["report"]) == ("delivered", "The cache is full.")
    assert agents.github.requests == []


async def test_without_a_repository_there_is_no_pull_request(agents: AgentWorld) -> None:
    pod = await agents.pod(repository="", branch="", issue=None)
    folder = pod.places.repository
    folder.mkdir(parents=True)
    pod.git("init", "--quiet")
    pod.git("-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "x", "--allow-empty")
    pod.says(WANTED)
    await pod.collect()

    [fact] = agents.emitted()
    assert (fact["reason"], fact["kept"]) == ("refused", False)
    assert fact["details"] == ["there is no repository for a pull request: the task names none"]
