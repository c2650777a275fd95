"""What GitHub's hooks delivered, by its own list: what was lost is fetched, once, and reported."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from starlette.responses import JSONResponse

from functions.kit import cloudevents
from functions.kit.settings import BadSetting
from functions.webhook_receiver.gauges import gauges
from functions.webhook_receiver.main import start
from functions.webhook_receiver.reconcile_settings import ReconcileSettings
from tests.support import eventually
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster
from tests.support.deliveries_world import HOOK, DeliveriesWorld, deliveries_world


@pytest.fixture
async def world(
    cluster: Cluster, webhook_database: str, tmp_path: Path
) -> AsyncIterator[DeliveriesWorld]:
    async with deliveries_world(cluster, webhook_database, tmp_path) as world:
        yield world


async def emitted(world: DeliveriesWorld, count: int) -> list[cloudevents.Message]:
    """The messages at the broker, once there are so many."""

    async def arrived() -> bool:
        return len(world.cluster.sink.messages) >= count

    await eventually(arrived)
    return list(world.cluster.sink.messages)


def asked(world: DeliveriesWorld) -> list[str]:
    """What GitHub was asked of deliveries."""
    return [one for one in world.github.requests if "/deliveries" in one]


async def hook_of(world: DeliveriesWorld) -> dict[str, Any]:
    [hook] = (await world.health())["hooks"]
    found: dict[str, Any] = hook
    return found


async def test_a_lost_delivery_is_fetched_as_if_it_had_come(world: DeliveriesWorld) -> None:
    number = await world.github.opened("o/r")
    sent = await world.github.labelled("o/r", number, "agent", "lost")
    await world.minute()

    [message] = await emitted(world, 1)
    assert (message.id, message.type) == (sent.guid, "com.github.issue.labeled")
    assert (message.source, message.subject) == ("https://api.github.com/repos/o/r", "1")
    assert (message.data, message.extensions["via"]) == (sent.body, "fetched")
    hook = await hook_of(world)
    assert hook["message"] == "GitHub made 1 in the last day, 1 are here."
    assert (hook["fetched"], hook["problem"]) == (1, None)

    assert await world.github.tries(sent, again=True) == 202, "a repeat"
    await world.minute()
    assert len(world.emitted()) == 1


async def test_what_is_here_costs_no_request_but_the_list(world: DeliveriesWorld) -> None:
    for _ in range(3):
        await world.github.labelled("o/r", await world.github.opened("o/r"), "agent")
    left = world.github.remaining
    await world.minute()
    listed = left - world.github.remaining
    await world.minute()

    assert asked(world) == [f"GET /{HOOK}/deliveries"] * 2
    assert left - world.github.remaining == listed, "the second list had not changed"
    assert (await hook_of(world))["message"] == "GitHub made 3 in the last day, 3 are here."


async def test_only_what_has_a_consumer_is_fetched(world: DeliveriesWorld) -> None:
    number = await world.github.opened("o/r")
    await world.github.labelled("o/r", number, "agent", "lost")
    await world.github.unlabelled("o/r", number, "agent")
    await world.github.delivers("star", {"action": "created"}, "lost")
    await world.minute()

    assert [one for one in asked(world) if not one.endswith("deliveries")] == [
        f"GET /{HOOK}/deliveries/2"
    ]
    assert (await hook_of(world))["message"] == (
        "GitHub made 3 in the last day, 2 are here; 1 of types without a consumer."
    )


async def test_more_types_are_fetched_where_a_setting_says_so(
    cluster: Cluster, webhook_database: str, tmp_path: Path
) -> None:
    wanted = {"GITHUB_EVENT_TYPES": "com.github.star.*"}
    async with deliveries_world(cluster, webhook_database, tmp_path, wanted) as world:
        await world.github.delivers("star", {"action": "created"}, "lost")
        await world.github.delivers("push", {"ref": "refs/heads/main"}, "lost")
        await world.minute()
        assert [message.type for message in await emitted(world, 1)] == ["com.github.star.created"]


async def test_a_delivery_is_good_if_any_of_its_attempts_is(world: DeliveriesWorld) -> None:
    number = await world.github.opened("o/r")
    sent = await world.github.labelled("o/r", number, "agent", "lost")
    await world.github.tries(sent, lost=True, again=True)
    await world.github.tries(sent, again=True)
    await world.github.tries(sent, lost=True, again=True)
    await world.minute()

    assert world.emitted() == [sent.guid]
    assert asked(world) == [f"GET /{HOOK}/deliveries"]
    hook = await hook_of(world)
    assert (hook["made"], hook["here"], hook["fetched"]) == (1, 1, 0)


async def test_what_was_taken_and_is_in_no_ledger_is_fetched(
    world: DeliveriesWorld, webhook_database: str
) -> None:
    sent = await world.github.labelled("o/r", await world.github.opened("o/r"), "agent")
    connection = await asyncpg.connect(webhook_database)
    await connection.execute("TRUNCATE delivery")
    await connection.close()
    await world.minute()

    await emitted(world, 2)
    assert world.emitted() == [sent.guid] * 2, "an inbox knows it by its id"
    assert (await hook_of(world))["fetched"] == 1


async def test_a_list_of_many_pages_is_read_down_to_what_is_known(world: DeliveriesWorld) -> None:
    number = await world.github.opened("o/r")
    for _ in range(250):
        await world.github.delivers("star", {"action": "created"}, "lost")
    await world.minute()
    assert len(asked(world)) == 3

    await world.github.labelled("o/r", number, "agent", "lost")
    await world.minute()
    assert len(asked(world)) == 3 + 2, "one page, and one delivery"
    assert (await hook_of(world))["made"] == 251


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_limit_is_waited_for_and_nothing_is_left_out(
    world: DeliveriesWorld, after: int
) -> None:
    sent = await world.github.labelled("o/r", await world.github.opened("o/r"), "agent", "lost")
    for _ in range(150):
        await world.github.delivers("star", {"action": "created"}, "lost")
    world.github.refuses(after, 429, {"Retry-After": "1000"})
    await world.minute()
    hook = await hook_of(world)
    assert "wants no request for" in hook["problem"]
    before = len(asked(world))
    await world.minute()
    assert (len(asked(world)), world.emitted()) == (before, []), "it waits"

    await world.minute(15)
    await emitted(world, 1)
    assert world.emitted() == [sent.guid]
    hook = await hook_of(world)
    assert (hook["problem"], hook["made"], hook["missing"]) == (None, 151, 0)


async def test_pages_in_a_circle_end(world: DeliveriesWorld) -> None:
    sent = await world.github.labelled("o/r", await world.github.opened("o/r"), "agent", "lost")
    for _ in range(150):
        await world.github.delivers("star", {"action": "created"}, "lost")
    world.github.loops = True
    await world.minute()

    assert len(asked(world)) == 2
    assert "go in a circle" in (await hook_of(world))["problem"]
    world.github.loops = False
    await world.minute()
    await emitted(world, 1)
    assert world.emitted() == [sent.guid]


async def test_what_github_forgot_is_gone_and_reported_so(world: DeliveriesWorld) -> None:
    sent = await world.github.labelled("o/r", await world.github.opened("o/r"), "agent", "lost")
    world.cluster.down.add("job-launcher")  # so what is wanted is unknown
    await world.minute()
    health = await world.health()
    assert "job-launcher" in health["hooks"][0]["problem"]
    [missing] = health["deliveries"]
    assert (missing["guid"], missing["state"]) == (sent.guid, "missing")
    assert missing["until"] == "2026-03-05T14:00:00Z"
    assert health["message"].startswith(
        f"{HOOK}: GitHub made 1 in the last day, 0 are here; 1 missing, which can be had until "
        "2026-03-05T14:00:00Z. Not up to date: job-launcher: "
    )

    world.clock.passes(days=3)
    world.cluster.down.clear()
    await world.minute()
    [gone] = (await world.health())["deliveries"]
    assert (gone["guid"], gone["state"], world.emitted()) == (sent.guid, "gone", [])


async def test_a_time_without_a_comparison_that_github_forgot_is_reported(
    world: DeliveriesWorld,
) -> None:
    await world.minute()
    world.clock.passes(days=2)
    await world.minute()
    assert "nothing was compared" not in (await hook_of(world))["message"]
    world.clock.passes(days=5)
    await world.minute()
    assert (await hook_of(world))["message"] == (
        "GitHub made 0 in the last day, 0 are here. From 2026-03-04 14:10 to 2026-03-06 14:15 UTC "
        "nothing was compared, and GitHub has forgotten it."
    )


async def test_a_signature_that_is_not_ours_is_refused(world: DeliveriesWorld) -> None:
    number = await world.github.opened("o/r")
    sent = await world.github.labelled("o/r", number, "agent", "lost")
    sent.headers["X-Hub-Signature-256"] = "sha256=" + "0" * 64
    await world.minute()

    [refused] = (await world.health())["deliveries"]
    assert (refused["state"], world.emitted()) == ("refused", [])
    assert "fits none of our secrets" in refused["reason"]


async def test_one_without_a_signature_is_github_s_word(world: DeliveriesWorld) -> None:
    sent = await world.github.labelled("o/r", await world.github.opened("o/r"), "agent", "lost")
    del sent.headers["X-Hub-Signature-256"]
    await world.minute()
    await emitted(world, 1)
    assert world.emitted() == [sent.guid]


@pytest.mark.parametrize("title", ["naïve ☃ \U0001f600", "a\u001fb\\u001f", "</script>", "\u2028"])
@pytest.mark.parametrize("form", [False, True])
async def test_whatever_is_written_has_the_signature_that_it_was_sent_with(
    world: DeliveriesWorld, title: str, form: bool
) -> None:
    number = await world.github.opened("o/r", title)
    sent = await world.github.labelled("o/r", number, "agent", "lost")
    if form:
        sent.as_form(make.GITHUB)
    await world.minute()
    [message] = await emitted(world, 1)
    assert json.loads(message.data)["issue"]["title"] == title


@pytest.mark.parametrize("hook", ["app", "orgs/acme/hooks/7", "repos/o/r/hooks/9"])
async def test_each_kind_of_hook_is_compared(
    cluster: Cluster, webhook_database: str, tmp_path: Path, hook: str
) -> None:
    async with deliveries_world(cluster, webhook_database, tmp_path, hooks=(hook,)) as world:
        sent = await world.github.labelled("o/r", await world.github.opened("o/r"), "agent", "lost")
        by_app = {"GITHUB_APP_ID": "1", "GITHUB_APP_PRIVATE_KEY": world.github.private_key}
        world.deploy(by_app | ({} if hook.startswith("orgs/") else {"GITHUB_TOKEN": ""}))
        await world.minute()
        await emitted(world, 1)
        assert world.emitted() == [sent.guid]


async def test_two_hooks_are_two_and_one_that_is_away_costs_the_other_nothing(
    cluster: Cluster, webhook_database: str, tmp_path: Path
) -> None:
    hooks = ("app", HOOK)  # there are no credentials of the App
    async with deliveries_world(cluster, webhook_database, tmp_path, hooks=hooks) as world:
        await world.github.labelled("o/r", await world.github.opened("o/r"), "agent", "lost")
        await world.minute()
        await emitted(world, 1)
        first, second = (await world.health())["hooks"]
        assert "answers an App only: set GITHUB_APP_ID" in first["problem"]
        assert (second["problem"], second["fetched"]) == (None, 1)


async def test_without_credentials_it_says_so_and_how_to_change_that(
    cluster: Cluster, webhook_database: str, tmp_path: Path
) -> None:
    none = {"GITHUB_TOKEN": ""}
    async with deliveries_world(cluster, webhook_database, tmp_path, none) as world:
        await world.minute()
        health = await world.health()
        assert (health["asks_github"], health["hooks"], world.github.requests) == (False, [], [])
        assert "cannot be found" in health["message"]
        assert "GITHUB_APP_ID" in health["message"]


async def test_health_is_for_the_cluster_and_for_those_who_may_look(
    world: DeliveriesWorld,
) -> None:
    outside = {"Host": "hooks.example.org"}
    at = "/deliveries/health"
    assert (await world.client.get(at, headers=outside)).status_code == 401
    token = {"Authorization": f"Bearer {make.TOKEN}"}
    assert (await world.client.get(at, headers=outside | token)).status_code == 200


@pytest.mark.parametrize("hooks", ["apps", "orgs/acme", "repos/o/r/hooks/x", "repos/../hooks/1"])
def test_a_hook_that_is_none_is_named(hooks: str) -> None:
    with pytest.raises(BadSetting, match=r"GITHUB_HOOKS.*is not app, orgs"):
        ReconcileSettings.read({"GITHUB_HOOKS": hooks})


async def test_an_answer_in_another_shape_is_reported_and_ends_no_tick(
    world: DeliveriesWorld,
) -> None:
    async def odd(scope: Any, receive: Any, send: Any) -> None:
        is_one = scope["path"].rpartition("/")[2].isdecimal()
        await (JSONResponse({}) if is_one else world.github)(scope, receive, send)

    world.cluster.add("api", odd)
    sent = await world.github.labelled("o/r", await world.github.opened("o/r"), "agent", "lost")
    await world.minute()
    assert "could not be understood (KeyError)" in (await hook_of(world))["problem"]

    world.cluster.add("api", world.github)
    await world.minute()
    await emitted(world, 1)
    assert world.emitted() == [sent.guid]


class Poisoned:
    """GitHub, which answers with a status where a path ends so."""

    def __init__(self, world: DeliveriesWorld, status: int, *ends: str) -> None:
        self.world, self.status, self.ends = world, status, ends
        world.cluster.add("api", self)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        is_poison = scope["path"].endswith(self.ends)
        answer = JSONResponse({"message": "no"}, self.status)
        await (answer if is_poison else self.world.github)(scope, receive, send)


@pytest.mark.parametrize("status", [502, 403, 422])
async def test_one_that_is_not_given_out_holds_up_no_other(
    world: DeliveriesWorld, status: int
) -> None:
    poison = await world.github.labelled("o/r", await world.github.opened("o/r"), "agent", "lost")
    good = await world.github.labelled("o/r", await world.github.opened("o/r"), "agent", "lost")
    first, _ = world.github.attempts
    Poisoned(world, status, f"/deliveries/{first.id}")
    await world.minute()
    await emitted(world, 1)
    assert world.emitted() == [good.guid]
    health = await world.health()
    assert f"GitHub answered {status}" in health["hooks"][0]["problem"]
    [missing] = health["deliveries"]
    assert (missing["guid"], missing["state"]) == (poison.guid, "missing")
    assert f"GitHub answered {status}" in missing["reason"]

    world.cluster.add("api", world.github)
    await world.minute(60)
    await emitted(world, 2)
    assert world.emitted() == [good.guid, poison.guid]


async def test_many_that_github_has_no_longer_hold_up_none(world: DeliveriesWorld) -> None:
    number = await world.github.opened("o/r")
    for _ in range(201):
        await world.github.labelled("o/r", number, "agent", "lost")
    good = await world.github.labelled("o/r", number, "agent", "lost")
    Poisoned(world, 404, *(f"/deliveries/{one.id}" for one in world.github.attempts[:-1]))
    for _ in range(2):
        await world.minute()
    await emitted(world, 1)
    assert world.emitted() == [good.guid]
    assert len([one for one in asked(world) if "/deliveries/" in one]) == 1
    assert (await hook_of(world))["missing"] == 201


async def test_a_refused_one_is_alerted_of_until_it_is_here_or_gone(
    world: DeliveriesWorld,
) -> None:
    number = await world.github.opened("o/r")
    sent = await world.github.labelled("o/r", number, "agent", "lost")
    right, sent.headers["X-Hub-Signature-256"] = sent.headers["X-Hub-Signature-256"], "sha256=0"
    await world.minute()
    assert await not_here(world) == 1
    sent.headers["X-Hub-Signature-256"] = right
    assert await world.github.tries(sent, again=True) == 202
    await world.minute()
    assert await not_here(world) == 0
    assert (await world.health())["deliveries"] == []


async def test_a_refused_one_that_is_sent_anew_and_lost_is_fetched(world: DeliveriesWorld) -> None:
    number = await world.github.opened("o/r")
    sent = await world.github.labelled("o/r", number, "agent", "lost")
    right, sent.headers["X-Hub-Signature-256"] = sent.headers["X-Hub-Signature-256"], "sha256=0"
    await world.minute()
    assert [one["state"] for one in (await world.health())["deliveries"]] == ["refused"]
    sent.headers["X-Hub-Signature-256"] = right
    await world.github.tries(sent, lost=True, again=True)
    await world.minute()
    assert (await world.health())["deliveries"] == []


async def not_here(world: DeliveriesWorld) -> float:
    found = {one.name: one.value for one in await gauges(world.deploy({}))}
    return found["deliveries_missing"]


async def test_an_app_without_a_repository_says_what_it_does_not_find(
    cluster: Cluster, webhook_database: str, tmp_path: Path
) -> None:
    async with deliveries_world(cluster, webhook_database, tmp_path, hooks=("app",)) as world:
        health = await world.health()
        assert [one["problem"] for one in health["issues"]] == ["GITHUB_REPOSITORIES is not set"]
        assert "Set GITHUB_REPOSITORIES" in health["message"]


@pytest.mark.parametrize(
    "wrong",
    [{"GITHUB_APP_ID": "1"}, {"GITHUB_APP_ID": "1", "GITHUB_APP_PRIVATE_KEY": "no key"}],
)
async def test_an_app_that_cannot_sign_is_reported_at_the_start(
    world: DeliveriesWorld, wrong: dict[str, str]
) -> None:
    with pytest.raises(BadSetting, match="GITHUB_APP_PRIVATE_KEY"):
        await start(world.deploy(wrong))
    await start(world.deploy({"GITHUB_APP_ID": "1", **key_of(world)}))


def key_of(world: DeliveriesWorld) -> dict[str, str]:
    return {"GITHUB_APP_PRIVATE_KEY": world.github.private_key}
