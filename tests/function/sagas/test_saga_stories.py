"""Sagas against everything that can happen, crashes after any write included.

Hypothesis draws a definition and what workers, broker, operators and processes do; whatever that
was, the run ends, what took effect and had to go is gone once and in order, and nothing is left.
A story that goes wrong is printed as short as it can be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from functions.kit import cloudevents
from functions.kit.durable import Store
from functions.kit.settings import DatabaseSettings
from functions.orchestrator.decide.inputs import (
    Answered,
    CancelRequested,
    Input,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
    UndoRequested,
)
from functions.orchestrator.decide.waiting_reason import waiting_for
from tests.support.saga_machine import By, SagaMachine
from tests.support.saga_model import SERVICES, check_end, registrations

MAX_SWEEPS = 30
T = TypeVar("T")

# A batch has about eight statements: each of them is the last of some run.
by = st.builds(By, st.integers(0, 1), st.none() | st.none() | st.integers(1, 10))
picks = st.lists(st.integers(0, 30), min_size=1, max_size=4)
services = st.sampled_from(SERVICES)
wishes = st.sampled_from(
    [
        RetryRequested("ada"),
        UndoRequested("ada"),
        UndoRequested("ada", "a"),
        PauseRequested("ada"),
        ResumeRequested("ada"),
        CancelRequested("ada"),
    ]
)


class Stories(RuleBasedStateMachine):
    """What can happen, in any order."""

    database: DatabaseSettings
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.reader = Store(self.database)
        self.world = SagaMachine(self.database, self.reader)
        self.answers: list[cloudevents.Message] = []
        self.seen = 0
        self.wait(self.world.empty())

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize(
        document=registrations(),
        worked_for=st.sampled_from([True, True, False]),
        waves=st.integers(0, 5),
        by=by,
    )
    def a_run_is_started(
        self, document: dict[str, Any], worked_for: bool, waves: int, by: By
    ) -> None:
        self.names = [step["name"] for step in document["steps"]]
        self.wait(self.world.register(document, by))
        if worked_for:
            self.wait(self.world.work_for(self.names, "w", by))
        self.wait(self.world.start({"yes": True}, by))
        self.all_goes_on(waves, able=True, by=by)

    @rule(waves=st.integers(1, 3), able=st.sampled_from([True, True, False]), by=by)
    def all_goes_on(self, waves: int, able: bool, by: By) -> None:
        for _ in range(waves):
            self.all_is_answered(able, by)

    def all_is_answered(self, able: bool, by: By) -> bool:
        """Workers work on all that is new to them; False where nothing is."""
        new = self.world.commands()[self.seen :]
        self.seen += len(new)
        if new:
            answers = [self.world.work(sent, able=able) for sent in new]
            self.wait(self.world.deliver(answers, by))
        return bool(new)

    @rule(pick=st.integers(0, 30), able=st.booleans(), final=st.booleans())
    @precondition(lambda self: self.world.commands())
    def a_worker_works_and_is_not_heard_yet(self, pick: int, able: bool, final: bool) -> None:
        commands = self.world.commands()
        sent = commands[-1 - pick % len(commands)]
        self.answers.append(self.world.work(sent, able=able, final=final))

    @rule(picks=picks, by=by)
    @precondition(lambda self: self.answers)
    def answers_come_together_and_perhaps_again(self, picks: list[int], by: By) -> None:
        chosen = [self.answers[-1 - pick % len(self.answers)] for pick in picks]
        self.wait(self.world.deliver(chosen, by))

    @rule(pick=st.integers(0, 30), by=by)
    @precondition(lambda self: self.world.commands())
    def forged_answers_come(self, pick: int, by: By) -> None:
        commands = self.world.commands()
        sent = commands[-1 - pick % len(commands)]
        forged = [
            Answered(sent.step, sent.action, True, sent.attempt, "mallory"),
            Answered(sent.step, sent.action, True, sent.attempt),
            Answered(sent.step, sent.action, True, sent.attempt + 99, sent.worker),
            Answered("zz", sent.action, True, 1, sent.worker),
        ]
        before = self.wait(self.world.look())
        done = self.wait(self.world.deliver([self.world.say(one) for one in forged], by))
        assert all(one.refused or one.repeated for one in done)
        assert self.wait(self.world.look()) == before

    @rule(seconds=st.sampled_from([1, 3, 10, 61, 200]), by=by)
    def time_passes_and_the_clock_ticks(self, seconds: int, by: By) -> None:
        self.world.passes(seconds)
        self.wait(self.world.tick(by))

    @rule(service=services, by=by)
    def a_worker_registers(self, service: str, by: By) -> None:
        self.wait(self.world.work_for(self.names, service, by))

    @rule(service=services, by=by)
    def a_worker_leaves(self, service: str, by: By) -> None:
        self.wait(self.world.leave(service, by))

    @rule(able=st.booleans(), wish=wishes, by=by)
    def it_goes_on_to_its_end_and_an_operator_wishes(self, able: bool, wish: Input, by: By) -> None:
        self.wait(self.world.work_for(self.names, "w", by))
        self.go_on_to_the_end(able, by)
        self.wait(self.world.happens(wish, by))

    @rule(wish=wishes, by=by)
    def an_operator_wishes(self, wish: Input, by: By) -> None:
        self.wait(self.world.happens(wish, by))

    def teardown(self) -> None:
        try:
            if hasattr(self, "names"):
                self.settle()
                self.everything_comes_again()
                self.settle()
                self.check()
        finally:
            self.wait(self.world.close())
            self.wait(self.reader.close())

    def settle(self) -> None:
        """The world is kind from now on. Only a round of the clock tells of the worker."""
        self.wait(self.world.work_for(self.names, "w", By(), wakes=False))
        if self.answers:
            self.wait(self.world.deliver(self.answers, By(1)))
        self.go_on_to_the_end(able=True, by=By())

    def go_on_to_the_end(self, able: bool, by: By) -> None:
        for _ in range(MAX_SWEEPS):
            self.wait(self.world.happens(ResumeRequested("ada"), by))
            busy = self.all_is_answered(able, by)
            self.world.passes(100)
            self.wait(self.world.tick(by))
            run = self.wait(self.world.look())
            if not busy and run is not None and run.status.ended:
                return
            by = By(1 - by.process)
        assert run is not None
        message = waiting_for(run, dict.fromkeys(self.names, "w"))
        raise AssertionError(f"it hangs as {run.status}: {message}")

    def everything_comes_again(self) -> None:
        again = [self.world.work(sent, able=True) for sent in self.world.commands()]
        if again:
            self.wait(self.world.deliver([*again, *self.answers], By()))

    def check(self) -> None:
        run = self.wait(self.world.look())
        assert run is not None
        check_end(run, self.world.workers)
        self.world.check_order(run)
        assert (run.status, run.reason) in self.world.last_news()
        left = self.wait(self.world.left())
        assert not any(left.values()), f"never sent or fired: {left}"


@pytest.mark.slow
@pytest.mark.timeout(900)  # a story that goes wrong is made short first
def test_every_story_ends_right(functions_database: str) -> None:
    class Here(Stories):
        database = DatabaseSettings(database_url=functions_database, database_pool_size=2)
        # Not the loop of the tests: it rests while this one is at work.
        loop = asyncio.new_event_loop()

    try:
        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=60,
                stateful_step_count=20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        Here.loop.close()
