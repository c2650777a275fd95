"""Users show the orchestrator's API the tokens with which they sign in to the console."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from functions.kit import cloudevents
from functions.orchestrator.main import orchestrator
from tests.support.cluster import Cluster, assert_problem, message_of
from tests.support.issuer import ENVIRON, Issuer, bearer
from tests.support.login_issuer import CLIENT, LoginIssuer
from tests.support.login_issuer import ENVIRON as USERS
from tests.support.saga_world import TENANT
from tests.support.slow_target import NapAsked

ACCOUNT = "system:serviceaccount:dsm:tenant-service"
BASE = "/api/orchestration"
ADA, BOB = {"email": "ada@example.org"}, {"email": "bob@example.org"}


@pytest.fixture
def users(cluster: Cluster) -> LoginIssuer:
    found = LoginIssuer()
    cluster.add("login", found.app)
    return found


@pytest.fixture
async def client(
    cluster: Cluster, functions_database: str, users: LoginIssuer
) -> AsyncIterator[httpx.AsyncClient]:
    issuer = Issuer()
    cluster.add("issuer", issuer.app)
    # The widest lists of accounts: a user is in none.
    accounts = {"OIDC_CALLERS": "*", "OIDC_OPERATORS": "*", "OIDC_SENDERS": "*"}
    cluster.deploy(
        orchestrator, {"DATABASE_URL": functions_database, **ENVIRON, **accounts, **USERS}
    )
    async with cluster.client("orchestrator") as client:
        token = bearer(issuer.token(ACCOUNT))
        assert (await client.post(f"{BASE}/register", json=TENANT, headers=token)).is_success
        yield client


async def started(client: httpx.AsyncClient, users: LoginIssuer) -> str:
    answer = await client.post(
        f"{BASE}/execute/tenantCreation", json={}, headers=bearer(users.user(**ADA))
    )
    assert answer.is_success, answer.text
    return str(answer.json()["flowId"])


async def test_a_viewer_reads_and_changes_nothing(
    client: httpx.AsyncClient, users: LoginIssuer
) -> None:
    flow = await started(client, users)
    bob = bearer(users.user(**BOB))
    assert (await client.get(f"/api/audit/{flow}", headers=bob)).status_code == 200
    for path in (f"cancel/{flow}", "execute/tenantCreation"):
        refused = await client.post(f"{BASE}/{path}", json={}, headers=bob)
        assert refused.status_code == 403
        assert "USER_OPERATORS" in refused.json()["detail"]


async def test_an_operator_acts_under_the_name_of_the_token(
    client: httpx.AsyncClient, users: LoginIssuer
) -> None:
    flow = await started(client, users)
    ada = bearer(users.user(**ADA)) | {"X-User": "somebody else"}
    answer = await client.post(f"{BASE}/pause/{flow}", json={}, headers=ada)
    assert answer.is_success, answer.text
    run = await client.get(f"/api/audit/{flow}", headers=ada)
    assert "ada@example.org" in run.text
    assert "somebody else" not in run.text


async def test_a_user_sends_no_events(client: httpx.AsyncClient, users: LoginIssuer) -> None:
    headers, body = cloudevents.encode(message_of(NapAsked()))
    shown = list(bearer(users.user(**ADA)).items())
    refused = await client.post("/", headers=[*headers, *shown], content=body)
    assert refused.status_code == 403
    assert_problem(refused)


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"email": "mallory@example.com"}, 403),
        ({"aud": "another"}, 401),
        ({"exp": 1}, 401),
        ({"email": None}, 401),
        ({"email_verified": False}, 401),
        ({"email": ACCOUNT}, 401),
        ({"iss": "https://evil.example", "aud": CLIENT}, 401),
    ],
    ids=str,
)
async def test_no_other_token_is_a_users(
    client: httpx.AsyncClient, users: LoginIssuer, claims: dict[str, str], status: int
) -> None:
    answer = await client.get(f"{BASE}/executions", headers=bearer(users.user(**claims)))
    assert answer.status_code == status


async def test_an_issuers_key_is_for_its_own_users(
    client: httpx.AsyncClient, users: LoginIssuer
) -> None:
    forged = users.signed(Issuer().claims(ACCOUNT))
    assert (await client.get(f"{BASE}/executions", headers=bearer(forged))).status_code == 401
