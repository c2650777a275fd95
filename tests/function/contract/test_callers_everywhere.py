"""Once OIDC_AUDIENCE is set, every function and service knows its callers; so will a new one."""

from __future__ import annotations

import httpx
import pytest

from functions.kit import cloudevents
from tests.support import webhook_requests
from tests.support.cluster import Cluster, assert_problem, message_of
from tests.support.issuer import ENVIRON, Issuer, bearer
from tests.support.repository import all_folders, target
from tests.support.slow_target import NapAsked

# Whose requests are proven in another way: by a signature, by a session.
PROVEN = {
    "agent_outputs": ("/jobs/x/outputs",),
    "console": ("/", "/jobs"),
    "webhook_receiver": ("/webhook/github", "/deliveries"),
}


@pytest.fixture
def issuer(cluster: Cluster) -> Issuer:
    found = Issuer()
    cluster.add("issuer", found.app)
    return found


@pytest.fixture(params=sorted(all_folders()))
def name(request: pytest.FixtureRequest, cluster: Cluster, issuer: Issuer) -> str:
    # Nothing is reached: a request that goes further than it may fails, and in another way.
    environ = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", **webhook_requests.SECRETS}
    cluster.deploy(target(request.param), environ | ENVIRON)
    return str(request.param)


def everything(name: str) -> list[httpx.Request]:
    url = f"http://{name.replace('_', '-')}.dsm.svc.cluster.local"
    headers, body = cloudevents.encode(message_of(NapAsked()))
    requests = [
        httpx.Request("POST", url, headers=headers, content=body),
        httpx.Request("POST", url, json={}),
    ]
    paths = ("/", "/runs", "/jobs", "/dead-letters", "/api/orchestrations", "/projects", "/x")
    requests += [
        httpx.Request(method, f"{url}{path}")
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE")
        for path in paths
        if path not in PROVEN.get(name, ())
    ]
    return requests if name != "console" else []


async def test_nothing_is_answered_without_a_token(name: str, cluster: Cluster) -> None:
    for request in everything(name):
        response = await cluster.handle_async_request(request)
        await response.aread()
        assert response.status_code == 401, f"{request.method} {request.url}"
        if request.method != "HEAD":
            assert_problem(response)


async def test_nothing_is_answered_to_a_stranger(
    name: str, cluster: Cluster, issuer: Issuer
) -> None:
    stranger = bearer(issuer.token("system:serviceaccount:dsm:stranger"))
    for request in everything(name):
        request.headers.update(stranger)
        response = await cluster.handle_async_request(request)
        assert response.status_code == 403, f"{request.method} {request.url}"


async def test_what_proves_itself_needs_no_token(name: str, cluster: Cluster) -> None:
    async with cluster.client(name.replace("_", "-")) as client:
        for path in PROVEN.get(name, ()):
            response = await client.get(path)
            assert "www-authenticate" not in response.headers, path
