"""Events that the routes are tried on."""

from __future__ import annotations

import json
from typing import Any

from functions.events.base import AnyEvent
from functions.job_launcher.settings import LauncherSettings

IMAGE = f"ghcr.io/acme/agent@sha256:{'0' * 64}"
FUNCTIONS = "ghcr.io/acme/dsm-functions:1"
LAUNCHER = LauncherSettings(job_image=IMAGE, workspace_image=FUNCTIONS)
REPOSITORY = {"full_name": "acme/shop", "html_url": "https://github.com/acme/shop"}
ISSUE: dict[str, Any] = {
    "action": "labeled",
    "label": {"name": "agent"},
    "issue": {
        "number": 7,
        "title": "Fix it",
        "body": None,
        "labels": [{"name": "agent"}, {"name": "bug"}],
    },
    "repository": REPOSITORY,
    "sender": {"login": "octocat", "type": "User"},
}
PULL: dict[str, Any] = {
    "action": "opened",
    "number": 8,
    "pull_request": {
        "number": 8,
        "title": "Fixed",
        "author_association": "MEMBER",
        "head": {"ref": "fix", "sha": "abc", "repo": REPOSITORY},
        "base": {"ref": "main", "repo": REPOSITORY},
        "labels": [],
    },
    "repository": REPOSITORY,
    "sender": {"login": "octocat", "type": "User"},
}
ALERT: dict[str, Any] = {
    "status": "firing",
    "groupKey": "{}",
    "alerts": [
        {"status": "resolved", "labels": {"task_id": "old"}},
        {"status": "firing", "labels": {"task_id": "T-1", "severity": "critical"}},
    ],
    "commonLabels": {},
}
TASK: dict[str, Any] = {
    "task_id": "T-1",
    "service": "shop",
    "title": "Do it",
    "priority": "high",
    "acceptance_criteria": ["works"],
    "agent_type": None,
}


def event(
    type: str, data: Any, *, id: str = "d-1", source: str = "/s", **extensions: str
) -> AnyEvent:
    """An event as the launcher gets it; of GitHub, from a user who may write."""
    emitted = {"id": id or "d", "source": source, "type": type, "specversion": "1.0"}
    if type.startswith("com.github."):
        emitted["actorpermission"] = "write"
    emitted |= extensions
    return AnyEvent(ce_attributes=emitted, data=json.dumps(data).encode())
