"""The heart of the saga against everything that can happen: a state machine that finds stories.

What travels may be lost for a while, repeated, reordered, forged or late. tests/function plays the
same with a database and processes that die.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from functions.events.saga import RegistrationRequested
from functions.orchestrator.conditions import Conditions, flaw_of
from functions.orchestrator.decide.inputs import (
    Answered,
    CancelRequested,
    Input,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
    UndoRequested,
    Woken,
)
from functions.orchestrator.decide.model import (
    IN_FLIGHT,
    Action,
    CallOutcome,
    Decision,
    Definition,
    Run,
    RunStatus,
    StepStatus,
    World,
)
from functions.orchestrator.decide.registration import define
from functions.orchestrator.decide.run import begin, decide
from functions.orchestrator.decide.timers import next_due
from functions.orchestrator.decide.waiting_reason import waiting_for
from tests.support.saga_model import NAMES, SERVICES, Sent, Workers, check_end, registrations

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


class Saga(RuleBasedStateMachine):
    """One run and the world around it."""

    @initialize(
        document=registrations(),
        registered=st.sampled_from(["w", "w", None]),
        waves=st.integers(0, 5),
    )
    def start(self, document: dict[str, Any], registered: str | None, waves: int) -> None:
        request = RegistrationRequested.model_validate(document)
        definition = define(request, "tests", flaw_of)
        assert isinstance(definition, Definition), definition
        self.now = START
        self.registered = registered
        self.workers = Workers()
        self.sent: list[Sent] = []
        self.open_answers: list[Answered] = []
        self.run: Run = begin("f", definition, self.world()).run
        self.take(begin("f", definition, self.world()))
        self.all_goes_on(waves, able=True)

    def world(self) -> World:
        workers = dict.fromkeys(NAMES, self.registered) if self.registered else {}
        return World(self.now, workers, Conditions().holds)

    def take(self, decision: Decision) -> list[Sent]:
        run = decision.run
        if decision.refused is not None:
            assert run is self.run
            assert not decision.commands
            assert decision.audits
            return []
        new = []
        for command in decision.commands:
            step = run.steps[command.step]
            new.append(
                Sent(command.step, command.action, command.attempt, command.worker, step.round)
            )
            self.check_order(run, command.step, command.action)
        keys = [(s.step, s.action, s.attempt) for s in (*self.sent, *new)]
        assert len(keys) == len(set(keys)), "an attempt number was used twice"
        self.sent += new
        self.run = run
        due_at = next_due(run, self.world().workers)
        assert due_at is None or due_at > self.now, "a timer that nothing can be done at"
        return new

    def check_order(self, run: Run, name: str, action: Action) -> None:
        steps, definition = run.steps, run.definition
        assert run.paused_by is None
        if action is Action.DO:
            assert run.status is not RunStatus.UNDOING
            for before in definition.by_name[name].after:
                assert steps[before].status in (StepStatus.DO_SUCCESS, StepStatus.SKIPPED)
            return
        assert steps[name].holders
        for later in definition.behind[name]:
            assert steps[later].status is not StepStatus.IN_PROGRESS
            kept = not definition.by_name[later].undo
            assert kept or not steps[later].holders, f"{name} goes back before {later}"

    def happens(self, given: Input) -> list[Sent]:
        decision = decide(self.run, given, self.world())
        # A crash before the commit loses the decision: made again, it must be the same.
        assert decide(self.run, given, self.world()) == decision
        return self.take(decision)

    @rule(waves=st.integers(1, 4), able=st.sampled_from([True, True, False]))
    def all_goes_on(self, waves: int, able: bool) -> None:
        for _ in range(waves):
            for name in list(self.run.steps):
                step = self.run.steps[name]
                for sent in [s for s in self.sent if s.step == name][-1:]:
                    if step.status in IN_FLIGHT:
                        self.happens(self.workers.do(sent, able=able))

    @rule(pick=st.integers(0, 50), able=st.booleans())
    @precondition(lambda self: self.sent)
    def a_worker_works(self, pick: int, able: bool) -> None:
        sent = self.sent[-1 - pick % len(self.sent)]
        self.open_answers.append(self.workers.do(sent, able=able))

    @rule(pick=st.integers(0, 50))
    @precondition(lambda self: self.open_answers)
    def an_answer_comes(self, pick: int) -> None:
        answer = self.open_answers[-1 - pick % len(self.open_answers)]
        self.happens(answer)

    @rule(pick=st.integers(0, 50))
    @precondition(lambda self: self.open_answers)
    def an_answer_comes_twice(self, pick: int) -> None:
        answer = self.open_answers[-1 - pick % len(self.open_answers)]
        self.happens(answer)
        before = self.run
        self.happens(answer)
        assert self.run is before

    @rule(
        step=st.sampled_from(["a", "b", "zz"]),
        action=st.sampled_from(Action),
        success=st.booleans(),
    )
    def a_forged_answer_comes(self, step: str, action: Action, success: bool) -> None:
        before = self.run
        self.happens(Answered(step, action, success, attempt=1, worker="mallory"))
        self.happens(Answered(step, action, success, attempt=99, worker="w"))
        assert self.run is before

    @rule(seconds=st.sampled_from([1, 3, 10, 61, 200]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.happens(Woken())

    @rule(service=st.sampled_from(SERVICES))
    def a_worker_registers(self, service: str) -> None:
        self.registered = self.registered or service
        self.happens(Woken())

    @rule()
    def the_worker_goes(self) -> None:
        self.registered = None

    @rule()
    def a_user_pauses(self) -> None:
        self.happens(PauseRequested("ada"))

    @rule()
    def a_user_resumes(self) -> None:
        self.happens(ResumeRequested("ada"))

    @rule()
    def a_user_cancels(self) -> None:
        self.happens(CancelRequested("ada"))

    @rule(to=st.sampled_from([None, "a", "b"]))
    def a_user_undoes(self, to: str | None) -> None:
        self.happens(UndoRequested("ada", to))

    @rule()
    def a_user_retries(self) -> None:
        self.happens(RetryRequested("ada"))

    @invariant()
    def an_unfinished_run_has_a_timer_or_says_who_it_waits_for(self) -> None:
        if self.run.status.ended:
            assert waiting_for(self.run, self.world().workers) is None
            return
        message = waiting_for(self.run, self.world().workers)
        assert message
        if next_due(self.run, self.world().workers) is None:
            assert "paused" in message or "registered" in message

    @invariant()
    def an_ended_run_awaits_no_worker(self) -> None:
        in_flight = [n for n, step in self.run.steps.items() if step.status in IN_FLIGHT]
        assert not (self.run.status.ended and in_flight), f"ended without {in_flight}"

    @invariant()
    def what_is_believed_is_true(self) -> None:
        for name, step in self.run.steps.items():
            for call in step.calls:
                key = (call.worker, name, step.round)
                if call.action is Action.DO and call.outcome is CallOutcome.SUCCESS:
                    assert key in self.workers.done
                if call.outcome is CallOutcome.UNDONE:
                    assert key in self.workers.undone
            if step.status is StepStatus.UNDO_SUCCESS:
                assert not step.holders

    def teardown(self) -> None:
        if not hasattr(self, "run"):
            return
        self.registered = self.registered or "w"
        for _ in range(60):
            before = self.run
            if self.run.paused_by is not None:
                self.happens(ResumeRequested("ada"))
            for sent in self.sent:
                self.happens(self.workers.do(sent, able=True))
            self.now += timedelta(seconds=100)
            self.happens(Woken())
            if self.run.status.ended and self.run == before:
                break
        assert self.run.status.ended, f"hangs: {waiting_for(self.run, self.world().workers)}"
        check_end(self.run, self.workers)


TestSaga = Saga.TestCase
TestSaga.settings = settings(
    max_examples=300,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
