"""A step of a cycle: how things stood before it, the service's answer, and its verdict, as rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from functions.cycle_trigger.decide import Done, Verdict
from functions.kit.durable import Checkpoints, call_once
from functions.kit.errors import FunctionError, PermanentError

Before = Callable[[], Awaitable[Any]]
Call = Callable[[str], Awaitable[dict[str, Any]]]
Judge = Callable[[dict[str, Any]], Awaitable[Verdict]]
Look = Callable[[Any], Awaitable[Verdict | None]]


async def _nothing() -> None:
    """A step that needs to know nothing of how things stood."""


async def _unknown(before: object) -> None:
    """A step that may be repeated."""


@dataclass(frozen=True)
class Steps:
    """The steps of the cycle that `key` names."""

    checkpoints: Checkpoints
    key: str

    async def keep(self, name: str, find: Callable[[], Awaitable[dict[str, Any]]]) -> Any:
        """What `find` found at first: a retry sends the same request under the same key."""
        return (await self.checkpoints.step(name, find)).result

    async def do(
        self,
        name: str,
        call: Call,
        judge: Judge,
        *,
        before: Before = _nothing,
        look: Look = _unknown,
    ) -> Done:
        """Make the step's call, or take its kept answer; `StepFailed` where it was in vain.

        A service repeats its answer to a key, so a step whose answer was judged bad is asked anew,
        under another key, the next time that the event is delivered. Where it is unknown
        whether a call was made, `look` finds what came of it.
        """
        attempt = 1
        while True:
            try:
                step = await call_once(
                    self.checkpoints,
                    f"{name}#{attempt}",
                    before=before,
                    call=partial(self._asked, call, judge, f"{name}:{attempt}"),
                    look=partial(_looked, look),
                )
            except FunctionError as error:
                error.add_note(name)
                raise
            verdict = Verdict(**step.result)
            if verdict.problem is None:
                return Done(name, verdict, step.took_ms)
            if not step.repeated:
                failed = PermanentError(f"{name}: {verdict.problem}")
                failed.add_note(name)
                raise failed
            attempt += 1

    async def _asked(self, call: Call, judge: Judge, name: str, before: object) -> dict[str, Any]:
        return vars(await judge(await call(f"{self.key}:{name}")))


async def _looked(look: Look, before: object) -> dict[str, Any] | None:
    verdict = await look(before)
    return None if verdict is None else vars(verdict)


def step_of(error: FunctionError) -> str | None:
    """The step that failed with an error; None where it was before the first."""
    return next(iter(getattr(error, "__notes__", ())), None)
