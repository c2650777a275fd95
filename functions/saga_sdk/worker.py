"""A worker of sagas: what a service does for a step, and how it takes that back.

    worker = Worker("realm_service")

    @worker.do("createRealm")
    async def create(task: Task) -> dict[str, Any]: ...

    @worker.undo("createRealm")
    async def delete(task: Task) -> None: ...

    realm_service = worker.target()

A step's DO has one effect and its UNDO takes back that one, however often the commands come, in
whatever order, and under however many attempts:

- what a command did and what was answered are written in one transaction with its claim;
- a DO that has succeeded answers its result again to a later attempt, without a second effect;
- a DO that comes after its UNDO is refused, and an UNDO of what was never done is a success: the
  orchestrator sends one where it does not know. Where it knows of an effect the undo is called,
  though nothing be on record here: a service that replaces another must find what that has done;
- a failure leaves nothing of the attempt behind. `PermanentError` says that another cannot help.
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
from functions.kit.contract.decorator import function
from functions.kit.contract.handle import Rules
from functions.kit.durable.database import Connection
from functions.kit.durable.locks import EFFECT
from functions.kit.errors import PermanentError, TemporaryError, shortened

logger = logging.getLogger(__name__)

# The orchestrator keeps no larger one, and an answer must find its way there as one event.
MAX_RESULT_BYTES = 768 * 1024


@dataclass(frozen=True)
class Task:
    """What a worker is told, and the transaction in which to do it.

    `key` names the effect: the same for all attempts, another once it was undone and is done anew.
    """

    command: StepCommanded
    ctx: Context
    tx: Connection

    @property
    def key(self) -> str:
        return self.command.effect_key

    @property
    def payload(self) -> Any:
        """What the run was started with."""
        return self.command.payload

    @property
    def results(self) -> dict[str, Any]:
        """What earlier steps answered, by name."""
        return self.command.results

    @property
    def result(self) -> Any:
        """In an UNDO: what the DO answered."""
        return self.command.result


Do = Callable[[Task], Awaitable[Any]]
Undo = Callable[[Task], Awaitable[None]]


class Worker:
    """The steps that a service can do. `worker_name` is the name under which it registers."""

    def __init__(self, target: str, *, worker_name: str | None = None) -> None:
        self.name = worker_name or target.replace("_", "-")
        self._target = target
        self._do: dict[str, Do] = {}
        self._undo: dict[str, Undo] = {}

    def do(self, step: str) -> Callable[[Do], Do]:
        """How a step is done; what it returns is the step's result, as JSON."""

        def keep(work: Do) -> Do:
            self._do[step] = work
            return work

        return keep

    def undo(self, step: str) -> Callable[[Undo], Undo]:
        """How a step is taken back; a step without this is undone by doing nothing."""

        def keep(work: Undo) -> Undo:
            self._undo[step] = work
            return work

        return keep

    def target(
        self, *, retention: Rules | None = None
    ) -> Callable[[HttpRequest], Awaitable[Response]]:
        """The deployable. `retention`: what is deleted from its tables, and when."""

        async def handle(event: StepCommanded, ctx: Context) -> StepAnswered:
            return await self._answer(event, ctx)

        handle.__name__ = handle.__qualname__ = self._target
        return function(
            emits=[StepAnswered], inbox="transaction", replies=True, retention=retention
        )(handle)

    async def _answer(self, command: StepCommanded, ctx: Context) -> StepAnswered:
        if command.worker_name != self.name:
            raise PermanentError(f"workername: {command.worker_name!r} is not {self.name!r}")
        if command.step_name not in self._do:
            known = ", ".join(self._do)
            return self._failed(command, f"{self.name} does not know this step; it knows {known}")
        assert ctx.tx is not None
        task = Task(command, ctx, ctx.tx)
        # Two attempts of one step at once: the second sees what the first has done.
        await EFFECT.hold(ctx.tx, task.key)
        done = await _journal(task)
        try:
            # A savepoint: what a failed attempt has written goes, its answer stays.
            async with ctx.tx.transaction():
                result = None
                if command.action == "DO":
                    result = await self._do_once(task, done)
                else:
                    await self._undo_once(task, done)
        except TemporaryError as error:
            return self._failed(command, error.detail, final=False)
        except PermanentError as error:
            return self._failed(command, error.detail)
        except Exception as error:
            logger.error("step %s failed", command.step_name, exc_info=error)
            return self._failed(command, f"{type(error).__name__}: {error}", final=False)
        return self._said(command, Outcome(status="SUCCESS"), result)

    async def _do_once(self, task: Task, done: dict[str, Any]) -> Any:
        if "UNDO" in done:
            raise PermanentError("this step was undone before it was done: it stays undone")
        if "DO" in done:
            return done["DO"]
        result = await self._do[task.command.step_name](task)
        size = len(json.dumps(result, ensure_ascii=False, default=str).encode(errors="replace"))
        if size > MAX_RESULT_BYTES:
            raise PermanentError(f"result: has {size} bytes, the maximum is {MAX_RESULT_BYTES}")
        await _write(task, result)
        return result

    async def _undo_once(self, task: Task, done: dict[str, Any]) -> None:
        if "UNDO" in done:
            return
        work = self._undo.get(task.command.step_name)
        # Known to have taken effect, though we know nothing of it: it was done by whom we replace.
        if work is not None and ("DO" in done or task.command.effect):
            await work(task)
        await _write(task, None)

    def _failed(self, command: StepCommanded, error: str, *, final: bool = True) -> StepAnswered:
        text = shortened(error.replace("\x00", ""), 1000)
        return self._said(command, Outcome(status="FAILED", error=text, final=final))

    def _said(self, command: StepCommanded, how: Outcome, result: Any = None) -> StepAnswered:
        return StepAnswered(
            flowId=command.flow_id,
            orch_name=command.orch_name,
            stepName=command.step_name,
            action=command.action,
            attempt=command.attempt,
            worker_name=self.name,
            result=result,
            metadata=how,
        )


async def _journal(task: Task) -> dict[str, Any]:
    """What was done for this effect so far: action to result."""
    rows = await task.tx.fetch(
        "SELECT step, result FROM journal WHERE function = $1 AND key = $2",
        *(task.ctx.function, task.key),
    )
    return {row["step"]: row["result"] for row in rows}


async def _write(task: Task, result: Any) -> None:
    await task.tx.execute(
        "INSERT INTO journal (function, key, step, result, took_ms) VALUES ($1, $2, $3, $4, 0)",
        *(task.ctx.function, task.key, task.command.action, result),
    )
