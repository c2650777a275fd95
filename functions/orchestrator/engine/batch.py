"""One transaction for all that arrived together: claim, lock, decide, write.

Items are taken in the order in which they came. What one item changes, the next one sees; an item
that is refused, or that fails by itself, leaves the others alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from functions.kit import cloudevents
from functions.kit.durable import Connection, inbox
from functions.kit.errors import NotFound, PermanentError
from functions.orchestrator.conditions import Conditions
from functions.orchestrator.decide.inputs import Answered, Input, Woken
from functions.orchestrator.decide.model import Audit, Decision, Run, World
from functions.orchestrator.decide.run import begin, changed, decide
from functions.orchestrator.decide.timers import next_due
from functions.orchestrator.engine import batch_writes, messages, run_store
from functions.orchestrator.engine.batch_writes import Writes
from functions.orchestrator.engine.deduplication import FUNCTION, Claim
from functions.orchestrator.engine.run_store import Known, Stored

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """A request to start a run."""

    orch_name: str
    payload: Any = None
    payload_encoding: str = "json"
    who: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that arrived. `carried`: the extensions of the events that it causes."""

    flow_id: UUID
    what: Start | Input
    claim: Claim | None = None
    carried: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an item: the run now, or why it was refused."""

    run: Run | None = None
    refused: str | None = None
    repeated: bool = False
    answer: Any = None


@dataclass
class Outcome:
    """What became of a batch; one result for each item, in order."""

    results: list[Done | Exception]
    messages: list[cloudevents.Message]
    ended: list[Run]
    due_at: datetime | None


@dataclass
class _Touched:
    """A run while the batch works on it."""

    stored: Stored | None
    run: Run
    template_id: int
    correlation_id: str
    workers: Mapping[str, str]
    who: str | None = None
    changed: set[str] = field(default_factory=set)


class Batch:
    """A batch on its way through one transaction."""

    def __init__(self, tx: Connection, known: Known, now: datetime) -> None:
        self._tx = tx
        self._known = known
        self._now = now
        self._writes = Writes()
        self._runs: dict[UUID, _Touched] = {}
        self._templates: dict[str, run_store.Template] = {}
        self._ended: list[Run] = []
        self._messages: list[cloudevents.Message] = []

    async def process(self, items: Sequence[Item]) -> Outcome:
        """Decide and write all but the messages, which are for the outbox."""
        fresh = await self._claim(items)
        wanted = {i.flow_id for i in items if not isinstance(i.what, Start | Woken)}
        woken = {i.flow_id for i in items if isinstance(i.what, Woken)} - wanted
        if wanted or woken:
            locked = await run_store.lock(self._tx, self._known, wanted, woken)
            for flow_id, stored in locked.items():
                self._runs[flow_id] = _Touched(
                    stored, stored.run, stored.template_id, stored.correlation_id, stored.workers
                )
        names = {i.what.orch_name for i in items if isinstance(i.what, Start)}
        if names:
            self._templates = await run_store.templates(self._tx, self._known, names)
        if self._conditional:
            # The text of conditions is a stranger's: all others are answered meanwhile.
            results = await asyncio.to_thread(self._decide, items, fresh)
        else:
            results = self._decide(items, fresh)
        await self._let_go(items, results)
        await self._note_repeats(items, results)
        due_at = self._collect()
        if self._writes:
            await batch_writes.write(self._tx, self._writes, self._now)
        return Outcome(results, self._messages, self._ended, due_at)

    async def _claim(self, items: Sequence[Item]) -> list[Done | Exception | None]:
        """None for what is new; the first answer for what came before, be it in this batch."""
        by_key: dict[tuple[str, str], Claim] = {}
        for item in items:
            if item.claim is not None:
                by_key.setdefault(item.claim.name, item.claim)
        if not by_key:
            return [None] * len(items)
        new = await inbox.add_all(self._tx, FUNCTION, by_key.values())
        old = by_key.keys() - new
        answers = await inbox.find_all(self._tx, FUNCTION, old) if old else {}
        found: list[Done | Exception | None] = []
        for item in items:
            key = None if item.claim is None else item.claim.name
            if key is None or key in new:
                new.discard(key or ("", ""))
                found.append(None)
            else:
                answer = answers.get(key, by_key[key].answer)
                found.append(Done(repeated=True, answer=answer))
        return found

    async def _note_repeats(
        self, items: Sequence[Item], results: Sequence[Done | Exception]
    ) -> None:
        """Write down that an answer came again, however often it does."""
        again = {
            item.claim.name: (item, item.what)
            for item, result in zip(items, results, strict=True)
            if item.claim is not None
            and isinstance(item.what, Answered)
            and isinstance(result, Done)
            and result.repeated
        }
        if not again:
            return
        for key in await inbox.answer_all(self._tx, FUNCTION, again, "repeated"):
            item, answer = again[key]
            message = "the same event again; it was taken before"
            audit = Audit(
                *("ANSWER_REPEATED", message, answer.step, answer.action),
                *(answer.attempt, answer.worker),
            )
            self._writes.audits.append((item.flow_id, audit))

    async def _let_go(self, items: Sequence[Item], results: Sequence[Done | Exception]) -> None:
        failed = [
            item.claim.name
            for item, result in zip(items, results, strict=True)
            if item.claim is not None and isinstance(result, Exception)
        ]
        if failed:
            await inbox.forget_all(self._tx, FUNCTION, failed)

    @property
    def _conditional(self) -> bool:
        there = [touched.run.definition for touched in self._runs.values()]
        new = [template.definition for template in self._templates.values()]
        return any(definition.conditional for definition in (*there, *new))

    def _decide(
        self, items: Sequence[Item], fresh: Sequence[Done | Exception | None]
    ) -> list[Done | Exception]:
        return [
            self._one(item) if answer is None else answer
            for item, answer in zip(items, fresh, strict=True)
        ]

    def _one(self, item: Item) -> Done | Exception:
        try:
            if isinstance(item.what, Start):
                return self._start(item, item.what)
            return self._input(item, item.what)
        except PermanentError as error:
            return error
        except Exception as error:
            logger.error("could not decide on %r", item, exc_info=error)
            return error

    def _start(self, item: Item, start: Start) -> Done:
        template = self._templates.get(start.orch_name)
        if template is None:
            raise NotFound(f"orchName: no orchestration {start.orch_name!r} is registered")
        flow_id = str(item.flow_id)
        world = World(self._now, template.workers, Conditions().holds)
        decision = begin(
            flow_id,
            template.definition,
            world,
            payload=start.payload,
            payload_encoding=start.payload_encoding,
            who=start.who,
            reason=start.reason,
        )
        correlation = item.carried.get("correlationid", flow_id)
        touched = _Touched(
            None, decision.run, template.id, correlation, template.workers, start.who
        )
        self._runs[item.flow_id] = touched
        return self._keep(item, touched, None, decision)

    def _input(self, item: Item, given: Input) -> Done:
        touched = self._runs.get(item.flow_id)
        if touched is None:
            if isinstance(given, Woken):
                return Done()  # another process works on it, and will see what is due
            reason = f"flowId: there is no run {item.flow_id}"
            if isinstance(given, Answered):
                audit = Audit(
                    "ANSWER_REFUSED",
                    reason,
                    given.step,
                    given.action,
                    given.attempt,
                    given.worker,
                )
                self._writes.audits.append((item.flow_id, audit))
                return Done(refused=reason)
            raise NotFound(reason)
        world = World(self._now, touched.workers, Conditions().holds)
        before = touched.run
        decision = decide(before, given, world)
        return self._keep(item, touched, before, decision)

    def _keep(self, item: Item, touched: _Touched, before: Run | None, decision: Decision) -> Done:
        run = touched.run = decision.run
        self._writes.audits += [(item.flow_id, audit) for audit in decision.audits]
        if decision.refused is not None:
            return Done(run, decision.refused)
        touched.changed.update(changed(before, run))
        carried = {**item.carried, "correlationid": touched.correlation_id}
        self._messages += [
            messages.of_command(run, command, self._now, carried) for command in decision.commands
        ]
        if run.status.ended and (before is None or before.status is not run.status):
            self._messages.append(messages.of_end(run, self._now, carried))
            self._ended.append(run)
        answer = None if item.claim is None else item.claim.answer
        return Done(run, answer=answer)

    def _collect(self) -> datetime | None:
        """Gather what is to be written of each run; return the earliest timer."""
        earliest: datetime | None = None
        for touched in self._runs.values():
            run, stored = touched.run, touched.stored
            due_at = next_due(run, touched.workers)
            if due_at is not None:
                earliest = due_at if earliest is None else min(earliest, due_at)
            timer_at = self._timer_at(stored, due_at)
            if stored is None or _state(stored.run) != _state(run) or stored.timer_at != timer_at:
                self._writes.runs.append(
                    batch_writes.Row(
                        *(run, touched.template_id, touched.correlation_id),
                        *(touched.who, timer_at, stored is None),
                    )
                )
            self._writes.steps += [(run, name) for name in run.steps if name in touched.changed]
        return earliest

    def _timer_at(self, stored: Stored | None, due_at: datetime | None) -> datetime | None:
        """When a run is woken. Too early does no harm: it is woken, and its timer is set anew."""
        if stored is None or due_at is None or stored.timer_at is None:
            return due_at
        is_to_come = self._now < stored.timer_at <= due_at
        return stored.timer_at if is_to_come else due_at


def _state(run: Run) -> tuple[object, ...]:
    """What a run's own row holds and may change."""
    return (
        run.status,
        run.since,
        run.reason,
        run.cause,
        run.undo_to,
        run.paused_by,
        run.paused_at,
        run.deadline_at,
        run.completed_at,
    )
