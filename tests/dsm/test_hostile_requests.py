"""Ids, names and texts of all kinds through every route of the services: one project is there
beside them, and is read as before."""

from __future__ import annotations

import json
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dsm.conftest import TARGETS, Dsm
from tests.support import hostile

KNOWN = ("GEM-001", "GEM-001-S01", "GEM-001-E0", "OTHER")
ids = st.one_of(st.sampled_from(KNOWN), hostile.texts)
# What is read of the good project, however often others are written.
READS = (
    ("project-service", "/projects/GEM-001"),
    ("project-service", "/projects/GEM-001/team-members"),
    ("sprint-service", "/sprints/list_projects"),
    ("sprint-service", "/sprints/active/GEM-001"),
    ("backlog-service", "/backlogs/GEM-001"),
)
SKIPPED = ("/health/ready", "/sample-data")


@cache
def operations(target: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each route, with what the descriptions refer to."""
    document = target.__dict__["api"].build().openapi()
    components = document.get("components", {})
    return [
        (method.upper(), path, operation | {"components": components})
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if path not in SKIPPED
    ]


def example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """A value that fits a schema, with all that may be there."""
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return example(schemas[name], schemas)
    if choices := schema.get("anyOf"):
        return example(choices[0], schemas)
    match schema.get("type"):
        case "object":
            known = schema.get("properties", {})
            return {name: example(part, schemas) for name, part in known.items()}
        case "array":
            return [example(schema.get("items", {}), schemas)]
        case "integer" | "number":
            return max(1, int(schema.get("minimum", 1)))
        case "boolean":
            return True
    if "enum" in schema:
        return schema["enum"][0]
    return "2026-03-02" if "date" in schema.get("format", "") else KNOWN[0]


@st.composite
def requests(draw: st.DrawFn, operation: dict[str, Any]) -> tuple[dict[str, str], Any, Any]:
    """Parameters in the path, those of the query, and the body; each may fit, and may not."""
    in_path, query = {}, {}
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            in_path[parameter["name"]] = draw(ids)
        elif parameter["in"] == "query" and draw(st.booleans()):
            query[parameter["name"]] = draw(ids)[:2000]  # httpx takes 64 KiB, escaped
    content = operation.get("requestBody", {}).get("content", {})
    body: Any = None
    if schema := content.get("application/json", {}).get("schema"):
        body = example(schema, operation["components"].get("schemas", {}))
        if body and draw(st.booleans()):
            body = draw(hostile.versions_of(body))
    return in_path, query, body


@pytest.fixture
async def good(dsm: Dsm) -> Dsm:
    await dsm.sprint("GEM-001")
    return dsm


@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__dict__["api"].name)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_whatever_is_sent_is_answered_and_the_others_are_read(
    good: Dsm, target: Any, data: st.DataObject
) -> None:
    service = target.__dict__["api"].name.replace("_", "-")
    number = data.draw(st.integers(0, len(operations(target)) - 1))
    method, path, operation = operations(target)[number]
    in_path, query, body = data.draw(requests(operation))
    at = path
    for name, value in in_path.items():
        at = at.replace(f"{{{name}}}", quote(value.encode(errors="surrogatepass"), safe=""))
    if query:
        at += "?" + urlencode(query, errors="surrogatepass")
    answer = await good.call(
        method, service, at, content=json.dumps(body) if body is not None else b""
    )
    assert answer.status_code < 500, f"{method} {at} {body!r}: {answer.text}"
    assert answer.status_code < 400 or len(answer.content) <= 512
    got = await good.call("GET", *data.draw(st.sampled_from(READS)))
    assert got.status_code in (200, 404), got.text  # 404: its sprint may have been closed
