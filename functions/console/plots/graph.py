"""Graphs as SVG without a style, a script or a colour: the style sheet has those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 164, 54
GAP_X, GAP_Y = 36, 16
_MAX_CHARS = 20


@dataclass(frozen=True)
class Node:
    """A box of a graph: two lines of text, a tone, and where a click leads."""

    id: str
    text: str
    small: str = ""
    tone: str = "calm"
    href: str = ""
    kind: str = "event"


@dataclass(frozen=True)
class Placed:
    """A box with its place, and where the lines to it come from."""

    node: Node
    x: int
    y: int

    @property
    def text(self) -> str:
        return _cut(self.node.text)

    @property
    def small(self) -> str:
        return _cut(self.node.small, 25)


@dataclass(frozen=True)
class Graph:
    """A drawing from left to right, in pixels."""

    boxes: list[Placed] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    width: int = 0
    height: int = 0


def graph(nodes: Sequence[Node], edges: Sequence[tuple[str, str]]) -> Graph:
    """Place nodes in layers, each behind all that lead to it, near their middle.

    >>> drawn = graph([Node("a", "A"), Node("b", "B"), Node("c", "C")], [("a", "b"), ("a", "c")])
    >>> [(box.node.id, box.x, box.y) for box in drawn.boxes]
    [('a', 1, 1), ('b', 201, 1), ('c', 201, 71)]
    """
    known = {node.id for node in nodes}
    before: dict[str, list[str]] = {node.id: [] for node in nodes}
    for start, end in edges:
        if start in known and end in known and start != end:
            before[end].append(start)
    depth = _depths(before)
    rows: dict[str, float] = {}
    for layer in range(max(depth.values(), default=-1) + 1):
        free = 0.0
        members = [node.id for node in nodes if depth[node.id] == layer]
        middle = {id: _mean([rows[b] for b in before[id]]) for id in members}
        for id in sorted(members, key=lambda id: middle[id]):
            rows[id] = max(free, middle[id])
            free = rows[id] + 1
    boxes = {
        node.id: Placed(
            node,
            1 + depth[node.id] * (WIDTH + GAP_X),
            1 + round(rows[node.id] * (HEIGHT + GAP_Y)),
        )
        for node in nodes
    }
    lines = [_line(boxes[b], boxes[id]) for id, starts in before.items() for b in starts]
    width = max((box.x for box in boxes.values()), default=0) + WIDTH + 2
    height = max((box.y for box in boxes.values()), default=0) + HEIGHT + 2
    return Graph(list(boxes.values()), lines, width, height)


def _depths(before: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The longest way to each node; a way that goes in a circle is cut where it closes."""
    found: dict[str, int] = {}

    def depth(id: str, way: frozenset[str]) -> int:
        if id not in found:
            onward = way | {id}
            found[id] = max(
                (depth(b, onward) + 1 for b in before[id] if b not in onward), default=0
            )
        return found[id]

    for id in before:
        depth(id, frozenset())
    return found


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0


def _line(start: Placed, end: Placed) -> str:
    x1, y1 = start.x + WIDTH, start.y + HEIGHT // 2
    x2, y2 = end.x, end.y + HEIGHT // 2
    bend = (x2 - x1) // 2
    arrow = f"M{x2 - 7} {y2 - 5}L{x2} {y2}L{x2 - 7} {y2 + 5}"
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}{arrow}"


def _cut(text: str, max_chars: int = _MAX_CHARS) -> str:
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"
