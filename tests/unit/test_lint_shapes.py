"""Whatever stands in a manifest, the linter answers with findings and not with a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from knative.lint.linting import lint
from knative.lint.manifest import Manifest, Path
from knative.lint.reading import Reading, read_text
from knative.local.manifests.resource import Resource
from tests.support.lint_tree import BASE, GOOD, event_type, ping, service, trigger

RICH = [
    service(
        "shop",
        template="annotations: {autoscaling.knative.dev/min-scale: '1'}",
        container="env: [{name: A, value: b}]\n        ports: [{containerPort: 8080}]",
    ),
    trigger("t", filter_="filters: [{any: [{cesql: EXISTS type}, {not: {prefix: {a: b}}}]}]"),
    trigger("d", delivery="{retry: 1, backoffPolicy: linear, backoffDelay: PT1S, timeout: PT9S}"),
    event_type("order.placed", "shop"),
    event_type("a", more="attributes: [{name: type, required: true, value: a}]"),
    ping(data="contentType: application/json\n  data: '{}'"),
]
DOCUMENTS = [*BASE, *RICH]
ODD: list[Any] = [None, 5, "x", ["x"], {"a": [1]}]


def _places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every path in `value` below the top."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in entries:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from _places(item, (*path, key))


def _spoilt(value: Any, path: Path, odd: Any) -> Any:
    """`value` with `odd` at `path`."""
    if not path:
        return odd
    changed: Any = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = _spoilt(value[path[0]], path[1:], odd)
    return changed


@pytest.mark.parametrize("which", range(len(DOCUMENTS)))
def test_a_field_of_any_shape_stops_nothing(which: int) -> None:
    manifests = read_text("---".join(DOCUMENTS)).manifests
    victim = manifests[which].resource
    for path in _places(victim.body):
        for odd in ODD:
            body = _spoilt(victim.body, path, odd)
            spoilt = Manifest(Resource(body, victim.source))
            others = [manifest for manifest in manifests if manifest.resource is not victim]
            assert isinstance(lint([Reading([*others, spoilt])]), list), (path, odd)


def test_the_documents_that_are_spoilt_are_read() -> None:
    assert len(read_text("---".join(GOOD)).manifests) == len(GOOD)
