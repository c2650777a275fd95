"""What is wrong with a runtime, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def problems(status: Mapping[str, Any]) -> list[dict[str, str]]:
    """`problem` and `action` of each thing in the runtime's status that is not as it should be."""
    return [{"problem": problem, "action": action} for problem, action in _found(status)]


def _found(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for service in status["services"]:
        name = service["name"]
        if service["state"] == "failed":
            yield service["reason"], f"knative-local logs {name}; the next request tries again"
        elif service["reason"]:
            problem = f"{name}: {service['reason']}; it has crashed {service['crashes']} times"
            yield problem, f"knative-local logs {name}; the next request starts it again"
    for fault in status["faults"]:
        number, calls = fault["id"], fault["injected"]
        yield (
            f"fault {number} is active: {fault['fault']}, injected into {calls} calls",
            f"knative-local fault clear {number}",
        )
    for problem in status["unapplied"]:
        yield problem, "mend it and save; what runs is as it was before"
    counts = status["counts"]
    if counts["dead-lettered"]:
        yield (
            f"{counts['dead-lettered']} deliveries ended as dead letters",
            "knative-local dead-letters, and `dead-letters redrive` delivers them again",
        )
    if counts["failed"]:
        yield (
            f"{counts['failed']} deliveries failed, and no dead letter sink took them: there is "
            "none (spec.delivery.deadLetterSink), or it failed as well",
            "knative-local dead-letters says which, and `dead-letters redrive` delivers them again",
        )
    if status["retrying"]:
        yield (
            f"{status['retrying']} deliveries failed and are tried again",
            "knative-local events --state pending",
        )
