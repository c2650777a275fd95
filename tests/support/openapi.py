"""A published OpenAPI 3.0 document as the judge of requests and answers, in both directions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

_EXAMPLES = {
    "string": "x",
    "integer": 1,
    "number": 1.0,
    "boolean": False,
    "array": [],
    "object": {},
}
# A property that must be there, of which the document says nothing else.
_ANY = {"nullable": True}


class Document:
    """`violations` are all that did not fit so far, in words."""

    def __init__(self, path: Path) -> None:
        self._document: dict[str, Any] = json.loads(path.read_text())
        self._validators: dict[str, Any] = {}
        self.violations: list[str] = []
        self.judges = True

    def request(self, method: str, path: str, query: Mapping[str, str], body: object) -> None:
        """Judge a request: its path, its parameters, and its JSON body."""
        operation = self._operation(method, path)
        if operation is None:
            self.violations.append(f"{method} {path}: no such operation")
            return
        known = {one["name"]: one["schema"] for one in self._parameters(operation, "query")}
        for name, value in query.items():
            if name not in known:
                self.violations.append(f"{method} {path}: no parameter {name}")
            else:
                self._judge(f"{method} {path}: {name}", known[name], _typed(known[name], value))
        if body is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            self._judge(f"{method} {path}: body", schema, body)

    def answer(self, method: str, path: str, status: int, body: object) -> None:
        """Judge an answer; what any operation may say, as 304 or 429, is not in the document."""
        operation = self._operation(method, path)
        if operation is None or status in (304, 401, 403, 429) or status >= 500:
            return
        response = operation["responses"].get(str(status))
        if response is None and status == 404:
            return  # GitHub's document leaves it out where nothing may be there to be changed
        if response is None:
            self.violations.append(f"{method} {path}: no status {status}")
            return
        content = self._resolved(response).get("content")
        if content is not None:
            schema = content["application/json"]["schema"]
            self._judge(f"{method} {path}: answer {status}", schema, body)

    def made(self, schema_name: str, /, **given: Any) -> dict[str, Any]:
        """An object of a schema: what is given, and something for whatever else is required."""
        return self._required(self._schemas[schema_name]) | given

    def _required(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        known = schema["properties"]
        return {part: self._example(known.get(part, _ANY)) for part in schema["required"]}

    @property
    def _schemas(self) -> dict[str, Any]:
        schemas: dict[str, Any] = self._document["components"]["schemas"]
        return schemas

    def _example(self, schema: Mapping[str, Any]) -> Any:
        if schema.get("nullable"):
            return None
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            found = self._schemas[name]
            if name.startswith("nullable-"):
                return None
            return self._example(found) if "required" not in found else self.made(name)
        if "enum" in schema:
            return schema["enum"][0]
        if "oneOf" in schema or "anyOf" in schema:
            return self._example((schema.get("oneOf") or schema["anyOf"])[0])
        if schema.get("format") == "date-time":
            return "2026-01-01T00:00:00Z"
        if schema.get("format") == "uri":
            return "https://github.com/x"
        if "required" in schema:
            return self._required(schema)
        return _EXAMPLES[schema["type"]]

    def _operation(self, method: str, path: str) -> Mapping[str, Any] | None:
        for pattern, operations in self._patterns.items():
            if pattern.fullmatch(path) and method.lower() in operations:
                found: Mapping[str, Any] = operations[method.lower()]
                return found
        return None

    @cached_property
    def _patterns(self) -> dict[re.Pattern[str], Mapping[str, Any]]:
        return {
            re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))): operations
            for path, operations in self._document["paths"].items()
        }

    def _parameters(self, operation: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
        every = [self._resolved(one) for one in operation.get("parameters", [])]
        return [one for one in every if one["in"] == where]

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in part:
            return part
        _, _, kind, name = part["$ref"].split("/")
        found: Mapping[str, Any] = self._document["components"][kind][name]
        return found

    @cached_property
    def _converted(self) -> Any:
        return _nullable({"schemas": self._schemas})

    def _judge(self, what: str, schema: Mapping[str, Any], value: object) -> None:
        if not self.judges:
            return
        import jsonschema  # of the tests: what only runs has no need of it

        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            whole = {"allOf": [_nullable(schema)], "components": self._converted}
            self._validators[key] = jsonschema.Draft202012Validator(whole)
        for error in self._validators[key].iter_errors(value):
            where = "/".join(map(str, error.absolute_path))
            self.violations.append(f"{what}: {where}: {error.message[:300]}")


def _typed(schema: Mapping[str, Any], text: str) -> object:
    """A parameter of a URL as its schema counts it."""
    if schema.get("type") == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    return (
        {"true": True, "false": False}.get(text, text) if schema.get("type") == "boolean" else text
    )


def _nullable(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` as JSON Schema has it."""
    if isinstance(schema, list):
        return [_nullable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _nullable(value) for name, value in schema.items() if name != "nullable"}
    return {"anyOf": [found, {"type": "null"}]} if schema.get("nullable") is True else found
