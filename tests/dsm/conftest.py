"""The six services in one process, each with a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from functions.dsm.backlog_service.main import backlog_service
from functions.dsm.chronicle_service.main import chronicle_service
from functions.dsm.daily_scrum_service.main import daily_scrum_service
from functions.dsm.project_orchestrator.main import project_orchestrator
from functions.dsm.project_service.main import project_service
from functions.dsm.sprint_service.main import sprint_service
from tests.conftest import MakeMigrated
from tests.support.crashing_cluster import CrashingCluster
from tests.support.kube_server import make_kube, serving
from tests.support.kubeconfig import kubeconfig

TARGETS = (
    project_service,
    sprint_service,
    backlog_service,
    daily_scrum_service,
    chronicle_service,
    project_orchestrator,
)


@dataclass
class Dsm:
    """A user's view of the services: HTTP and nothing else."""

    cluster: CrashingCluster
    kubernetes: str

    async def call(
        self, method: str, service: str, at: str, *, key: str = "", **options: Any
    ) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        async with self.cluster.client(service) as client:
            return await client.request(method, at, headers=headers, **options)

    async def get(self, service: str, at: str, **query: str) -> Any:
        response = await self.call("GET", service, at, params=query)
        assert response.status_code == 200, response.text
        return response.json()

    async def post(self, service: str, at: str, body: object = None, *, key: str = "") -> Any:
        response = await self.call("POST", service, at, key=key, json=body)
        assert response.is_success, response.text
        return response.json()

    async def refused(self, status: int, method: str, service: str, at: str, **options: Any) -> str:
        """The detail of an answer that must have `status`."""
        response = await self.call(method, service, at, **options)
        assert response.status_code == status, (response.status_code, response.text)
        return str(response.json()["detail"])

    async def project(self, project_id: str = "GEM-001", members: int = 2) -> str:
        """A project with a team."""
        await self.post(
            "project-service",
            "/projects",
            {"id": project_id, "name": project_id, "description": "", "status": "inactive"},
        )
        ids = [f"{project_id}-E{n}" for n in range(members)]
        for employee_id in ids:
            await self.post(
                "project-service", "/employees", {"id": employee_id, "name": employee_id}
            )
        await self.post(
            "project-service",
            f"/projects/{project_id}/team-members-assign",
            {"employee_ids": ids},
        )
        return project_id

    async def backlog(self, project_id: str = "GEM-001") -> list[str]:
        """Ten new tasks."""
        answer = await self.post("backlog-service", f"/backlogs/{project_id}")
        return list(answer["task_ids"])

    async def sprint(self, project_id: str = "GEM-001", **options: Any) -> str:
        """A sprint of ten new tasks, in a new project."""
        await self.project(project_id)
        await self.backlog(project_id)
        body = {"sprint_name": "first", "duration_weeks": 2, **options}
        answer = await self.post("sprint-service", f"/sprints/{project_id}", body)
        return str(answer["sprint_id"])

    async def finish(self, sprint_id: str) -> None:
        """Complete every task of a sprint."""
        tasks = await self.get("sprint-service", f"/sprints/{sprint_id}/tasks")
        moves = [{"task_id": t["task_id"], "progress_made": 100} for t in tasks]
        await self.post("sprint-service", f"/sprints/{sprint_id}/progress", {"moves": moves})

    async def orchestrate(
        self, project_id: str = "GEM-001", *, key: str = "", **options: Any
    ) -> Any:
        return await self.post(
            "project-orchestrator",
            f"/orchestrate/project/{project_id}",
            {"options": options},
            key=key,
        )

    async def schedules(self) -> dict[str, Any]:
        """The PingSources that exist, by name."""
        async with httpx.AsyncClient(
            base_url=self.kubernetes, trust_env=False, timeout=60
        ) as client:
            answer = await client.get("/apis/sources.knative.dev/v1/namespaces/dsm/pingsources")
        return {item["metadata"]["name"]: item for item in answer.json()["items"]}


@pytest.fixture
async def kubernetes(tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a Kubernetes API."""
    async with serving(make_kube(tmp_path / "kube")) as url:
        yield url


@pytest.fixture
async def cluster() -> AsyncIterator[CrashingCluster]:
    """An empty cluster whose processes may die."""
    cluster = CrashingCluster()
    yield cluster
    await cluster.close()


@pytest.fixture(scope="session")
async def dsm_databases(make_migrated: MakeMigrated) -> dict[str, str]:
    """A database for each service, by target."""
    names = [target.__dict__["api"].name for target in TARGETS]
    return {name: await make_migrated(name) for name in names}


@pytest.fixture
async def dsm(
    cluster: CrashingCluster, dsm_databases: dict[str, str], kubernetes: str, tmp_path: Path
) -> Dsm:
    """The six services with nothing in them, a broker's stand-in and a Kubernetes API."""
    config = kubeconfig(tmp_path, kubernetes)
    for target in TARGETS:
        url = dsm_databases[target.__dict__["api"].name]
        await _empty(url)
        environ = {"DATABASE_URL": url, "KUBECONFIG": config, "KUBERNETES_NAMESPACE": "dsm"}
        cluster.deploy(target, environ)
    return Dsm(cluster, kubernetes)


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    tables = await connection.fetchval(
        """SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables
           WHERE schemaname = 'public' AND tablename NOT LIKE '%\\_version'"""
    )
    await connection.execute(f"TRUNCATE {tables} RESTART IDENTITY")
    await connection.close()
