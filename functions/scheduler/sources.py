"""The PingSources of the namespace: what each defines of its schedule."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from functions.cron import Cron, CronError
from functions.kit.context import Context
from functions.kit.errors import FunctionError
from functions.schedule_policy import PREFIX, PolicyError, parse

logger = logging.getLogger(__name__)

API, PLURAL = "sources.knative.dev/v1", "pingsources"


@dataclass(frozen=True)
class Source:
    """A schedule as its PingSource defines it. `problem`: why that cannot be followed.

    `policy` are its annotations `schedules.dsm.io/...`; without one it has no ledger. `changed_at`:
    when the PingSource was made, or last changed as far as Kubernetes tells.
    """

    name: str
    source: str
    expression: str
    zone: str
    changed_at: datetime
    policy: Mapping[str, str] = field(default_factory=dict)
    data: str = "{}"
    extensions: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


async def read(ctx: Context) -> dict[str, Source] | None:
    """Each schedule by its name; None while Kubernetes cannot say, and the ledger goes on alone."""
    try:
        found = await ctx.cluster.list(API, PLURAL)
    except FunctionError as error:
        logger.warning("schedules are followed as they were: %s", error)
        return None
    sources: dict[str, Source] = {}
    for one in sorted(map(of_object, found), key=lambda source: source.source):
        if one.name in sources:
            logger.warning("%s is a second PingSource of schedule %s", one.source, one.name)
        else:
            sources[one.name] = one
    return sources


def of_object(found: Mapping[str, Any]) -> Source:
    """A PingSource's object; its ticks are named by the extension `schedule`."""
    metadata, spec = found["metadata"], found["spec"]
    extensions = (spec.get("ceOverrides") or {}).get("extensions") or {}
    annotations = metadata.get("annotations") or {}
    expression, zone = str(spec.get("schedule") or "* * * * *"), str(spec.get("timezone") or "")
    policy = {name: text for name, text in annotations.items() if name.startswith(PREFIX)}
    return Source(
        name=str(extensions.get("schedule") or metadata["name"]),
        source=str(metadata["name"]),
        expression=expression,
        zone=zone,
        changed_at=_changed_at(metadata),
        policy=policy,
        data=_data(spec),
        extensions={str(name): str(text) for name, text in extensions.items()},
        problem=_problem(expression, zone, policy),
    )


def _changed_at(metadata: Mapping[str, Any]) -> datetime:
    """The latest change by a manager that owns the spec or a policy, or else the creation.

    One that removes all that it owns leaves no trace: then it was at some later time.
    """
    stamps = [metadata.get("creationTimestamp")]
    for entry in metadata.get("managedFields") or ():
        owned = entry.get("fieldsV1") or {}
        annotations = owned.get("f:metadata", {}).get("f:annotations", {})
        is_ours = "f:spec" in owned or any(name.startswith(f"f:{PREFIX}") for name in annotations)
        if is_ours and not entry.get("subresource"):
            stamps.append(entry.get("time"))
    known = [datetime.fromisoformat(stamp) for stamp in stamps if stamp]
    return max(known, default=datetime.min.replace(tzinfo=UTC))


def _problem(expression: str, zone: str, policy: Mapping[str, str]) -> str:
    try:
        Cron(expression, zone)
        parse(policy)
    except (CronError, PolicyError) as error:
        return str(error)
    return ""


def _data(spec: Mapping[str, Any]) -> str:
    """The event's data, as PingSource makes JSON of what is none."""
    if encoded := spec.get("dataBase64"):
        text = base64.b64decode(encoded).decode(errors="replace")
    else:
        text = spec.get("data") or "{}"
    try:
        json.loads(text)
    except ValueError:
        return json.dumps({"body": text})
    return str(text)
