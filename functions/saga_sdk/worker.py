"""A worker of sagas: the activities of its steps, and their compensations.

    worker = Worker("realm_service")

    @worker.do("createRealm")
    async def create(step: Step) -> dict[str, Any]: ...

    @worker.undo("createRealm")
    async def delete(step: Step) -> None: ...

    realm_service = worker.target()

A step's DO has one effect and its UNDO compensates it, for any number, order and attempt of the
commands:

- one transaction commits the effect, the inbox row and the answer, which leaves by the outbox;
- a DO that has succeeded returns its result to a later attempt, without a second effect;
- a DO after its UNDO is rejected; an UNDO without a DO succeeds, as the orchestrator sends one when
  the DO is in doubt. Where the orchestrator knows of an effect, the undo is called even without a
  checkpoint here: the effect is of a worker that this one replaces;
- a failure rolls back the attempt; `PermanentError` makes it final.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from functions.events.saga import Outcome, StepAnswered, StepCommanded
from functions.kit.context import Context
from functions.kit.contract import Rules, function
from functions.kit.durable import Connection
from functions.kit.durable.locks import EFFECT
from functions.kit.errors import PermanentError, TemporaryError, shortened

logger = logging.getLogger(__name__)

MAX_RESULT_BYTES = 768 * 1024  # as the orchestrator has it; an answer is one event


@dataclass(frozen=True)
class Step:
    """A command to a worker, and the transaction of its effect.

    `key` names the effect: the same for all attempts, a new one for a DO after an UNDO.
    """

    command: StepCommanded
    ctx: Context
    tx: Connection

    @property
    def key(self) -> str:
        return self.command.effect_key

    @property
    def payload(self) -> Any:
        """The input of the run."""
        return self.command.payload

    @property
    def results(self) -> dict[str, Any]:
        """The results of earlier steps, by name."""
        return self.command.results

    @property
    def result(self) -> Any:
        """In an UNDO: the result of the DO."""
        return self.command.result


Do = Callable[[Step], Awaitable[Any]]
Undo = Callable[[Step], Awaitable[None]]


class Worker:
    """The steps of a service. `worker_name` is the name under which it registers."""

    def __init__(self, target: str, *, worker_name: str | None = None) -> None:
        self.name = worker_name or target.replace("_", "-")
        self._target = target
        self._do: dict[str, Do] = {}
        self._undo: dict[str, Undo] = {}

    def do(self, step: str) -> Callable[[Do], Do]:
        """Register a step's DO; its return value is the step's result, as JSON."""

        def register(do: Do) -> Do:
            self._do[step] = do
            return do

        return register

    def undo(self, step: str) -> Callable[[Undo], Undo]:
        """Register a step's UNDO; without one there is nothing to compensate."""

        def register(undo: Undo) -> Undo:
            self._undo[step] = undo
            return undo

        return register

    def target(
        self, *, retention: Rules | None = None
    ) -> Callable[[HttpRequest], Awaitable[Response]]:
        """Return the function to serve. `retention`: the rules of its own tables."""

        async def handle(event: StepCommanded, ctx: Context) -> StepAnswered:
            return await self._answer(event, ctx)

        handle.__name__ = handle.__qualname__ = self._target
        # Unordered: the orchestrator knows of each answer which attempt it is of.
        return function(
            emits=[StepAnswered], inbox="transaction", ordered=False, retention=retention
        )(handle)

    async def _answer(self, command: StepCommanded, ctx: Context) -> StepAnswered:
        if command.worker_name != self.name:
            raise PermanentError(f"workername: {command.worker_name!r} is not {self.name!r}")
        if command.step_name not in self._do:
            known = ", ".join(self._do)
            return self._failed(command, f"{self.name} has no such step; its steps are {known}")
        assert ctx.tx is not None
        step = Step(command, ctx, ctx.tx)
        # Of two concurrent attempts, the second reads the checkpoints of the first. The savepoint:
        # a failed attempt is rolled back, its answer stays.
        await ctx.tx.execute(f"{EFFECT.statement(step.key)}; SAVEPOINT attempt")
        try:
            done = await _checkpoints(step)
            result = None
            if command.action == "DO":
                result = await self._do_once(step, done)
            else:
                await self._undo_once(step, done)
        except Exception as error:
            await ctx.tx.execute("ROLLBACK TO SAVEPOINT attempt")
            return self._failure(command, error)
        return self._answered(command, Outcome(status="SUCCESS"), result)

    async def _do_once(self, step: Step, done: dict[str, Any]) -> Any:
        if "UNDO" in done:
            raise PermanentError("the step's UNDO came before its DO: it stays undone")
        if "DO" in done:
            return done["DO"]
        result = await self._do[step.command.step_name](step)
        size = len(json.dumps(result, ensure_ascii=False, default=str).encode(errors="replace"))
        if size > MAX_RESULT_BYTES:
            raise PermanentError(f"result: has {size} bytes, the maximum is {MAX_RESULT_BYTES}")
        await _add_checkpoint(step, result)
        return result

    async def _undo_once(self, step: Step, done: dict[str, Any]) -> None:
        if "UNDO" in done:
            return
        undo = self._undo.get(step.command.step_name)
        # An effect without a checkpoint is of the worker that this one replaces.
        if undo is not None and ("DO" in done or step.command.effect):
            await undo(step)
        await _add_checkpoint(step, None)

    def _failure(self, command: StepCommanded, error: Exception) -> StepAnswered:
        match error:
            case TemporaryError():
                return self._failed(command, error.detail, final=False)
            case PermanentError():
                return self._failed(command, error.detail)
            case _:
                logger.error("step %s failed", command.step_name, exc_info=error)
                return self._failed(command, f"{type(error).__name__}: {error}", final=False)

    def _failed(self, command: StepCommanded, error: str, *, final: bool = True) -> StepAnswered:
        text = shortened(error.replace("\x00", ""), 1000)
        return self._answered(command, Outcome(status="FAILED", error=text, final=final))

    def _answered(
        self, command: StepCommanded, outcome: Outcome, result: Any = None
    ) -> StepAnswered:
        return StepAnswered(
            flowId=command.flow_id,
            orch_name=command.orch_name,
            stepName=command.step_name,
            action=command.action,
            attempt=command.attempt,
            worker_name=self.name,
            result=result,
            metadata=outcome,
        )


async def _checkpoints(step: Step) -> dict[str, Any]:
    """Return the result of each action of this effect that is done."""
    rows = await step.tx.fetch(
        "SELECT step, result FROM journal WHERE function = $1 AND key = $2",
        step.ctx.function,
        step.key,
    )
    return {row["step"]: row["result"] for row in rows}


async def _add_checkpoint(step: Step, result: Any) -> None:
    await step.tx.execute(
        "INSERT INTO journal (function, key, step, result, took_ms) VALUES ($1, $2, $3, $4, 0)",
        step.ctx.function,
        step.key,
        step.command.action,
        result,
    )
