"""KN0xx: can the tree be read?

Their findings come from reading, where there is no object yet; linting.py words them.
"""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.finding import Found, rule
from knative.lint.tree import Tree


@rule(
    "KN001", "error", "what cannot be read or built",
    why="What cannot be read cannot be applied, and hides every other mistake in it. Until it can "
    "be, no name here is said to be missing.",
    fix="Mend the file at the place that is named.",
)  # fmt: skip
def broken(tree: Tree) -> Iterator[Found]:
    return iter(())


@rule(
    "KN002", "note", "part of the kustomization was not read",
    why="Remote resources and what a Component goes into are not looked at here, so no name can be "
    "said to be missing.",
    fix="For a full answer lint the overlay: kubectl kustomize DIR | python -m knative.lint -",
)  # fmt: skip
def unread(tree: Tree) -> Iterator[Found]:
    return iter(())


@rule(
    "KN003", "warning", "kustomization that is not judged",
    why="It uses a feature that this linter does not know, so what becomes of its objects is not "
    "known either, and no rule was asked.",
    fix="Let kustomize build it: kubectl kustomize DIR | python -m knative.lint -",
)  # fmt: skip
def unbuilt(tree: Tree) -> Iterator[Found]:
    return iter(())
