"""The DSM services' read routes for N projects, each answer a fixed time late.

Run as a program: PORT LATENCY_MS PROJECTS OVERVIEW. Without an overview (0) each project is asked
for by itself. Raw ASGI, so that the peer is not what is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvicorn

COUNTS = {"total_tasks": 10, "completed_tasks": 5, "pending_tasks": 5}


def of(project: str) -> dict[str, Any]:
    """A project's sprint, counted."""
    sprint = {"sprint_id": f"{project}-S01", "project_id": project, "status": "in_progress"}
    return sprint | COUNTS


def application(latency_s: float, projects: int, overview: bool) -> Any:
    names = [f"P{number:04d}" for number in range(projects)]
    listed = json.dumps([{"id": n, "name": n, "description": n, "status": "x"} for n in names])
    sprints = json.dumps([{"project_id": n, "sprints": []} for n in names])
    fixed = {"/projects": listed.encode(), "/sprints/list_projects": sprints.encode()}
    if overview:
        fixed["/sprints/overview"] = json.dumps([of(name) for name in names]).encode()

    def answer(path: str) -> bytes | None:
        if path in fixed:
            return fixed[path]
        if path == "/sprints/overview":
            return None
        if path.endswith("/task-summary"):
            return json.dumps(COUNTS).encode()
        return json.dumps([of(path.rpartition("/")[2])]).encode()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await asyncio.sleep(latency_s)
        found = answer(scope["path"])
        body = b"" if found is None else found
        headers = [(b"content-length", str(len(body)).encode())]
        headers.append((b"content-type", b"application/json"))
        status = 404 if found is None else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


if __name__ == "__main__":
    port, latency_ms, count, overview = sys.argv[1:]
    app = application(float(latency_ms) / 1000, int(count), overview == "1")
    uvicorn.run(app, port=int(port), log_config=None, access_log=False, lifespan="off")
