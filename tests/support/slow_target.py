"""A target that takes as long as it is asked to, for the tests of the process's entry point."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from functions.events.base import Event, Request
from functions.kit.context import Context
from functions.kit.contract import function


class NapAsked(Request):
    type: ClassVar[str] = "test.nap.asked.v1"
    seconds: float = 0


class Napped(Event):
    type: ClassVar[str] = "test.napped.v1"
    seconds: float


@function(emits=[Napped])
async def slow_target(event: NapAsked, ctx: Context) -> Napped:
    await asyncio.sleep(event.seconds)
    return Napped(seconds=event.seconds)
