"""The HTTP API: what a Job's pod asks and posts, and what users look at."""

from __future__ import annotations

import binascii
import logging
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions import job_grant
from functions.agent_outputs import artifacts, checkpoints, tables
from functions.agent_outputs.applier import Applier, about, sealed
from functions.agent_outputs.checkpoints import Checkpoint
from functions.agent_outputs.outputs import InvalidOutputs, Outputs, parse
from functions.agent_outputs.pull_request import READ_CONTENT
from functions.agent_outputs.repository import has_work
from functions.agent_outputs.settings import OutputsSettings
from functions.agent_outputs.usage import report
from functions.events.agent import AgentUsage, AgentUsed
from functions.job_grant import InvalidGrant, JobGrant
from functions.kit import cloudevents
from functions.kit.clients.off_loop import off_loop
from functions.kit.context import Context
from functions.kit.contract import Query, page, route
from functions.kit.contract.body import read
from functions.kit.durable import Connection
from functions.kit.errors import NotFound, PermanentError, Unauthenticated, shortened

logger = logging.getLogger(__name__)

# A bundle of 20 MiB in base64, and the outputs.
MAX_BYTES = 30 * 1024 * 1024


class _Posted(BaseModel):
    # What is not known is left out: a pod may have an image that is newer than we are.
    model_config = ConfigDict(extra="ignore")

    outputs: str | None = Field(None, max_length=300_000)
    bundle: str | None = None
    problems: list[Annotated[str, Field(max_length=2000)]] = Field([], max_length=10)
    prepared: bool = True
    session: str = Field("", max_length=200)
    usage: str = Field("", max_length=10_000)


async def workspace(request: Request, ctx: Context) -> Response:
    """`POST /jobs/{job}/workspace`: what to clone, with a token that can read this repository, and
    what an earlier pod of the Job has left, or with a grant to resume an earlier Job of the task.

    Only until the Job's outputs have come: what happens then needs no token in a pod.
    """
    grant = granted(request, ctx)
    if not grant.branch:
        raise PermanentError("the Job has no repository to clone")
    async with ctx.store.transaction() as tx:
        await checkpoints.locked(tx, grant.job_id)  # before its outputs, as everywhere
        await tables.restart(tx, grant.job_id, ctx.now())
        if await tables.get(tx, grant.job_id) is not None:
            raise Unauthenticated("the outputs of this Job have come: it is over")
        kept = await tables.kept_of_job(tx, grant.job_id)
        if kept is None and grant.resume:
            kept = await tables.kept_of(tx, grant.repository, grant.task_id, grant.job_id)
    settings = ctx.settings(OutputsSettings)
    token = await ctx.github.narrow_token(grant.repository, READ_CONTENT)
    found = {
        "clone_url": f"{settings.github_url.rstrip('/')}/{grant.repository}.git",
        "token": token,
        "ref": grant.ref,
        "branch": grant.branch,
        "author_name": settings.agent_name,
        "author_email": settings.agent_email,
        "kept": await _kept(ctx, kept) if kept else None,
    }
    return JSONResponse(found, headers={"Cache-Control": "no-store"})


async def outputs(request: Request, ctx: Context) -> Response:
    """`POST /jobs/{job}/outputs`: keep what the Job has left; the first post counts."""
    grant = granted(request, ctx)
    body = await _body(request, ctx)
    posted, bundle, used = await off_loop(len(body), _posted, body)
    artifact = await artifacts.store(ctx, bundle)
    async with ctx.store.transaction() as tx:
        # Whatever comes of the outputs: it may be known hours later.
        usage, used_now = await _report(ctx, tx, grant, _pod(request), used)
        known = await checkpoints.drop(tx, grant.job_id)
        row = await tables.get(tx, grant.job_id)
        late = timedelta(seconds=job_grant.LATE_S)
        if row and not row.posted and ctx.now() - row.received_at > late:
            raise Unauthenticated("the Job has ended long ago: its grant is over")
        left = _left(grant, posted, artifact, bundle, usage)
        # What was kept before is still all there is.
        if bundle is None and (posted.outputs is None or posted.problems):
            before = row if row and known.artifact is None else known
            left = replace(
                left,
                artifact=before.artifact,
                has_work=before.has_work,
                session=left.session or before.session,
            )
        new = await tables.insert(
            tx,
            grant,
            _storable(posted.outputs),
            left,
            [shortened(one, 2000) for one in posted.problems],
            ctx.now(),
            prepared=posted.prepared,
            may_restart=grant.may_restart,
        )
        entries = await ctx.resources.durable.put(tx, ctx.function, used_now)
    ctx.resources.durable.deliver(entries)
    if new:
        ctx.part(Applier).trigger(ctx)
    stored = row.artifact if row else None
    for unused in {known.artifact, artifact, stored} - {left.artifact if new else stored}:
        await artifacts.drop(ctx, unused)
    return JSONResponse({"job_id": grant.job_id, "repeated": not new}, 202)


async def checkpoint(request: Request, ctx: Context) -> Response:
    """`POST /jobs/{job}/checkpoint`: keep what the Job has done so far, in place of the last, and
    report what it has used. Without a `bundle` its work is as it was."""
    grant = granted(request, ctx)
    body = await _body(request, ctx)
    posted, bundle, used = await off_loop(len(body), _posted, body)
    artifact = await artifacts.store(ctx, bundle)
    async with ctx.store.transaction() as tx:
        usage, used_now = await _report(ctx, tx, grant, _pod(request), used)
        known = await checkpoints.locked(tx, grant.job_id)
        left = _left(grant, posted, artifact, bundle, usage)
        with_work = "bundle" in posted.model_fields_set
        taken = await checkpoints.take(tx, left, ctx.now(), with_work=with_work)
        entries = await ctx.resources.durable.put(tx, ctx.function, used_now)
    ctx.resources.durable.deliver(entries)
    if with_work:
        await artifacts.drop(ctx, known.artifact if taken else artifact)
    return JSONResponse({"job_id": grant.job_id}, 202)


def _pod(request: Request) -> str:
    """Which of its Job's pods posts, as its sidecar names it; empty of one that names none."""
    return request.headers.get("x-pod", "")[:64]


def _left(
    grant: JobGrant, posted: _Posted, artifact: str | None, bundle: bytes | None, usage: AgentUsage
) -> Checkpoint:
    work = bundle is not None and has_work(bundle)
    return Checkpoint(grant.job_id, artifact, work, _storable(posted.session) or "", usage)


async def _report(
    ctx: Context, tx: Connection, grant: JobGrant, pod: str, used: AgentUsage
) -> tuple[AgentUsage, Sequence[cloudevents.Message]]:
    """Return what a Job has used with what one of its pods has, and the fact where it is more.

    Before anything else of the Job is locked, as everywhere.
    """
    known, usage = await report(tx, grant.job_id, pod, used, ctx.now())
    total = usage.model_copy(update={"session": None})
    if total == known.model_copy(update={"session": None}):
        return usage, []
    fact = AgentUsed(**about(grant), usage=total, used_at=ctx.now())
    return usage, sealed(ctx, fact)


async def listing(request: Request, ctx: Context) -> Response:
    """`GET /outputs?state=&repository=&limit=50&cursor=`: newest first."""
    query = Query(request)
    query.refuse_others("state", "repository", "limit", "cursor")
    limit = query.limit()
    state = query.choice("state", get_args(tables.State))
    async with ctx.store.connection() as connection:
        rows = await tables.page(
            connection, state, query.text("repository"), query.cursor(), limit + 1
        )
    shown, following = page(rows, limit, lambda row: row.position)
    return JSONResponse({"outputs": [_described(row) for row in shown], "next": following})


async def one(request: Request, ctx: Context) -> Response:
    """`GET /outputs/{job}`: what became of a Job's outputs."""
    async with ctx.store.connection() as connection:
        row = await tables.get(connection, request.path_params["job"])
    if row is None or not row.listed:
        raise NotFound("no outputs of such a job")
    return JSONResponse(_described(row) | {"asked": row.outputs})


async def bundle(request: Request, ctx: Context) -> Response:
    """`GET /outputs/{job}/bundle`: the commits, for `git fetch FILE work`."""
    async with ctx.store.connection() as connection:
        found, artifact = await tables.bundle_of(connection, request.path_params["job"])
    if artifact:
        found = await artifacts.load(ctx, artifact)
    if found is None:
        raise NotFound("no commits of such a job")
    return Response(found, media_type="application/x-git-bundle")


async def schema(request: Request, ctx: Context) -> Response:
    """`GET /outputs-schema`: the JSON schema of the file that an agent writes."""
    return JSONResponse(Outputs.model_json_schema())


async def _kept(ctx: Context, kept: tables.Kept) -> dict[str, str | None]:
    found = await artifacts.load(ctx, kept.artifact) if kept.artifact else kept.bundle
    bundle = b64encode(found).decode() if found else None
    return {"job_id": kept.job_id, "bundle": bundle, "session": kept.session}


def granted(request: Request, ctx: Context) -> JobGrant:
    """The request's grant; `Unauthenticated` where it is not of the Job in its path."""
    key = ctx.settings(OutputsSettings).grant_key
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if len(key) < job_grant.MIN_KEY_LENGTH or kind.lower() != "bearer":
        raise Unauthenticated("show the grant of the Job, or set GRANT_KEY here")
    try:
        grant = job_grant.verified(token.strip(), key, ctx.now())
    except InvalidGrant as error:
        raise Unauthenticated(f"the grant is not valid: {error}") from None
    if grant.job_id != request.path_params["job"]:
        raise Unauthenticated("the grant is of another Job")
    return grant


async def _body(request: Request, ctx: Context) -> bytes:
    return await read(request, MAX_BYTES, ctx.resources.process.timeout_seconds)


def _posted(body: bytes) -> tuple[_Posted, bytes | None, AgentUsage]:
    """Return what was posted, its bundle, and what the pod has used by its usage file or its
    outputs, whichever has more."""
    try:
        found = _Posted.model_validate_json(body)
        decoded = b64decode(found.bundle, validate=True) if found.bundle else None
    except (ValidationError, binascii.Error) as error:
        raise PermanentError(f"not what a Job posts: {type(error).__name__}") from None
    usage = _usage(found.usage)
    with suppress(InvalidOutputs):
        usage = parse(found.outputs or "").usage.max_with(usage)
    return found, decoded, usage


def _usage(text: str) -> AgentUsage:
    """Read an agent's usage file; nothing where it is none, as what it did is worth more."""
    try:
        return AgentUsage.model_validate_json(text) if text else AgentUsage()
    except ValidationError as error:
        logger.info("a usage file does not fit: %s", error.errors()[0]["msg"])
        return AgentUsage()


def _storable(text: str | None) -> str | None:
    return None if text is None else text.replace("\0", "")


def _described(row: tables.OutputRow) -> dict[str, Any]:
    grant = row.grant
    return {
        "job_id": grant.job_id,
        "task_id": grant.task_id,
        "route": grant.route,
        "repository": grant.repository,
        "issue": grant.issue,
        "branch": grant.branch,
        "state": row.state,
        "result": row.result,
        "has_work": row.has_work,
        "problems": row.problems,
        "attempts": row.attempts,
        "last_error": row.last_error,
        "received_at": cloudevents.format_time(row.received_at),
        "settled_at": _time(row.settled_at),
    }


def _time(at: datetime | None) -> str | None:
    return cloudevents.format_time(at) if at else None


ROUTES = (
    route("/jobs/{job}/workspace", workspace, ["POST"]),
    route("/jobs/{job}/outputs", outputs, ["POST"], bounds_body=True),
    route("/jobs/{job}/checkpoint", checkpoint, ["POST"], bounds_body=True),
    route("/outputs", listing),
    route("/outputs/{job}", one),
    route("/outputs/{job}/bundle", bundle),
    route("/outputs-schema", schema),
)
