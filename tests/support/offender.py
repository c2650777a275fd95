"""A function that does what none may do, to see that it is found."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import ClassVar

import httpx
import kubernetes.client  # noqa: F401 - beforehand, as its import is none of the offences

import functions.kit.clients.http  # noqa: F401 - as well
from functions.events.base import Request
from functions.kit.clients import transaction_guard
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.errors import FunctionError


class OffenceAsked(Request):
    type: ClassVar[str] = "test.offence.asked.v1"


async def work() -> None:
    """Hold the event loop a little longer than any turn may."""
    began = time.thread_time()
    while time.thread_time() - began < 0.22:
        pass


class WorkAsked(Request):
    type: ClassVar[str] = "test.work.asked.v1"


@function()
async def worker(event: WorkAsked, ctx: Context) -> None:
    await work()


@function()
async def offender(event: OffenceAsked, ctx: Context) -> None:
    with transaction_guard.transaction_open():
        with contextlib.suppress(httpx.HTTPError):
            await ctx.http.get("http://127.0.0.1:1/")
        with contextlib.suppress(FunctionError):
            await ctx.cluster.list("v1", "pods")
    await work()
    await asyncio.sleep(0)
    import tests.support.slow_import  # noqa: F401

    await asyncio.sleep(0)
    time.sleep(1.2)  # noqa: ASYNC251  # a wait on the loop
