"""Check runs on GitHub: an App makes them, users press their buttons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tests.support.github_answers import API, Found, Routes, repository_of
from tests.support.github_rights import GithubRights
from tests.support.github_world import GithubWorld, Sent

_CHECKS = "/repos/{owner}/{repo}/check-runs"


@dataclass
class CheckRun:
    """`states` are its contents so far."""

    id: int
    repository: str
    head_sha: str
    states: list[dict[str, Any]]

    @property
    def body(self) -> dict[str, Any]:
        return self.states[-1]


class GithubChecks:
    """Those that the App has made, in their order."""

    def __init__(self, world: GithubWorld, rights: GithubRights) -> None:
        self._world, self._rights = world, rights
        self.runs: dict[int, CheckRun] = {}

    def routes(self) -> Routes:
        yield "POST", _CHECKS, self._create
        yield "PATCH", f"{_CHECKS}/{{id:int}}", self._update

    async def presses(
        self, run: CheckRun, identifier: str, by: str = "octocat", action: str = "requested_action"
    ) -> Sent:
        """A user presses a button of it, or with another `action` its own re-run button."""
        buttons = [one["identifier"] for one in run.body["actions"]]
        assert action == "rerequested" or identifier in buttons, buttons
        world = self._world
        payload = {
            "action": action,
            "check_run": self._shown(run),
            "repository": world.repository(run.repository),
            "sender": world.user(by),
        }
        if action == "requested_action":
            payload["requested_action"] = {"identifier": identifier}
        return await world.delivers("check_run", payload)

    async def _create(self, request: Request) -> Found:
        self._check(request)
        body = await request.json()
        run = CheckRun(self._world.new_id(), repository_of(request), body["head_sha"], [body])
        self.runs[run.id] = run
        return self._shown(run), {}

    async def _update(self, request: Request) -> Found:
        self._check(request)
        run = self.runs.get(request.path_params["id"])
        if run is None or run.repository != repository_of(request):
            raise HTTPException(404, "Not Found")
        run.states.append({**run.body, **await request.json()})
        return self._shown(run), {}

    def _check(self, request: Request) -> None:
        if self._rights.is_user(request):
            raise HTTPException(403, "You must authenticate via a GitHub App.")
        self._rights.check(request, self._world.time, "checks")

    def _shown(self, run: CheckRun) -> dict[str, Any]:
        body = run.body
        output = {**body["output"], "text": None, "annotations_count": 0}
        return self._world.document.made(
            "check-run",
            id=run.id,
            head_sha=run.head_sha,
            name=body["name"],
            external_id=body["external_id"],
            status=body["status"],
            conclusion=body.get("conclusion"),
            output={**output, "annotations_url": f"{API}/annotations"},
            url=f"{API}/repos/{run.repository}/check-runs/{run.id}",
        )
