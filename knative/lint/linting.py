"""Run all rules over the trees."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import knative.lint.rules  # noqa: F401  importing registers the rules
from knative.lint.finding import RULES, Finding, Rule, Violation
from knative.lint.installation import Installation
from knative.lint.reading import Reading
from knative.lint.suppressions import is_suppressed
from knative.lint.tree import Tree
from knative.local.manifests.problems import Problem


def lint(
    readings: Iterable[Reading], wanted: Callable[[str], bool] = lambda _: True
) -> list[Finding]:
    """Return the findings of the wanted rules, sorted by place, without duplicates."""
    findings: set[Finding] = set()
    all_readings = list(readings)
    resolved = cache(_resolved)  # a file has many findings
    known = {manifest.key for reading in all_readings for manifest in reading.manifests}
    known |= {key for reading in all_readings for key in reading.cloud_run}
    for reading in all_readings:
        tree = Tree(reading, known, _installation(reading, all_readings))
        for rule in RULES.values():
            if wanted(rule.id):
                findings.update(_of_rule(rule, tree, resolved))
    return sorted(findings, key=lambda one: (*one.place, one.message, one.object))


def _installation(reading: Reading, others: list[Reading]) -> Installation:
    """A kustomization, as of one environment, is applied with no other one's ConfigMaps."""
    homes = [reading] if reading.kustomized else [*others, reading]
    return Installation(manifest for home in homes for manifest in home.manifests)


def _of_rule(rule: Rule, tree: Tree, resolved: Callable[[Path], Path]) -> Iterable[Finding]:
    reading = tree.reading
    problems = {"KN001": reading.broken, "KN002": reading.unread, "KN003": reading.unbuilt}
    for problem in problems.get(rule.id, []):
        yield _of_problem(rule, problem, resolved(problem.file))
    for found in rule.check(tree):
        line = found.manifest.line(found.path)
        if not is_suppressed(rule.id, found.manifest, line):
            yield _finding(rule, found, line, resolved(found.manifest.file))


def _finding(rule: Rule, found: Violation, line: int | None, file: Path) -> Finding:
    dotted = ".".join(str(part) for part in found.path)
    manifest = str(found.manifest)
    return Finding(
        file, line, rule.id, rule.severity, manifest, dotted, found.message, rule.why, rule.fix
    )


def _of_problem(rule: Rule, problem: Problem, file: Path) -> Finding:
    return Finding(
        file, problem.line, rule.id, rule.severity, problem.manifest,
        problem.field, problem.message, rule.why, rule.fix,
    )  # fmt: skip


def _resolved(file: Path) -> Path:
    return file.resolve() if file.exists() else file
