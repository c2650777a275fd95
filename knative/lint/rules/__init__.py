"""The rules, by what they look at. Importing this registers all of them."""

from knative.lint.finding import RULES
from knative.lint.rules import (
    delivery,
    events,
    features,
    files,
    filters,
    loops,
    patience,
    references,
    refusals,
    schedules,
    schema,
    services,
)

__all__ = [
    "delivery",
    "events",
    "features",
    "files",
    "filters",
    "loops",
    "patience",
    "references",
    "refusals",
    "schedules",
    "schema",
    "services",
]

for _id in sorted(RULES):
    RULES[_id] = RULES.pop(_id)  # listed by id, whatever was imported first
