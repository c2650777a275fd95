"""What a user asked for on GitHub and may not: reported where they look. Pure."""

from __future__ import annotations

import re
from datetime import datetime

from functions.events.agent import AgentRefused
from functions.job_grant import REPOSITORY
from functions.job_launcher.routes.match import RouteChoice


def refusal_of(choice: RouteChoice, at: datetime) -> AgentRefused | None:
    """Return the refusal of a label or a command; None of what asks for nothing, or is a bot's.

    A pull request that a stranger opens asks for nothing.
    """
    route, fields, data = choice.refused, choice.fields, choice.data
    if choice.route is not None or route is None or route.job is None:
        return None
    if fields.bot is not False or not (fields.action == "labeled" or fields.command):
        return None
    try:
        about = data.get("issue") or data["pull_request"]
        repository, issue = str(data["repository"]["full_name"]), int(about["number"])
        comment, labels = data.get("comment") or {}, ", ".join(fields.labels)
        if not re.match(REPOSITORY, repository):
            return None
        return AgentRefused(
            route=route.name,
            repository=repository,
            issue=issue,
            login=str(data["sender"]["login"])[:100],
            asked=f"/agent {fields.command}" if fields.command else f"label {labels}"[:100],
            reason=choice.mismatches[route.name],
            comment=comment.get("id"),
            refused_at=at,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
