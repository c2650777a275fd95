"""Could this filter ever match? Answered by trying it on every event that it can tell apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from knative.lint.thing import Thing
from knative.lint.vocabulary import Vocabulary, vocabulary
from knative.local.broker.filters import Predicate, compile_filters

_REQUIRED = frozenset({"id", "source", "type", "specversion"})
_VERSIONS = frozenset({"1.0", "0.3"})  # what a Broker accepts
_MOST = 20_000  # events to try; a filter that needs more is believed


@dataclass(frozen=True)
class Partial:
    """What is known about an event before it is sent.

    `fixed` attributes have that value; `free` ones may have any or be absent, None means all
    that are not fixed; a value of `barred` is not had.
    """

    fixed: Mapping[str, str] = field(default_factory=dict)
    free: frozenset[str] | None = None
    barred: Mapping[str, str] = field(default_factory=dict)


ANYTHING = Partial()


@dataclass(frozen=True)
class Filter:
    """A Trigger's valid filter, compiled."""

    matches: Predicate
    vocabulary: Vocabulary

    def may_match(self, event: Partial) -> bool:
        """False only when no event that fits `event` can pass."""
        names = sorted(self.vocabulary.words)
        choices = [self._choices(name, event) for name in names]
        if math.prod(len(choice) for choice in choices) > _MOST:
            return True
        for values in itertools.product(*choices):
            pairs = zip(names, values, strict=True)
            if self.matches({name: value for name, value in pairs if value is not None}):
                return True
        return not self.vocabulary.known

    def _choices(self, name: str, event: Partial) -> list[str | None]:
        if name in event.fixed:
            return [event.fixed[name]]
        if event.free is not None and name not in event.free:
            return [None]
        if name == "specversion":
            return [*sorted(_VERSIONS)]
        texts = sorted(self.vocabulary.words[name].candidates() - {event.barred.get(name)})
        return [*texts] if name in _REQUIRED else [None, *texts]


def together(filters: Sequence[Filter]) -> Filter:
    """What passes all of them."""
    words = Vocabulary()
    for one in filters:
        words.add(one.vocabulary)
    return Filter(lambda event: all(one.matches(event) for one in filters), words)


def compiled(attributes: Mapping[str, str] | None, filters: list[Any] | None) -> Filter:
    """`spec.filter.attributes` and `spec.filters`; ValueError when the API server refuses them."""
    return Filter(compile_filters(attributes, filters), vocabulary(attributes, filters))


def filter_of(trigger: Thing) -> Filter | None:
    """The filter of a Trigger; None when the API server would refuse it."""
    return _compiled(trigger)[0]


def refusal_of(trigger: Thing) -> str:
    """Why the API server would refuse the Trigger's filter; empty when it takes it."""
    return _compiled(trigger)[1]


@cache
def _compiled(trigger: Thing) -> tuple[Filter | None, str]:
    attributes: Any = trigger.get("spec", "filter", "attributes")
    filters: Any = trigger.get("spec", "filters")
    if attributes is not None and not isinstance(attributes, dict):
        return None, "filter.attributes must map attribute names to text"
    if filters is not None and not isinstance(filters, list):
        return None, "filters must be a list"
    try:
        if filters and attributes:
            compile_filters(attributes, None)  # ignored on delivery, checked all the same
        return compiled(attributes, filters), ""
    except ValueError as error:
        return None, str(error)
