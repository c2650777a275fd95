"""A step of a cycle is an answer and its verdict, kept together as one row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from functions.cycle_trigger.decide import Done, Verdict
from functions.kit.durable.inbox import Journal
from functions.kit.errors import PermanentError

Call = Callable[[str], Awaitable[dict[str, Any]]]
Judge = Callable[[dict[str, Any]], Awaitable[Verdict]]


@dataclass(frozen=True)
class Steps:
    """The steps of the cycle that `key` names."""

    journal: Journal
    key: str

    async def keep(self, name: str, find: Callable[[], Awaitable[dict[str, Any]]]) -> Any:
        """What `find` found at first: a retry sends the same request under the same key."""
        return (await self.journal.step(name, find)).result

    async def do(self, name: str, call: Call, judge: Judge) -> Done:
        """Make the step's call, or take its kept answer.

        A service repeats its answer to a key, so a step whose answer was judged bad is asked anew,
        under another key, the next time that somebody delivers the event.
        """
        attempt = 1
        while True:
            step = await self.journal.step(
                f"{name}#{attempt}", partial(self._asked, call, judge, f"{name}:{attempt}")
            )
            verdict = Verdict(**step.result)
            if verdict.problem is None:
                return Done(name, verdict, step.took_ms)
            if not step.repeated:
                raise PermanentError(f"{name}: {verdict.problem}")
            attempt += 1

    async def _asked(self, call: Call, judge: Judge, name: str) -> dict[str, Any]:
        return vars(await judge(await call(f"{self.key}:{name}")))
