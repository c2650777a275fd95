"""Who asks for work: webhook-receiver asks GitHub what its sender may do in the repository."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from functions.kit import cloudevents
from functions.kit.settings import BadSetting
from functions.webhook_receiver.settings import ReceiverSettings
from tests.conftest import MakeMigrated
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.deliveries_world import DeliveriesWorld, deliveries_world
from tests.support.github_checks import CheckRun


@pytest.fixture(scope="module")
async def receiver_database(make_migrated: MakeMigrated) -> str:
    return await make_migrated("webhook_receiver")


@pytest.fixture
async def world(
    cluster: Cluster, receiver_database: str, tmp_path: Path
) -> AsyncIterator[DeliveriesWorld]:
    async with deliveries_world(cluster, receiver_database, tmp_path) as found:
        yield found


async def actor_of(world: DeliveriesWorld) -> dict[str, str]:
    """What the event of the newest delivery says of its sender."""
    guid = world.github.attempts[-1].sent.guid

    async def there() -> list[cloudevents.Message]:
        return [one for one in world.cluster.sink.messages if one.id == guid]

    found = (await eventually(there))[0].extensions
    return {k: str(v) for k, v in found.items() if k.startswith("actor") or k == "fork"}


def asked(world: DeliveriesWorld) -> list[str]:
    return [one.partition("?")[0] for one in world.github.requests if "/deliveries" not in one]


@pytest.mark.parametrize(
    ("role", "permission"),
    [("admin", "admin"), ("triage", "triage"), ("read", "read"), (None, "none")],
)
async def test_a_label_comes_with_the_permission_of_who_set_it(
    world: DeliveriesWorld, role: str | None, permission: str
) -> None:
    if role:
        world.github.conversation.roles["mona"] = role
    # The same body again would be a replay.
    repository = f"acme/{permission}"
    number = await world.github.opened(repository)
    await world.github.labelled(repository, number, "agent", by="mona")
    assert await actor_of(world) == {"actorpermission": permission}


async def test_github_is_asked_once_in_five_minutes(world: DeliveriesWorld) -> None:
    number = await world.github.opened("acme/b")
    for label in ("agent", "bug", "agent"):
        await world.github.labelled("acme/b", number, label)
    assert asked(world) == ["GET /repos/acme/b/collaborators/octocat/permission"]
    world.clock.passes(minutes=6)
    world.github.conversation.roles["octocat"] = "read"
    await world.github.labelled("acme/b", number, "agent")
    assert await actor_of(world) == {"actorpermission": "read"}


@pytest.mark.parametrize("action", ["requested_action", "rerequested"])
async def test_a_button_of_a_check_run_comes_with_the_permission_of_who_pressed_it(
    world: DeliveriesWorld, action: str
) -> None:
    body = {
        "name": "agent: review",
        "external_id": f"review-{action}",
        "status": "in_progress",
        "output": {"title": "x", "summary": "x"},
        "actions": [{"label": "Stop", "description": "x", "identifier": "stop"}],
    }
    run = CheckRun(7, "acme/d", "0" * 40, [body])
    world.github.conversation.roles["mona"] = "triage"
    await world.github.checks.presses(run, "stop", by="mona", action=action)
    assert await actor_of(world) == {"actorpermission": "triage"}


async def test_nothing_is_asked_of_what_asks_for_nothing(world: DeliveriesWorld) -> None:
    github = world.github
    number = await github.opened("acme/c")
    await github.conversation.writes("acme/c", number, "I would try /agent review")
    await github.labelled("acme/c", number, "agent", by="dependabot[bot]")
    assert asked(world) == []
    assert await actor_of(world) == {}


async def test_an_owner_needs_no_question(world: DeliveriesWorld) -> None:
    world.deploy({"GITHUB_TOKEN": "", "GITHUB_HOOKS": ""})
    await world.github.labelled("mona/d", await world.github.opened("mona/d"), "agent", by="mona")
    assert await actor_of(world) == {"actorpermission": "admin"}


async def test_without_credentials_nothing_is_known(world: DeliveriesWorld) -> None:
    world.deploy({"GITHUB_TOKEN": "", "GITHUB_HOOKS": ""})
    await world.github.labelled("acme/e", await world.github.opened("acme/e"), "agent")
    assert await actor_of(world) == {"actorproblem": "there are no credentials for GitHub"}


async def test_while_github_is_away_a_delivery_is_taken_without_it(world: DeliveriesWorld) -> None:
    world.cluster.down.add("api")
    sent = await world.github.labelled("acme/f", await world.github.opened("acme/f"), "agent")
    assert [one.status_code for one in world.github.attempts if one.sent is sent] == [202]
    assert await actor_of(world) == {"actorproblem": "GitHub did not answer"}


async def test_a_repository_without_the_app_is_asked_about_once_a_minute(
    world: DeliveriesWorld,
) -> None:
    world.github.knows("another")
    number = await world.github.opened("acme/g")
    for label in ("agent", "bug"):
        await world.github.labelled("acme/g", number, label)
    assert len(asked(world)) == 1
    assert (await actor_of(world))["actorproblem"].startswith("GitHub answered 401")


@pytest.mark.parametrize(("head", "fork"), [("acme/h", "false"), ("stranger/h", "true")])
async def test_a_command_on_a_pull_request_says_whether_it_is_a_forks(
    world: DeliveriesWorld, head: str, fork: str
) -> None:
    number = world.github.proposed("acme/h")
    world.github.pulls["acme/h"][number].repository = head
    await world.github.conversation.writes("acme/h", number, f"/agent review\n{head}")
    assert await actor_of(world) == {"actorpermission": "write", "fork": fork}


async def test_a_command_on_an_issue_is_about_no_pull_request(world: DeliveriesWorld) -> None:
    number = await world.github.opened("acme/i")
    await world.github.conversation.writes("acme/i", number, "/agent stop")
    assert await actor_of(world) == {"actorpermission": "write"}


async def test_what_is_fetched_waits_until_github_says_who_it_was(world: DeliveriesWorld) -> None:
    await world.github.labelled("acme/j", await world.github.opened("acme/j"), "agent", "lost")
    world.github.refuses(2, 429, {"retry-after": "60"})
    await world.minute()
    assert world.emitted() == []
    world.github.busy.clear()
    await world.minute()
    await world.minute()
    assert await actor_of(world) == {"actorpermission": "write"}


TEAMS = {"ACTOR_TEAMS": "acme/Keepers, acme/others, elsewhere/keepers"}


async def test_an_event_names_the_teams_that_its_sender_is_in(world: DeliveriesWorld) -> None:
    world.deploy(TEAMS)
    world.github.conversation.teams["acme/keepers"] = {"octocat": "active"}
    await world.github.labelled("acme/t1", await world.github.opened("acme/t1"), "agent")
    assert await actor_of(world) == {"actorpermission": "write", "actorteams": "acme/keepers"}
    memberships = [one for one in asked(world) if "/memberships/" in one]
    assert memberships == [
        "GET /orgs/acme/teams/keepers/memberships/octocat",
        "GET /orgs/acme/teams/others/memberships/octocat",
    ], "a team of another organisation is not asked after"


@pytest.mark.parametrize("members", [{}, {"octocat": "pending"}, {"mona": "active"}])
async def test_who_is_invited_or_another_is_in_no_team(
    world: DeliveriesWorld, members: dict[str, str]
) -> None:
    world.deploy(TEAMS)
    world.github.conversation.teams["acme/keepers"] = members
    name = f"acme/t2{len(members)}{''.join(members)}"
    await world.github.labelled(name, await world.github.opened(name), "agent")
    assert await actor_of(world) == {"actorpermission": "write"}


async def test_a_membership_is_asked_once_in_five_minutes_for_all_repositories(
    world: DeliveriesWorld,
) -> None:
    world.deploy({"ACTOR_TEAMS": "acme/keepers"})
    world.github.conversation.teams["acme/keepers"] = {"octocat": "active"}
    for name in ("acme/t3", "acme/t4"):
        await world.github.labelled(name, await world.github.opened(name), "agent")
    assert len([one for one in asked(world) if "/memberships/" in one]) == 1
    world.clock.passes(minutes=6)
    world.github.conversation.teams.clear()
    await world.github.labelled("acme/t3", 1, "bug")
    assert await actor_of(world) == {"actorpermission": "write"}


async def test_teams_that_github_does_not_show_are_unknown_with_the_reason(
    world: DeliveriesWorld,
) -> None:
    """As where the App lacks the permission Members, or no credentials are there."""
    world.deploy({"ACTOR_TEAMS": "acme/keepers"})
    world.github.refuses(1, 403, {})
    await world.github.labelled("acme/t5", await world.github.opened("acme/t5"), "agent")
    found = await actor_of(world)
    assert "actorteams" not in found
    assert found["actorproblem"].startswith("GitHub")


@pytest.mark.parametrize("teams", ["keepers", "acme/keepers, @acme/others", "acme/a/b"])
def test_a_team_that_is_none_is_named(teams: str) -> None:
    with pytest.raises(BadSetting, match=r"ACTOR_TEAMS.* is no team such as acme/maintainers"):
        ReceiverSettings.read({"ACTOR_TEAMS": teams})
