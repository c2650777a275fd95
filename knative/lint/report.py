"""Findings as text, as JSON, and as SARIF 2.1.0 for code scanning."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from knative.lint.finding import RULES, SEVERITIES, Finding, Rule
from knative.local.manifests.problems import show

_SARIF = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def as_text(findings: list[Finding], objects: int) -> str:
    """Return three lines for each finding (message, why, fix), and a summary."""
    blocks = []
    for one in findings:
        place = f"{show(one.file)}:{one.line}" if one.line else show(one.file)
        what = ": ".join(part for part in (one.object, one.field, one.message) if part)
        blocks.append(
            f"{place}: {one.rule} {one.severity}: {what}\n  why: {one.why}\n  fix: {one.fix}"
        )
    return "\n".join([*blocks, f"{summary(findings)} in {objects} object{'s' * (objects != 1)}"])


def summary(findings: list[Finding]) -> str:
    """Return the number of findings of each severity.

    >>> summary([])
    'nothing found'
    """
    counts = {s: sum(one.severity == s for one in findings) for s in SEVERITIES}
    return ", ".join(f"{n} {s}{'s' * (n > 1)}" for s, n in counts.items() if n) or "nothing found"


def as_json(findings: list[Finding]) -> str:
    """Return a list of objects with the fields of Finding."""
    shown = cache(show)  # a file has many findings
    return json.dumps([{**vars(one), "file": shown(one.file)} for one in findings], indent=2)


def as_sarif(findings: list[Finding]) -> str:
    """Return one SARIF run with all rules and findings; paths are relative."""
    order = list(RULES)
    driver = {
        "name": "knative-lint",
        "semanticVersion": "1.0.0",
        "rules": [_descriptor(rule) for rule in RULES.values()],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"SRCROOT": {"uri": f"{Path.cwd().as_uri()}/"}},
        "results": [_result(one, order.index(one.rule)) for one in findings],
    }
    return json.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]}, indent=2)


def _descriptor(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.check.__name__.split("_")),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": rule.severity},
    }


def _result(one: Finding, index: int) -> dict[str, Any]:
    what = ": ".join(part for part in (one.object, one.field, one.message) if part)
    return {
        "ruleId": one.rule,
        "ruleIndex": index,
        "level": one.severity,
        "message": {"text": f"{what}. {one.why} Fix: {one.fix}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _artifact(one.file),
                    "region": {"startLine": one.line or 1},
                },
                **_logical(one),
            }
        ],
    }


def _logical(one: Finding) -> dict[str, Any]:
    """Return the object and its field; a file that could not be read has neither."""
    name = ": ".join(part for part in (one.object, one.field) if part)
    return {"logicalLocations": [{"fullyQualifiedName": name}]} if name else {}


def _artifact(file: Path) -> dict[str, str]:
    path = Path(show(file))
    if path.is_absolute():
        return {"uri": path.as_uri()}
    plain = path.as_posix().replace("<", "").replace(">", "")  # standard input
    return {"uri": quote(plain), "uriBaseId": "SRCROOT"}
