"""Bring comments up to date: one request for a change, at most one in ten seconds for a thread.

A comment is written anew from all that is known, so edits can be left out but not be confused. The
comment of a thread is found by its mark where a process died before it had stored the id.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from functions.agent_status import check_run, comment, decide, tables
from functions.agent_status.settings import StatusSettings
from functions.agent_status.tables import Thread
from functions.kit.clients.github_comments import comment_with
from functions.kit.clients.github_limits import PutOff
from functions.kit.clients.service import typed
from functions.kit.clients.url_path import path
from functions.kit.context import Context
from functions.kit.durable.backoff import backoff_s
from functions.kit.errors import NotFound, PermanentError, TemporaryError, shortened
from functions.kit.process.background_work import LeasedWork

logger = logging.getLogger(__name__)

# A refusal of GitHub may end with a permission that is given.
REFUSED_DELAY_S = 600.0
PERMISSIONS = {"issues": "write"}
CHECKS = {"checks": "write"}
READ_PULLS = {"pull_requests": "read"}


class _Made(BaseModel):
    id: int


class _Head(BaseModel):
    sha: str


class _Pull(BaseModel):
    head: _Head


class Publisher(LeasedWork[Thread]):
    """The background work of one process: show what is due, and plan the next edit."""

    rows = tables

    async def work(self, ctx: Context) -> float | None:
        return await super().work(ctx) if ctx.asks_github else None

    async def attempt(self, ctx: Context, thread: Thread) -> None:
        try:
            # Of a comment that stays deleted, reactions are the only answer.
            await _react_to_replies(ctx, thread)
            deleted = thread.comment_deleted or await _publish(ctx, thread)
            if not all(one["reacted"] for one in thread.replies):
                async with ctx.store.connection() as connection:
                    await tables.replies_reacted(connection, thread)
            await _check(ctx, thread)
        except PutOff as error:
            logger.info("status of %s waits: %s", thread.key, error.detail)
            due_at = ctx.now() + timedelta(seconds=error.delay_s)
            async with ctx.store.connection() as connection:
                return await tables.put_off(connection, thread, due_at)
        except TemporaryError as error:
            return await _postpone(ctx, thread, error.detail, error.delay_s, error.delay_s)
        except PermanentError as error:
            return await _postpone(ctx, thread, error.detail, REFUSED_DELAY_S)
        except Exception as error:
            logger.exception("status of %s", thread.key)
            return await _postpone(ctx, thread, f"{type(error).__name__}: {error}", REFUSED_DELAY_S)
        async with ctx.store.connection() as connection:
            await tables.shown(connection, thread, ctx.now(), deleted=deleted)


async def _publish(ctx: Context, thread: Thread) -> bool:
    """Write the comment; True where a user has deleted it."""
    owner, _, name = thread.repository.partition("/")
    at = path("repos", owner, name)
    async with ctx.store.connection() as connection:
        count, total = await tables.usage_on(connection, thread.repository, thread.issue)
    around = comment.Around(count, total, ctx.settings(StatusSettings).console_url)
    body = {"body": comment.text(thread.route, thread.jobs, thread.replies, around)}
    comment_id = thread.comment_id
    if comment_id is None and thread.attempts > 1:
        mark = comment.marker(thread.route)
        found = await comment_with(ctx.github, thread.repository, thread.issue, mark)
        comment_id = found.id if found else None
    if comment_id is not None:
        try:
            edited = f"{at}/issues/comments/{comment_id}"
            await _send(ctx, thread, "PATCH", edited, body, minor=not thread.presses)
        except NotFound:
            if not decide.is_asked_for(thread.replies):
                return True
            comment_id = None
    if comment_id is None:
        made = await _send(ctx, thread, "POST", f"{at}/issues/{thread.issue}/comments", body)
        comment_id = typed("GitHub", _Made, made).id
    await _store_comment(ctx, thread, comment_id)
    if thread.jobs and not thread.reacted:
        eyes = {"content": "eyes"}
        await _send(ctx, thread, "POST", f"{at}/issues/{thread.issue}/reactions", eyes)
        async with ctx.store.connection() as connection:
            await tables.reacted(connection, thread)
    return False


async def _check(ctx: Context, thread: Thread) -> None:
    """Show the newest Job of a pull request in its check run, one request where that changed.

    Where GitHub refuses, as it does without the App's permission for checks, the comment is all.
    """
    newest = check_run.newest_job(thread.jobs)
    if newest is None:
        return
    job_id, job = newest
    wanted = check_run.body(thread.route, job_id, job)
    if thread.check_job == job_id and thread.check_shown == wanted:
        return
    owner, _, name = thread.repository.partition("/")
    at = path("repos", owner, name)
    try:
        check_id = thread.check_id if thread.check_job == job_id else None
        if check_id is None:
            sha = await _head_sha(ctx, thread, f"{at}/pulls/{thread.issue}")
            made = await _send(
                ctx, thread, "POST", f"{at}/check-runs", {**wanted, "head_sha": sha}, CHECKS
            )
            check_id = typed("GitHub", _Made, made).id
        else:
            await _send(ctx, thread, "PATCH", f"{at}/check-runs/{check_id}", wanted, CHECKS)
    except PermanentError as error:
        logger.warning("the check run of %s: %s", thread.key, error.detail)
        return
    async with ctx.store.connection() as connection:
        await tables.checked(connection, thread, job_id, check_id, wanted)


async def _head_sha(ctx: Context, thread: Thread, at: str) -> str:
    answer = await ctx.github.get(at, repository=thread.repository, permissions=READ_PULLS)
    return typed("GitHub", _Pull, answer.body).head.sha


async def _react_to_replies(ctx: Context, thread: Thread) -> None:
    """A second attempt adds no second reaction: GitHub keeps one of a kind for each account."""
    owner, _, name = thread.repository.partition("/")
    at = path("repos", owner, name)
    for one in thread.replies:
        if one["reacted"] or one["asked"].startswith("button"):
            continue  # its answer is the check run
        comment = f"comments/{one['comment']}" if one["comment"] else str(thread.issue)
        try:
            content = {"content": one["content"]}
            await _send(ctx, thread, "POST", f"{at}/issues/{comment}/reactions", content)
        except PermanentError as error:
            # Its writer has deleted it, or the issue is locked.
            logger.info("no reaction in %s: %s", thread.key, error.detail)


async def _store_comment(ctx: Context, thread: Thread, comment_id: int) -> None:
    if comment_id != thread.comment_id:
        async with ctx.store.connection() as connection:
            await tables.commented(connection, thread, comment_id)


async def _send(
    ctx: Context,
    thread: Thread,
    method: str,
    at: str,
    body: Any,
    permissions: Mapping[str, str] = PERMISSIONS,
    *,
    minor: bool = False,
) -> Any:
    answer = await ctx.github.send(
        method, at, body, repository=thread.repository, permissions=permissions, minor=minor
    )
    return answer.body


async def _postpone(
    ctx: Context, thread: Thread, error: str, delay_s: float, min_delay_s: float = 0.0
) -> None:
    """Plan the next attempt; a change that presses comes sooner, after `min_delay_s` and backoff
    at the earliest."""
    logger.warning("status of %s waits: %s", thread.key, error)
    backoff = backoff_s(thread.attempts - 1)
    due, not_before = (
        ctx.now() + timedelta(seconds=max(one, backoff)) for one in (delay_s, min_delay_s)
    )
    async with ctx.store.connection() as connection:
        await tables.postpone(connection, thread, shortened(error), due, not_before)
