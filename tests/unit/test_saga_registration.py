"""What a registration defines, and everything that is wrong with one, at once."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from functions.events.saga import RegistrationRequested, StepAnswered
from functions.orchestrator.decide.model import Definition
from functions.orchestrator.decide.registration import check_worker, define


def request(steps: list[dict[str, Any]], /, **more: Any) -> RegistrationRequested:
    document: dict[str, Any] = {"orchName": "o", "as": "initiator", "type": "sequential"}
    document["steps"] = steps
    return RegistrationRequested.model_validate(document | more)


def defined(steps: list[dict[str, Any]], **more: Any) -> Definition:
    found = define(request(steps, **more), "svc", lambda text: None)
    assert isinstance(found, Definition), found
    return found


def problems(steps: list[dict[str, Any]], **more: Any) -> list[str]:
    flaw = {"((": "is no JMESPath"}.get
    found = define(request(steps, **more), "svc", flaw)
    assert isinstance(found, list)
    return [f"{p.field}: {p.reason}" for p in found]


def after(definition: Definition) -> dict[str, str]:
    return {step.name: ",".join(step.after) for step in definition.steps}


def test_a_sequence_follows_the_numbers_not_the_order_of_the_list() -> None:
    found = defined([{"seq": 2, "name": "b"}, {"seq": 1, "name": "a"}])
    assert after(found) == {"a": "", "b": "a"}


@pytest.mark.parametrize("kind", ["simultaneous", "parallel"])
def test_simultaneous_and_parallel_mean_the_same(kind: str) -> None:
    found = defined([{"name": "a"}, {"name": "b"}, {"name": "c", "dependsOn": ["a"]}], type=kind)
    assert after(found) == {"a": "", "b": "", "c": "a"}
    assert found.type == "simultaneous"


def test_a_sequence_may_branch_where_a_step_says_what_it_depends_on() -> None:
    steps: list[dict[str, Any]] = [{"name": "a"}, {"name": "b"}]
    steps.append({"name": "c", "dependsOn": ["a"]})
    assert after(defined(steps)) == {"a": "", "b": "a", "c": "a"}


def test_both_names_of_the_name_are_taken() -> None:
    document = {"orchestrationName": "o", "as": "worker", "steps": [{"name": "a"}]}
    assert RegistrationRequested.model_validate(document).orch_name == "o"


def test_options_become_seconds() -> None:
    retry = {"attempts": 2, "backoff": "PT3S", "finalErrors": ["Invalid*"]}
    steps = [{"name": "a", "timeout": "PT1M", "retry": retry}]
    found = defined(steps, deadline=90, onFailure="hold")
    step = found.steps[0]
    assert (step.timeout_s, step.retry.attempts, step.retry.backoff_s) == (60, 2, 3)
    assert (step.retry.final, found.deadline_s, found.hold_on_failure) == (("Invalid*",), 90, True)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (
            [{"name": "a", "seq": 1}, {"name": "a", "seq": 1}],
            [
                "steps.name: 'a' is there 2 times: a step's name is its own",
                "steps.seq: 1 is the number of a, a: each needs its own",
            ],
        ),
        ([{"name": "a", "seq": 1}, {"name": "b"}], ["steps.seq: number all steps, or none"]),
        (
            [{"name": "a", "dependsOn": ["zz"]}],
            ["steps.0.dependsOn: 'zz' is no step of this orchestration"],
        ),
        (
            [{"name": "a", "dependsOn": ["b"]}, {"name": "b"}],
            ["steps.dependsOn: goes round in a circle: a -> b -> a"],
        ),
        (
            [{"name": "a", "dependsOn": ["a"]}],
            ["steps.dependsOn: goes round in a circle: a -> a"],
        ),
        ([{"name": "a", "when": "(("}], ["steps.0.when: is no JMESPath"]),
    ],
    ids=["duplicates", "half numbered", "unknown name", "circle", "itself", "bad condition"],
)
def test_what_is_unsound_is_refused_with_all_problems_at_once(
    steps: list[dict[str, Any]], expected: list[str]
) -> None:
    assert problems(steps) == expected


def test_a_type_that_is_missing_is_named() -> None:
    assert problems([{"name": "a"}], type=None) == [
        "type: is missing: say sequential or simultaneous"
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"steps": []}, "steps"),
        ({"type": "random"}, "type"),
        ({"as": "king"}, "as"),
        ({"orchName": "a b"}, "orchName"),
        ({"steps": [{"name": "a", "timout": 3}]}, "timout"),
        ({"steps": [{"name": "a", "timeout": "-PT3S"}]}, "timeout"),
        ({"steps": [{"name": "a", "retry": {"attempts": 0}}]}, "attempts"),
    ],
)
def test_a_field_that_does_not_fit_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        request([{"name": "a"}], **change)
    assert field in str(caught.value.errors()[0]["loc"])


class TestWorkers:
    definition = defined([{"name": "a"}, {"name": "b"}])

    def check(self, names: list[str], workers: dict[str, str], known: bool = True) -> list[str]:
        asked = request([{"name": n} for n in names], **{"as": "worker"})
        found = check_worker(asked, "svc", list(self.definition.by_name) if known else [], workers)
        return [f"{p.field}: {p.reason}" for p in found]

    def test_a_worker_may_register_again(self) -> None:
        assert self.check(["a"], {"a": "svc"}) == []

    def test_a_worker_may_come_before_the_orchestration(self) -> None:
        assert self.check(["zz"], {}, known=False) == []

    def test_all_that_is_wrong_is_reported(self) -> None:
        assert self.check(["a", "zz"], {"a": "other"}) == [
            "steps.0.name: other is the worker for 'a' already",
            "steps.1.name: 'zz' is no step of o; it has a, b",
        ]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("SUCCESS", "SUCCESS"),
        ("FAILED", "FAILED"),
        (True, "SUCCESS"),
        ("true", "SUCCESS"),
        (False, "FAILED"),
        ("no", "FAILED"),
    ],
)
def test_an_answer_may_be_text_or_booleans(status: object, expected: str) -> None:
    document = {"flowId": "f", "stepName": "a", "metadata": {"status": status}}
    answer = StepAnswered.model_validate(document)
    assert (answer.action, answer.metadata.status) == ("DO", expected)


def test_an_answer_that_says_neither_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"metadata\.status"):
        StepAnswered.model_validate(
            {"flowId": "f", "stepName": "a", "metadata": {"status": "perhaps"}}
        )
