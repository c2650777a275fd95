"""The parts of one orchestrator process, put together."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from pydantic import Field

from functions.kit.context import Resources
from functions.kit.durable import inbox
from functions.kit.errors import PermanentError
from functions.kit.settings import Settings
from functions.kit.telemetry import correlation
from functions.orchestrator.decide.inputs import Input
from functions.orchestrator.engine.batch import Done, Item, Start
from functions.orchestrator.engine.deduplication import FUNCTION, Claim
from functions.orchestrator.engine.engine import Engine
from functions.orchestrator.engine.messages import of_registration
from functions.orchestrator.engine.timer_loop import TimerLoop
from functions.orchestrator.registration import registration
from functions.orchestrator.registration.registration import Registered, RegistrationRejected
from functions.orchestrator.registration.registration_request import RegistrationDocument


class OrchestratorSettings(Settings):
    """The orchestrator's settings."""

    old_names: ClassVar[Mapping[str, str]] = {
        "WORKERS_GIVE_NAMES": "REQUIRE_WORKER_NAMES",
        "KEEP_RUNS_DAYS": "RUN_RETENTION_DAYS",
    }

    require_worker_names: bool = Field(
        False,
        description="reject answers in Kafka records, too, that do not name their worker",
    )
    run_retention_days: int = Field(
        365, ge=1, le=36_500, description="days for which runs that have ended are kept"
    )


class Orchestrator:
    """The orchestrator of one process.

    `require_worker_names`: Kafka records must name their workers, too.
    """

    def __init__(self, resources: Resources) -> None:
        self._store = resources.store
        self._durable = resources.durable
        settings = resources.settings(OrchestratorSettings)
        self.require_worker_names = settings.require_worker_names
        self.now = resources.now
        self.engine = Engine(resources.store, self._durable.relay, self.now)
        self.timer_loop = TimerLoop(resources.store, self.engine, self.now)
        self.timer_loop.start()
        self._durable.relay.start()  # it sends what another process left

    async def close(self) -> None:
        """Finish the work in flight; called before the store is closed."""
        await self.timer_loop.close()
        await self.engine.close()

    async def start(self, start: Start, claim: Claim | None = None) -> tuple[str, Done]:
        """Start a run; return its id, for a repeat that of the first."""
        flow_id = new_flow_id()
        if claim is not None:
            answer = {"flowId": str(flow_id), **(claim.answer or {})}
            claim = Claim(claim.source, claim.id, claim.type, answer)
        done = await self.engine.submit(Item(flow_id, start, claim, correlation.extensions()))
        return (_first(done.answer, "flowId") if done.repeated else str(flow_id)), done

    async def apply(self, flow_id: UUID, given: Input, claim: Claim | None = None) -> Done:
        """Apply an input to a run."""
        return await self.engine.submit(Item(flow_id, given, claim, correlation.extensions()))

    async def register(
        self,
        submitted: RegistrationDocument,
        caller: str | None,
        about: str,
        claim: Claim | None = None,
    ) -> Registered:
        """Store a registration, emit its event, and start the runs that waited for it.

        `caller`: the service by its header. A repeated `claim` gets the first answer and changes
        nothing. `RegistrationRejected` where it is invalid; the attempt is audited.
        """
        now, carried = self.now(), correlation.extensions()
        async with self._store.transaction() as tx:
            if claim is not None and not await inbox.add_all(tx, FUNCTION, [claim]):
                answer = (await inbox.find_all(tx, FUNCTION, [claim.name]))[claim.name]
                _first(answer, "decided")
                return _require_valid(Registered.from_json(answer))
            done = await registration.register(tx, submitted, caller, now)
            if claim is not None:
                await inbox.answer_all(tx, FUNCTION, [claim.name], done.to_json())
            messages = [of_registration(done.decided, about, now, carried)]
            entries = await self._durable.put(tx, FUNCTION, messages)
        self._durable.deliver(entries)
        _require_valid(done)
        await self.timer_loop.wake_waiting(submitted.orch_name, carried)
        return done


def _first(answer: Any, field: str) -> Any:
    """Return a field of the first answer; `PermanentError` where that was to another kind."""
    if not isinstance(answer, dict) or field not in answer:
        raise PermanentError("id: another event had this source and id")
    return answer[field]


def _require_valid(done: Registered) -> Registered:
    if done.problems:
        raise RegistrationRejected(done.problems)
    return done


def new_flow_id() -> UUID:
    """Return a UUID of version 7: consecutive ids are neighbours in an index."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
