"""All rules over one reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import knative.lint.rules  # noqa: F401  importing registers the rules
from knative.lint.finding import RULES, Finding, Found, Rule
from knative.lint.ignoring import is_ignored
from knative.lint.reading import Reading
from knative.lint.tree import Tree
from knative.local.manifests.problems import Problem


def lint(
    readings: Iterable[Reading], wanted: Callable[[str], bool] = lambda _: True
) -> list[Finding]:
    """What the rules that `wanted` names find, by place; one place tells each thing once."""
    findings: set[Finding] = set()
    together = list(readings)
    known = {thing.key for reading in together for thing in reading.things}
    for reading in together:
        tree = Tree(reading, known)
        for rule in RULES.values():
            if wanted(rule.id):
                findings.update(_of_rule(rule, tree))
    return sorted(findings, key=lambda one: (*one.place, one.message, one.thing))


def _of_rule(rule: Rule, tree: Tree) -> Iterable[Finding]:
    reading = tree.reading
    said = {"KN001": reading.broken, "KN002": reading.unread, "KN003": reading.unbuilt}
    for problem in said.get(rule.id, []):
        yield _of_problem(rule, problem)
    for found in rule.check(tree):
        line = found.thing.line(found.path)
        if not is_ignored(rule.id, found.thing, line):
            yield _finding(rule, found, line)


def _finding(rule: Rule, found: Found, line: int | None) -> Finding:
    dotted = ".".join(str(part) for part in found.path)
    thing, file = str(found.thing), _resolved(found.thing.file)
    return Finding(
        file, line, rule.id, rule.severity, thing, dotted, found.message, rule.why, rule.fix
    )


def _of_problem(rule: Rule, problem: Problem) -> Finding:
    return Finding(
        _resolved(problem.file), problem.line, rule.id, rule.severity, problem.thing,
        problem.field, problem.message, rule.why, rule.fix,
    )  # fmt: skip


def _resolved(file: Path) -> Path:
    return file.resolve() if file.exists() else file
