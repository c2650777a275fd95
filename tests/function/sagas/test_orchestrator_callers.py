"""With tokens a service is who its token says at the orchestrator, and touches no other's run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from functions.events.base import Event
from functions.events.saga import RegistrationRequested, StepAnswered
from functions.kit import cloudevents
from functions.orchestrator.main import orchestrator
from tests.support.cluster import Cluster, assert_problem
from tests.support.issuer import ENVIRON, SENDER, Issuer, bearer
from tests.support.saga_world import TENANT

ACCOUNT = "system:serviceaccount:dsm:"
OTHERS = "system:serviceaccount:other:"
NAMES = ("tenant-service", "realm-service", "operator", "console")
WORKER = {"orchName": "tenantCreation", "as": "worker", "steps": [{"name": "createRealm"}]}


class Api:
    """The orchestrator's API, asked under the accounts of services."""

    def __init__(self, client: httpx.AsyncClient, issuer: Issuer) -> None:
        self._client = client
        self.issuer = issuer

    async def ask(
        self, account: str, method: str, path: str, *, body: object = None, **claims: str
    ) -> httpx.Response:
        """`claims` are headers that say who asks."""
        subject = account if ":" in account else f"{ACCOUNT}{account}"
        shown = bearer(self.issuer.token(subject))
        claimed = {name.replace("_", "-"): value for name, value in claims.items()}
        path = f"/api/orchestration/{path}"
        return await self._client.request(method, path, json=body, headers=claimed | shown)


@pytest.fixture
async def api(cluster: Cluster, functions_database: str) -> AsyncIterator[Api]:
    issuer = Issuer()
    cluster.add("issuer", issuer.app)
    who = {
        "OIDC_CALLERS": ",".join([*(ACCOUNT + name for name in NAMES), f"{OTHERS}*", "ada"]),
        "OIDC_OPERATORS": f"{ACCOUNT}operator",
        "OIDC_PROXIES": f"{ACCOUNT}console",
    }
    cluster.deploy(orchestrator, {"DATABASE_URL": functions_database, **ENVIRON, **who})
    async with cluster.client("orchestrator") as client:
        made = Api(client, issuer)
        assert (await made.ask("tenant-service", "POST", "register", body=TENANT)).is_success
        assert (await made.ask("realm-service", "POST", "register", body=WORKER)).is_success
        yield made


async def test_a_service_registers_under_its_own_name_only(api: Api) -> None:
    body = {**WORKER, "serviceName": "realm-service"}
    refused = await api.ask(
        "tenant-service", "POST", "register", body=body, X_Service_Name="realm-service"
    )
    assert refused.status_code == 400
    assert "'realm-service' is not 'tenant-service'" in refused.text


async def test_a_worker_of_the_same_name_in_another_namespace_is_another(api: Api) -> None:
    stranger = f"{OTHERS}realm-service"
    body = {**WORKER, "serviceName": "realm-service"}
    refused = await api.ask(stranger, "POST", "register", body=body)
    assert refused.status_code == 400
    assert "'realm-service' is not 'other_realm-service'" in refused.text
    path = "register/tenantCreation/realm-service"
    assert (await api.ask(stranger, "DELETE", path)).status_code == 403


async def test_who_is_no_service_registers_for_none(api: Api) -> None:
    body = {**WORKER, "serviceName": "realm-service"}
    refused = await api.ask("ada", "POST", "register", body=body)
    assert refused.status_code == 403
    assert (await api.ask("console", "POST", "register", body=body)).is_success


@pytest.mark.parametrize("kind", [StepAnswered, RegistrationRequested])
async def test_an_event_counts_as_of_the_worker_whose_source_it_has(
    cluster: Cluster, api: Api, kind: type[Event]
) -> None:
    """An EventPolicy lets a worker send under its own source only."""
    started = await api.ask("tenant-service", "POST", "execute/tenantCreation", body={})
    answer = {
        "flowId": started.json()["flowId"],
        "stepName": "createRealm",
        "workerName": "realm-service",
        "metadata": {"status": "SUCCESS"},
    }
    data = answer if kind is StepAnswered else {**WORKER, "serviceName": "realm-service"}
    for source, status in (
        ("/functions/client-service", 422),
        ("realm-service", 422),
        ("/functions/realm-service", 202),
    ):
        message = cloudevents.Message(source, source, kind.type, json.dumps(data).encode())
        headers, body = cloudevents.encode(message)
        shown = bearer(api.issuer.token(SENDER)).items()
        async with cluster.client("orchestrator") as client:
            answered = await client.post("/", headers=[*headers, *shown], content=body)
        assert answered.status_code == status, (source, answered.text)


async def test_a_registration_is_removed_by_its_owner_or_an_operator(api: Api) -> None:
    path = "register/tenantCreation/realm-service"
    refused = await api.ask("tenant-service", "DELETE", path, X_Service_Name="realm-service")
    assert refused.status_code == 403
    assert_problem(refused)
    assert (await api.ask("realm-service", "DELETE", path)).status_code == 200
    assert (await api.ask("realm-service", "POST", "register", body=WORKER)).is_success
    assert (await api.ask("operator", "DELETE", path)).status_code == 200


@pytest.mark.parametrize("action", ["cancel", "undo", "pause", "resume", "retry"])
async def test_what_changes_a_run_is_for_operators(api: Api, action: str) -> None:
    started = await api.ask("tenant-service", "POST", "execute/tenantCreation", body={})
    path = f"{action}/{started.json()['flowId']}"
    refused = await api.ask("tenant-service", "POST", path, X_User="ada")
    assert refused.status_code == 403
    assert "OIDC_OPERATORS" in refused.json()["detail"]
    for allowed in ("operator", "console"):
        answer = await api.ask(allowed, "POST", path, X_User="ada")
        assert answer.status_code in (200, 409), "done, or what its state does not allow"
