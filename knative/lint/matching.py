"""Can a filter ever match? It is tried on one event of each class that its atoms distinguish."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from knative.lint.filter_atoms import FilterAtoms, filter_atoms
from knative.lint.manifest import Manifest, Path
from knative.local.broker.filters import Predicate, compile_filter, compile_filters

_REQUIRED = frozenset({"id", "source", "type", "specversion"})
_VERSIONS = frozenset({"1.0", "0.3"})  # what a Broker accepts
_MAX_CANDIDATES = 20_000  # a filter with more counts as matching


@dataclass(frozen=True)
class PartialEvent:
    """The attributes of an event that are known before it is sent.

    `fixed` attributes have that value; `free` ones may have any or be absent, None means all
    that are not fixed; an attribute never has its `excluded` value.
    """

    fixed: Mapping[str, str] = field(default_factory=dict)
    free: frozenset[str] | None = None
    excluded: Mapping[str, str] = field(default_factory=dict)


ANYTHING = PartialEvent()


@dataclass(frozen=True)
class Filter:
    """A Trigger's valid filter, compiled."""

    matches: Predicate
    atoms: FilterAtoms

    def may_match(self, event: PartialEvent) -> bool:
        """Return False only when the filter passes no event with the attributes of `event`."""
        names = sorted(self.atoms.by_attribute)
        choices = [self._choices(name, event) for name in names]
        if math.prod(len(choice) for choice in choices) > _MAX_CANDIDATES:
            return True
        for values in itertools.product(*choices):
            pairs = zip(names, values, strict=True)
            if self.matches({name: value for name, value in pairs if value is not None}):
                return True
        return not self.atoms.exact

    def _choices(self, name: str, event: PartialEvent) -> list[str | None]:
        if name in event.fixed:
            return [event.fixed[name]]
        if event.free is not None and name not in event.free:
            return [None]
        if name == "specversion":
            return [*sorted(_VERSIONS)]
        texts = sorted(self.atoms.by_attribute[name].candidates() - {event.excluded.get(name)})
        return [*texts] if name in _REQUIRED else [None, *texts]


def all_of(filters: Sequence[Filter]) -> Filter:
    """Return the conjunction of filters."""
    atoms = FilterAtoms()
    for one in filters:
        atoms.add(one.atoms)
    return Filter(lambda event: all(one.matches(event) for one in filters), atoms)


def compiled(attributes: Mapping[str, str] | None, filters: list[Any] | None) -> Filter:
    """Compile a Trigger's filter; ValueError when the API server would reject it."""
    return Filter(compile_filters(attributes, filters), filter_atoms(attributes, filters))


def filter_of(trigger: Manifest) -> Filter | None:
    """Return the filter of a Trigger; None when the API server would reject it."""
    return _compiled(trigger)[0]


def filter_errors(trigger: Manifest) -> list[tuple[Path, str]]:
    """Return each part of the Trigger's filter that the API server would reject, and why."""
    _, message = _compiled(trigger)
    if not message:
        return []
    filters = trigger.items("spec", "filters")
    errors = [(number, _entry_error(one)) for number, one in enumerate(filters)]
    faulty: list[tuple[Path, str]] = [
        (("spec", "filters", number), error) for number, error in errors if error
    ]
    where = "filters" if trigger.get("spec", "filters") else "filter"
    return faulty or [(("spec", where), message)]


def _entry_error(entry: Any) -> str:
    try:
        compile_filter(entry, "it")
    except ValueError as error:
        return str(error)
    return ""


def only_type(trigger: Manifest) -> str | None:
    """Return the one type of events that a Trigger's filter passes; None where others may pass."""
    for one in trigger.items("spec", "filters"):  # events must pass them all
        exact = one.get("exact") if isinstance(one, dict) else None
        type_ = exact.get("type") if isinstance(exact, dict) else None
        if isinstance(type_, str):
            return type_
    if trigger.items("spec", "filters"):
        return None
    return trigger.text("spec", "filter", "attributes", "type") or None


@cache
def _compiled(trigger: Manifest) -> tuple[Filter | None, str]:
    attributes: Any = trigger.get("spec", "filter", "attributes")
    filters: Any = trigger.get("spec", "filters")
    if attributes is not None and not isinstance(attributes, dict):
        return None, "filter.attributes must map attribute names to text"
    if filters is not None and not isinstance(filters, list):
        return None, "filters must be a list"
    try:
        if filters and attributes:
            compile_filters(attributes, None)  # ignored on delivery, but validated
        return compiled(attributes, filters), ""
    except ValueError as error:
        return None, str(error)
