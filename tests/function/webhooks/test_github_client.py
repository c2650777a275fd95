"""The kit's client of GitHub against the stand-in, which GitHub's own document judges."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from functions.kit.clients import Github
from functions.kit.clients.github import TokenRefused
from functions.kit.clients.github_app import GithubSettings
from functions.kit.clients.github_limits import RateLimited
from functions.kit.errors import NotFound, PermanentError, TemporaryError
from functions.kit.settings import BadSetting
from tests.support.cluster import Cluster
from tests.support.github_standin import GithubStandIn

ISSUES = "/repos/o/r/issues"
READ = {"issues": "read"}


class Clock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def standin(cluster: Cluster, clock: Clock) -> AsyncIterator[GithubStandIn]:
    async with cluster.client("webhook-receiver") as receiver:
        standin = GithubStandIn(clock, receiver, "secret")
        cluster.add("api", standin)
        yield standin
    assert standin.document.violations == []


@pytest.fixture
async def http(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=cluster) as http:
        yield http


def by_app(standin: GithubStandIn, **settings: str) -> GithubSettings:
    environ = {"GITHUB_APP_ID": "1", "GITHUB_APP_PRIVATE_KEY": standin.private_key}
    return GithubSettings.read(environ | settings)


def by_token(standin: GithubStandIn, **settings: str) -> GithubSettings:
    return GithubSettings.read({"GITHUB_TOKEN": standin.token} | settings)


async def test_an_app_signs_for_itself(
    standin: GithubStandIn, http: httpx.AsyncClient, clock: Clock
) -> None:
    answer = await Github(by_app(standin), http, clock).as_app("/app/hook/deliveries")
    assert (answer.body, answer.next) == ([], None)


@pytest.mark.parametrize("minutes", [-90, -9, 9, 90])
async def test_an_app_goes_by_github_s_clock(
    standin: GithubStandIn, http: httpx.AsyncClient, clock: Clock, minutes: int
) -> None:
    standin.skew = timedelta(minutes=minutes)
    github = Github(by_app(standin), http, clock)

    assert (await github.as_app("/app/hook/deliveries")).body == []
    assert github.time == standin.time
    await github.as_app("/app/hook/deliveries")
    assert len(standin.requests) == 3, "the first one was refused, and no other"


async def test_a_wrong_key_is_refused_once(
    standin: GithubStandIn, http: httpx.AsyncClient, clock: Clock
) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    foreign = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    settings = by_app(standin, GITHUB_APP_PRIVATE_KEY=foreign)
    with pytest.raises(TokenRefused, match="could not be decoded"):
        await Github(settings, http, clock).as_app("/app/hook/deliveries")
    assert len(standin.requests) == 1


async def test_an_installation_s_token_can_do_what_was_asked_for_and_is_used_for_an_hour(
    standin: GithubStandIn, http: httpx.AsyncClient, clock: Clock
) -> None:
    github = Github(by_app(standin), http, clock)
    for _ in range(3):
        await github.get(ISSUES, repository="o/r", permissions=READ)
    assert len(standin.requests) == 2 + 3

    with pytest.raises(PermanentError, match=r"403 .*not accessible by integration"):
        await github.get("/repos/o/r/hooks/1/deliveries", repository="o/r", permissions=READ)
    clock.time += timedelta(minutes=56)
    await github.get(ISSUES, repository="o/r", permissions=READ)
    assert [one.partition(" ")[0] for one in standin.requests[-3:]] == ["GET", "POST", "GET"]


async def test_what_has_not_changed_costs_nothing(
    standin: GithubStandIn, http: httpx.AsyncClient, clock: Clock
) -> None:
    github = Github(by_token(standin), http, clock)
    first = await github.get(ISSUES)
    left = standin.remaining
    again = await github.get(ISSUES, etag=first.etag)
    assert (again.changed, standin.remaining) == (False, left)
    await standin.opened("o/r")
    assert len((await github.get(ISSUES, etag=first.etag)).body) == 1


async def test_pages_follow_the_link(
    standin: GithubStandIn, http: httpx.AsyncClient, clock: Clock
) -> None:
    github = Github(by_token(standin), http, clock)
    for _ in range(5):
        await standin.opened("o/r")
    query: dict[str, str] | None = {"per_page": "2"}
    numbers = []
    while query is not None:
        answer = await github.get(ISSUES, query)
        numbers += [one["number"] for one in answer.body]
        query = dict(answer.next) if answer.next else None
    assert numbers == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("status", "headers", "rests_s"),
    [(429, {"Retry-After": "90"}, 90), (403, {"Retry-After": "7"}, 7), (429, {}, 60)],
)
async def test_a_secondary_limit_is_waited_for(
    standin: GithubStandIn,
    http: httpx.AsyncClient,
    clock: Clock,
    status: int,
    headers: dict[str, str],
    rests_s: int,
) -> None:
    github = Github(by_token(standin), http, clock)
    standin.busy = [(status, headers)]
    with pytest.raises(RateLimited) as limited:
        await github.get(ISSUES)
    assert limited.value.delay_s == rests_s
    clock.time += timedelta(seconds=rests_s - 1)
    with pytest.raises(RateLimited):
        await github.get(ISSUES)
    assert len(standin.requests) == 1, "nothing is asked before the time"
    clock.time += timedelta(seconds=1)
    await github.get(ISSUES)


async def test_a_reserve_of_the_hour_is_left_to_others(
    standin: GithubStandIn, http: httpx.AsyncClient, clock: Clock
) -> None:
    github = Github(by_token(standin, GITHUB_RESERVE="100"), http, clock)
    standin.remaining = 102
    await github.get(ISSUES)
    await github.get(ISSUES)
    with pytest.raises(RateLimited) as limited:
        await github.get(ISSUES)
    assert (standin.remaining, limited.value.delay_s) == (100, 3600)
    clock.time += timedelta(hours=1)
    standin.remaining = standin.limit
    await github.get(ISSUES)


async def test_what_github_says_is_an_error_with_its_message(
    standin: GithubStandIn, cluster: Cluster, http: httpx.AsyncClient, clock: Clock
) -> None:
    github = Github(by_token(standin), http, clock)
    with pytest.raises(NotFound, match="404 to /repos/o/r/issues/9: Not Found"):
        await github.get("/repos/o/r/issues/9")
    standin.busy = [(502, {})]
    with pytest.raises(TemporaryError, match="502"):
        await github.get(ISSUES)
    cluster.down.add("api")
    with pytest.raises(TemporaryError, match="connection refused"):
        await github.get(ISSUES)


async def test_credentials_that_do_not_fit_are_named(
    standin: GithubStandIn, http: httpx.AsyncClient, clock: Clock
) -> None:
    with pytest.raises(PermanentError, match="set GITHUB_TOKEN"):
        await Github(GithubSettings.read({}), http, clock).get(ISSUES)
    with pytest.raises(PermanentError, match="set GITHUB_APP_ID"):
        await Github(by_token(standin), http, clock).as_app("/app/hook/deliveries")
    broken = by_app(standin, GITHUB_APP_PRIVATE_KEY="no key")
    with pytest.raises(BadSetting, match="GITHUB_APP_PRIVATE_KEY"):
        await Github(broken, http, clock).as_app("/app/hook/deliveries")
    assert standin.private_key not in repr(by_app(standin))
    assert standin.token not in repr(by_token(standin))
