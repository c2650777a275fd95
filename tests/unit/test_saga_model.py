"""The heart of the saga against everything that can happen: a state machine that finds stories.

Workers here are as the kit makes them: one effect for each effect key, no DO after its UNDO. What
travels may be lost for a while, repeated, reordered, forged or late; the machine keeps the truth of
what took effect, apart from what the orchestrator believes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from functions.orchestrator.decide.happenings import (
    Answered,
    CancelAsked,
    Happening,
    PauseAsked,
    ResumeAsked,
    RetryAsked,
    UndoAsked,
    Woken,
)
from functions.orchestrator.decide.model import (
    IN_FLIGHT,
    Action,
    Decision,
    Definition,
    Retry,
    Run,
    RunStatus,
    StepDef,
    StepStatus,
    World,
)
from functions.orchestrator.decide.run import begin, decide
from functions.orchestrator.decide.timers import next_due
from functions.orchestrator.decide.undo import left_to_undo
from functions.orchestrator.decide.words import waiting_for

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
ENDS_BADLY = (RunStatus.FAILED, RunStatus.UNDONE, RunStatus.CANCELLED)


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    count = draw(st.integers(1, 5))
    names = [chr(ord("a") + n) for n in range(count)]
    steps = []
    for n, name in enumerate(names):
        after = tuple(other for other in names[:n] if draw(st.booleans()))
        steps.append(
            StepDef(
                name,
                n + 1,
                timeout_s=draw(st.sampled_from([5, 60])),
                retry=Retry(draw(st.integers(1, 3)), backoff_s=2),
                undo=draw(st.sampled_from([True, True, True, False])),
                after=after,
                when=draw(st.sampled_from([None, None, None, "never"])),
            )
        )
    return Definition(
        "o",
        "sequential",
        tuple(steps),
        deadline_s=draw(st.sampled_from([None, None, 100])),
        hold_on_failure=draw(st.sampled_from([False, False, True])),
    )


@dataclass(frozen=True)
class Sent:
    """A command on its way."""

    step: str
    action: Action
    attempt: int
    key: tuple[str, int]


@dataclass
class Workers:
    """The truth: which effects were made and taken back, and in which order."""

    done: set[tuple[str, int]] = field(default_factory=set)
    undone: set[tuple[str, int]] = field(default_factory=set)
    log: list[tuple[Action, tuple[str, int]]] = field(default_factory=list)

    def do(self, sent: Sent, *, able: bool) -> Answered:
        if sent.action is Action.DO:
            if sent.key in self.undone:
                return Answered(sent.step, Action.DO, False, sent.attempt, "w", final=True)
            if sent.key not in self.done:
                if not able:
                    return Answered(sent.step, Action.DO, False, sent.attempt, "w", error="no")
                self.done.add(sent.key)
                self.log.append((Action.DO, sent.key))
            return Answered(sent.step, Action.DO, True, sent.attempt, "w", result=sent.key[0])
        if sent.key not in self.undone:
            if not able:
                return Answered(sent.step, Action.UNDO, False, sent.attempt, "w", error="no")
            self.undone.add(sent.key)
            if sent.key in self.done:  # else it only promises not to do it any more
                self.log.append((Action.UNDO, sent.key))
        return Answered(sent.step, Action.UNDO, True, sent.attempt, "w")

    @property
    def active(self) -> set[str]:
        return {name for name, round_ in self.done if (name, round_) not in self.undone}


class Saga(RuleBasedStateMachine):
    """One run and the world around it."""

    @initialize(
        definition=definitions(),
        registered=st.sampled_from([True, True, False]),
        waves=st.integers(0, 5),
    )
    def start(self, definition: Definition, registered: bool, waves: int) -> None:
        self.now = START
        self.registered = registered
        self.workers = Workers()
        self.sent: list[Sent] = []
        self.open_answers: list[Answered] = []
        self.run: Run = begin("f", definition, self.world()).run
        self.take(begin("f", definition, self.world()))
        self.all_goes_on(waves, able=True)

    def world(self) -> World:
        names = [chr(ord("a") + n) for n in range(5)] if self.registered else []
        return World(self.now, dict.fromkeys(names, "w"), lambda when, facts: False)

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
                Sent(command.step, command.action, command.attempt, (command.step, step.round))
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
        stays = {run.undo_to, *definition.before.get(run.undo_to or "", ())}
        for later in definition.behind[name]:
            assert steps[later].status is not StepStatus.IN_PROGRESS
            kept = later in stays or not definition.by_name[later].undo
            assert kept or not steps[later].holders, f"{name} goes back before {later}"

    def happens(self, happening: Happening) -> list[Sent]:
        decision = decide(self.run, happening, self.world())
        # A crash before the commit loses the decision: made again, it must be the same.
        assert decide(self.run, happening, self.world()) == decision
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

    @rule()
    def the_worker_registers(self) -> None:
        self.registered = True
        self.happens(Woken())

    @rule()
    def the_worker_goes(self) -> None:
        self.registered = False

    @rule()
    def somebody_pauses(self) -> None:
        self.happens(PauseAsked("ada"))

    @rule()
    def somebody_resumes(self) -> None:
        self.happens(ResumeAsked("ada"))

    @rule()
    def somebody_cancels(self) -> None:
        self.happens(CancelAsked("ada"))

    @rule(to=st.sampled_from([None, "a", "b"]))
    def somebody_undoes(self, to: str | None) -> None:
        self.happens(UndoAsked("ada", to))

    @rule()
    def somebody_retries(self) -> None:
        self.happens(RetryAsked("ada"))

    @invariant()
    def an_unfinished_run_has_a_timer_or_says_who_it_waits_for(self) -> None:
        if self.run.status.ended:
            assert waiting_for(self.run, self.world().workers) is None
            return
        words = waiting_for(self.run, self.world().workers)
        assert words
        if next_due(self.run, self.world().workers) is None:
            assert "paused" in words or "registered" in words

    @invariant()
    def what_is_believed_is_true(self) -> None:
        for name, step in self.run.steps.items():
            if step.effect:
                assert (name, step.round) in self.workers.done
            if step.status is StepStatus.UNDO_SUCCESS:
                assert (name, step.round) in self.workers.undone

    def teardown(self) -> None:
        if not hasattr(self, "run"):
            return
        self.registered = True
        for _ in range(60):
            before = self.run
            if self.run.paused_by is not None:
                self.happens(ResumeAsked("ada"))
            for sent in self.sent:
                self.happens(self.workers.do(sent, able=True))
            self.now += timedelta(seconds=100)
            self.happens(Woken())
            if self.run.status.ended and self.run == before:
                break
        self.check_end()

    def check_end(self) -> None:
        run, active = self.run, self.workers.active
        assert run.status.ended, f"hangs: {waiting_for(run, self.world().workers)}"
        undoable = {s.name for s in run.definition.steps if s.undo}
        stays = {run.undo_to, *run.definition.before.get(run.undo_to or "", ())}
        if run.status is RunStatus.COMPLETED:
            done = {n for n, s in run.steps.items() if s.status is StepStatus.DO_SUCCESS}
            assert done <= active
        elif run.status is RunStatus.UNDO_FAILED:
            assert set(left_to_undo(run)) >= (active & undoable) - stays
        elif not run.definition.hold_on_failure:
            assert run.status in ENDS_BADLY
            assert not (active & undoable) - stays, "an effect is left behind"
        for action in Action:
            keys = [key for a, key in self.workers.log if a is action]
            assert len(keys) == len(set(keys))
        for position, (action, key) in enumerate(self.workers.log):
            if action is Action.UNDO:
                assert (Action.DO, key) in self.workers.log[:position], "undone, never done"


TestSaga = Saga.TestCase
TestSaga.settings = settings(
    max_examples=300,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
