"""Turns are given in order, few under load, and none is lost to a task that is cancelled."""

from __future__ import annotations

import asyncio

from functions.kit.durable.turns import Turns


async def test_under_load_fewer_go_at_once() -> None:
    turns, at_once, highest = Turns(4, 1), 0, dict.fromkeys((True, False), 0)
    turns.is_under_load = lambda: is_under_load

    async def work() -> None:
        nonlocal at_once
        async with turns:
            at_once += 1
            highest[is_under_load] = max(highest[is_under_load], at_once)
            await asyncio.sleep(0)
            at_once -= 1

    for is_under_load in (True, False):  # noqa: B007  # the lambda above reads it
        await asyncio.gather(*(work() for _ in range(12)))
    assert highest == {True: 1, False: 4}


async def test_a_cancelled_task_leaves_its_turn_to_the_next() -> None:
    turns = Turns(1, 1)
    await turns.__aenter__()
    waiting = asyncio.create_task(turns.__aenter__())
    given = asyncio.create_task(turns.__aenter__())
    last = asyncio.create_task(turns.__aenter__())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    await turns.__aexit__()  # to `given`, which is cancelled before it runs
    given.cancel()
    await asyncio.gather(waiting, given, return_exceptions=True)
    await asyncio.wait_for(last, 60)
