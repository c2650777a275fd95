"""Suppressions of findings: `# knative-lint: ignore KN201 reason`.

The comment stands on the line of the finding, in the comment lines right above it, or for a whole
document before its first field. Where comments do not survive, the annotation
`knative-lint/ignore: KN201 reason` suppresses the rule for an object.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from knative.lint.manifest import Manifest

ANNOTATION = "knative-lint/ignore"
_RULES = r"(KN\d+(?:\s*,\s*KN\d+)*)"
_COMMENT, _LIST = re.compile(r"#\s*knative-lint:\s*ignore\s+" + _RULES), re.compile(_RULES)


def is_suppressed(rule: str, manifest: Manifest, line: int | None) -> bool:
    """Is `rule` suppressed at `line` of the file of `manifest`?"""
    if rule in _named(_LIST, manifest.texts("metadata", "annotations").get(ANNOTATION, "")):
        return True
    source = manifest.resource.source
    lines = _lines(manifest.file) if source.text is None else source.text.splitlines()
    for start in {line, source.line} - {None}:
        assert start is not None
        if start == line and start <= len(lines) and rule in _named(_COMMENT, lines[start - 1]):
            return True
        above = start - 2
        while 0 <= above < len(lines) and lines[above].lstrip().startswith("#"):
            if rule in _named(_COMMENT, lines[above]):
                return True
            above -= 1
    return False


def _named(pattern: re.Pattern[str], text: str) -> set[str]:
    match = pattern.search(text)
    return {rule.strip() for rule in match[1].split(",")} if match else set()


@cache
def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()
