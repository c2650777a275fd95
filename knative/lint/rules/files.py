"""KN0xx: can the tree be read?

Their findings come from reading, where there is no object yet; linting.py words them.
"""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.finding import Found, rule
from knative.lint.tree import Tree


@rule(
    "KN001", "error", "unreadable YAML",
    why="What cannot be read cannot be applied, and hides every other mistake in it.",
    fix="Mend the file at the place that is named.",
)  # fmt: skip
def broken(tree: Tree) -> Iterator[Found]:
    return iter(())


@rule(
    "KN002", "note", "part of the kustomization was not read",
    why="Remote resources, rarer kustomize features and what a Component goes into are not looked "
    "at here, so no name can be said to be missing.",
    fix="For a full answer lint the overlay: kubectl kustomize DIR | python -m knative.lint -",
)  # fmt: skip
def unread(tree: Tree) -> Iterator[Found]:
    return iter(())
