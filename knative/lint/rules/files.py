"""KN0xx: can the tree be read?

Their findings are problems of reading, which linting.py reports.
"""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.finding import Violation, rule
from knative.lint.tree import Tree


@rule(
    "KN001", "error", "file that cannot be read or built",
    why="kubectl cannot apply it either, and it hides other mistakes. Until it is valid, no name "
    "is reported as missing.",
    fix="Correct the file at the named line.",
)  # fmt: skip
def broken(tree: Tree) -> Iterator[Violation]:
    return iter(())


@rule(
    "KN002", "note", "part of the kustomization was not read",
    why="Remote resources and the kustomization that includes a Component are not read, so no name "
    "is reported as missing.",
    fix="For a full answer lint the overlay: kubectl kustomize DIR | python -m knative.lint -",
)  # fmt: skip
def unread(tree: Tree) -> Iterator[Violation]:
    return iter(())


@rule(
    "KN003", "warning", "kustomization that was not checked",
    why="It uses a feature that this linter cannot build, so its objects are unknown and no rule "
    "was run.",
    fix="Let kustomize build it: kubectl kustomize DIR | python -m knative.lint -",
)  # fmt: skip
def unbuilt(tree: Tree) -> Iterator[Violation]:
    return iter(())
