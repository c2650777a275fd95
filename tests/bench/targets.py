"""The function that the kit is measured with."""

from __future__ import annotations

from typing import ClassVar

from functions.events.base import Event
from functions.kit.context import Context
from functions.kit.contract import function


class Poked(Event):
    type: ClassVar[str] = "bench.poked.v1"
    word: str = ""


@function()
async def ours(event: Poked, ctx: Context) -> None:
    return None
