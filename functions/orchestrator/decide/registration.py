"""Is a registration sound, and what does it define? All problems are found at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from functions.events.saga import RegistrationRequested, RetryPolicy, StepSpec
from functions.orchestrator.decide.model import DEFAULT_TIMEOUT_S, Definition, Retry, StepDef


@dataclass(frozen=True)
class Problem:
    """What is wrong with a field of a registration, and how to mend it."""

    field: str
    reason: str


def define(
    request: RegistrationRequested, service: str, flaw_of: Callable[[str], str | None]
) -> Definition | list[Problem]:
    """Return an initiator's definition, or all problems of its registration.

    `flaw_of` says what is wrong with a condition's text, if anything.
    """
    problems = _of_names(request)
    if request.kind is None:
        problems.append(Problem("type", "is missing: say sequential or simultaneous"))
    seqs = [spec.seq for spec in request.steps]
    for seq, count in Counter(s for s in seqs if s is not None).items():
        if count > 1:
            names = ", ".join(spec.name for spec in request.steps if spec.seq == seq)
            problems.append(
                Problem("steps.seq", f"{seq} is the number of {names}: each needs its own")
            )
    if None in seqs and any(seq is not None for seq in seqs):
        problems.append(Problem("steps.seq", "number all steps, or none"))
    for index, spec in enumerate(request.steps):
        if spec.when is not None and (flaw := flaw_of(spec.when)):
            problems.append(Problem(f"steps.{index}.when", flaw))
    ordered = sorted(
        enumerate(request.steps), key=lambda pair: pair[0] if pair[1].seq is None else pair[1].seq
    )
    after = _after(request, [spec for _, spec in ordered])
    problems += _of_graph(request, after)
    if problems:
        return problems
    return Definition(
        name=request.orch_name,
        type="sequential" if request.kind == "sequential" else "simultaneous",
        steps=tuple(
            _step(spec, place, after[spec.name]) for place, (_, spec) in enumerate(ordered, 1)
        ),
        initiator=service,
        deadline_s=None if request.deadline is None else request.deadline.total_seconds(),
        hold_on_failure=request.on_failure == "hold",
    )


def check_worker(
    request: RegistrationRequested,
    service: str,
    names: Sequence[str],
    workers: Mapping[str, str],
) -> list[Problem]:
    """Return all problems of a worker's registration.

    `names` are the steps of all versions, as old runs need their workers too; none where the
    orchestration is not registered yet: the worker may come first.
    """
    problems = _of_names(request)
    for index, spec in enumerate(request.steps):
        if names and spec.name not in names:
            reason = f"{spec.name!r} is no step of {request.orch_name}; it has {', '.join(names)}"
            problems.append(Problem(f"steps.{index}.name", reason))
        other = workers.get(spec.name)
        if other is not None and other != service:
            problems.append(
                Problem(f"steps.{index}.name", f"{other} is the worker for {spec.name!r} already")
            )
    return problems


def missing(definition: Definition, workers: Mapping[str, str]) -> list[str]:
    """The steps that no service has registered for."""
    return [step.name for step in definition.steps if step.name not in workers]


def _of_names(request: RegistrationRequested) -> list[Problem]:
    counts = Counter(spec.name for spec in request.steps)
    return [
        Problem("steps.name", f"{name!r} is there {count} times: a step's name is its own")
        for name, count in counts.items()
        if count > 1
    ]


def _after(request: RegistrationRequested, ordered: list[StepSpec]) -> dict[str, tuple[str, ...]]:
    """What each step waits for: what it says, or else, in a sequence, the step before it."""
    after: dict[str, tuple[str, ...]] = {}
    before: str | None = None
    for spec in ordered:
        if spec.depends_on is not None:
            after[spec.name] = tuple(dict.fromkeys(spec.depends_on))
        elif request.kind == "sequential" and before is not None:
            after[spec.name] = (before,)
        else:
            after[spec.name] = ()
        before = spec.name
    return after


def _of_graph(
    request: RegistrationRequested, after: Mapping[str, tuple[str, ...]]
) -> list[Problem]:
    if len(after) < len(request.steps):
        return []  # names that are not unique make no graph
    known = set(after)
    problems = [
        Problem(f"steps.{index}.dependsOn", f"{name!r} is no step of this orchestration")
        for index, spec in enumerate(request.steps)
        for name in spec.depends_on or ()
        if name not in known
    ]
    try:
        TopologicalSorter(
            {name: [n for n in names if n in known] for name, names in after.items()}
        ).prepare()
    except CycleError as error:
        path = " -> ".join(reversed(error.args[1]))
        problems.append(Problem("steps.dependsOn", f"goes round in a circle: {path}"))
    return problems


def _step(spec: StepSpec, place: int, after: tuple[str, ...]) -> StepDef:
    return StepDef(
        name=spec.name,
        seq=place if spec.seq is None else spec.seq,
        object_type=spec.object_type,
        timeout_s=DEFAULT_TIMEOUT_S if spec.timeout is None else spec.timeout.total_seconds(),
        retry=_retry(spec.retry),
        undo=spec.undo,
        after=after,
        when=spec.when,
    )


def _retry(policy: RetryPolicy) -> Retry:
    return Retry(
        attempts=policy.attempts,
        backoff_s=policy.backoff.total_seconds(),
        factor=policy.factor,
        max_s=policy.max_backoff.total_seconds(),
        jitter=policy.jitter,
        final=tuple(policy.final_errors),
    )
