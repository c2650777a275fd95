"""The rules, by topic. Importing this package registers all of them."""

from knative.lint.finding import RULES
from knative.lint.rules import (
    delivery,
    events,
    features,
    files,
    filters,
    loops,
    references,
    refusals,
    schedules,
    schema,
    services,
    timeouts,
    webhooks,
)

__all__ = [
    "delivery",
    "events",
    "features",
    "files",
    "filters",
    "loops",
    "references",
    "refusals",
    "schedules",
    "schema",
    "services",
    "timeouts",
    "webhooks",
]

for _id in sorted(RULES):
    RULES[_id] = RULES.pop(_id)  # sort by id
