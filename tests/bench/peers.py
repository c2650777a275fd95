"""The DSM services' read routes for N projects, each answer a fixed time late: PEERS_PORT LATENCY.

Run as a program: PORT LATENCY_MS PROJECTS. Raw ASGI, so that the peer is not what is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvicorn


def application(latency_s: float, projects: int) -> Any:
    names = [f"P{number:04d}" for number in range(projects)]
    listed = json.dumps([{"id": n, "name": n, "description": n, "status": "x"} for n in names])
    sprints = json.dumps([{"project_id": n, "sprints": []} for n in names])
    fixed = {"/projects": listed.encode(), "/sprints/list_projects": sprints.encode()}

    def answer(path: str) -> bytes:
        if path in fixed:
            return fixed[path]
        if path.endswith("/task-summary"):
            return b'{"total_tasks":10,"completed_tasks":5,"pending_tasks":5}'
        project = path.rpartition("/")[2]
        sprint = {"sprint_id": f"{project}-S01", "project_id": project, "status": "in_progress"}
        return json.dumps([sprint]).encode()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await asyncio.sleep(latency_s)
        body = answer(scope["path"])
        headers = [(b"content-length", str(len(body)).encode())]
        headers.append((b"content-type", b"application/json"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


if __name__ == "__main__":
    port, latency_ms, count = sys.argv[1:]
    app = application(float(latency_ms) / 1000, int(count))
    uvicorn.run(app, port=int(port), log_config=None, access_log=False, lifespan="off")
