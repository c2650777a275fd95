"""What is true of any saga, however it is played: definitions to draw, workers, and the end.

The workers are as the kit makes them: one effect for each key, no DO after its UNDO. They keep the
truth of what took effect, apart from what the orchestrator believes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hypothesis import strategies as st

from functions.orchestrator.decide.inputs import Answered
from functions.orchestrator.decide.model import Action, Definition, Run, RunStatus, StepStatus
from functions.orchestrator.decide.undo import left_to_undo

NAMES = "abcde"
# Two services that can do every step: one registers when the other has left.
SERVICES = ("w", "v")
# A worker, a step and its round: each worker knows of its own effects only.
Key: TypeAlias = tuple[str, str, int]

_ENDS_BADLY = (RunStatus.FAILED, RunStatus.UNDONE, RunStatus.CANCELLED)


@st.composite
def registrations(draw: st.DrawFn) -> dict[str, Any]:
    """An orchestration of up to five steps, one after the other or as a graph, as drawn."""
    kind = draw(st.sampled_from(["sequential", "simultaneous"]))
    names = NAMES[: draw(st.sampled_from([1, 2, 3, 3, 4, 5]))]
    steps = []
    for n, name in enumerate(names):
        step: dict[str, Any] = {
            "name": name,
            "timeout": draw(st.sampled_from([5, 60])),
            "retry": {"attempts": draw(st.integers(1, 3)), "backoff": 2},
            "undo": draw(st.sampled_from([True, True, True, False])),
            "when": draw(st.sampled_from([*[None] * 6, "payload.never", "results.a"])),
        }
        if kind == "simultaneous":
            step["dependsOn"] = [other for other in names[:n] if draw(st.booleans())]
        steps.append(step)
    return {
        "orchName": "o",
        "as": "initiator",
        "type": kind,
        "steps": steps,
        "deadline": draw(st.sampled_from([None, None, 100])),
        "onFailure": draw(st.sampled_from(["undo", "undo", "hold"])),
    }


@dataclass(frozen=True)
class Sent:
    """A command on its way."""

    step: str
    action: Action
    attempt: int
    worker: str
    round: int

    @property
    def key(self) -> Key:
        return self.worker, self.step, self.round

    def answer(self, success: bool, **more: Any) -> Answered:
        return Answered(self.step, self.action, success, self.attempt, self.worker, **more)

    def __str__(self) -> str:
        again = "" if self.round == 1 else f", round {self.round}"
        return f"{self.worker}: {self.action} {self.step}, attempt {self.attempt}{again}"


@dataclass
class Workers:
    """The truth: which effects were made and taken back, and in which order."""

    done: set[Key] = field(default_factory=set)
    undone: set[Key] = field(default_factory=set)
    log: list[tuple[Action, Key]] = field(default_factory=list)
    failed: dict[Sent, Answered] = field(default_factory=dict)

    def do(self, sent: Sent, *, able: bool, final: bool = False) -> Answered:
        """Work on a command; one who is not `able` fails, `final` where it is of no use again.

        A failure is on record, as in the inbox of a worker: the same command finds the same answer.
        """
        mine = self.done if sent.action is Action.DO else self.undone
        if sent.action is Action.DO and sent.key in self.undone:
            return sent.answer(False, error="it was undone", final=True)
        if sent.key not in mine:
            if not able:
                self.failed.setdefault(sent, sent.answer(False, error="not able", final=final))
            if sent in self.failed:
                return self.failed[sent]
            mine.add(sent.key)
            # An UNDO of what was never done only promises not to do it any more.
            if sent.action is Action.DO or sent.key in self.done:
                self.log.append((sent.action, sent.key))
        return sent.answer(True, result=sent.step.upper() if sent.action is Action.DO else None)

    @property
    def active(self) -> set[str]:
        """The steps whose effects are there, wherever."""
        return {name for _, name, _ in self.done - self.undone}


def check_end(run: Run, workers: Workers) -> None:
    """A run has ended as it must: what had to be undone is undone, nothing else is."""
    undoable = {step.name for step in run.definition.steps if step.undo}
    stays = {run.undo_to, *run.definition.before.get(run.undo_to or "", ())}
    left = (workers.active & undoable) - stays
    assert run.status.ended, f"it hangs as {run.status}"
    if run.status is RunStatus.COMPLETED:
        done = {n for n, s in run.steps.items() if s.status is StepStatus.DO_SUCCESS}
        assert done <= workers.active, "completed without an effect"
        assert all(run.steps[name].result == name.upper() for name in done)
    elif run.status is RunStatus.UNDO_FAILED:
        assert set(left_to_undo(run)) >= left, "more is left than is said"
    elif not run.definition.hold_on_failure:
        assert run.status in _ENDS_BADLY
        assert not left, f"an effect is left behind: {', '.join(sorted(left))}"
    check_log(run.definition, workers)


def check_log(definition: Definition, workers: Workers) -> None:
    """No effect twice, none undone that was never there, none before what it builds on."""
    for position, (action, key) in enumerate(workers.log):
        before, (_, name, _) = workers.log[:position], key
        assert (action, key) not in before, f"{action} of {key} took effect twice"
        if action is Action.UNDO:
            assert (Action.DO, key) in before, f"{key} was undone and never done"
            assert definition.by_name[name].undo, f"{key} was undone, though it has no undo"
            continue
        for other in definition.by_name[name].after:
            skipped = definition.by_name[other].when is not None
            done = any(a is Action.DO and step == other for a, (_, step, _) in before)
            assert done or skipped, f"{name} was done before {other}"
