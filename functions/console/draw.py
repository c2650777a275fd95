"""Plots and graphs as SVG without a style, a script or a colour: the style sheet has those."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pygal
from markupsafe import Markup

# It adds a finder of plug-ins, of which we have none, in a form that Python no longer knows.
sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]

WIDTH, HEIGHT = 164, 54
GAP_X, GAP_Y = 36, 16
_LETTERS = 20


@dataclass(frozen=True)
class Node:
    """A box of a graph: two lines of words, a tone, and where a click leads."""

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
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"


def _cut(text: str, most: int = _LETTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def line_plot(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    title: str,
    *,
    y_title: str,
    marked: str = "",
) -> Markup:
    """Lines over labels, with a vertical line at the `marked` one; a value is shown on hover.

    Its numbers must stand in a table beside it, so readers get the title.
    """
    shown = max(1, len(labels) // 8)
    chart: Any = pygal.Line(
        js=[],
        css=[],
        no_prefix=True,
        width=860,
        height=300,
        title=None,
        show_legend=False,
        include_x_axis=True,
        range=(0, max((v for values in series.values() for v in values if v), default=1)),
        max_scale=6,
        x_labels_major=[*labels[::shown], marked],
        show_minor_x_labels=False,
        truncate_label=-1,
        dots_size=3.5,
        y_title=y_title,
    )
    chart.x_labels = list(labels)
    for name, values in series.items():
        chart.add(name, list(values))
    chart.add_xml_filter(lambda root: _mark(_bare(root, title), marked))
    return Markup(chart.render(is_unicode=True, disable_xml_declaration=True))


def _bare(root: Element, title: str) -> Element:
    """Without what a strict policy forbids, and with a name for who cannot see it."""
    dotted = [g for g in root.iter("g") if g.get("class") == "dots"]
    titles = [(g, f"{d.text}") for g in dotted for d in g.iter("desc") if d.get("class") == "value"]
    for parent in list(root.iter()):
        for child in list(parent):
            inline = child.tag in ("defs", "style", "script", "title", "desc")
            if inline or not isinstance(child.tag, str) or "tooltip" in child.get("class", ""):
                if child.get("class", "").startswith("dot"):
                    continue
                parent.remove(child)
    for dots, value in titles:
        SubElement(dots, "title").text = value
    root.attrib.pop("id", None)
    root.set("role", "img")
    root.set("aria-label", title)
    return root


def _mark(root: Element, label: str) -> Element:
    """A vertical line where the axis has `label`; none where it has not."""
    for axis in root.iter("g"):
        if axis.get("class") != "axis x":
            continue
        for guide in axis.findall("g"):
            text, line = guide.find("text"), guide.find("path")
            if text is not None and line is not None and text.text == label:
                guide.set("class", "guides marked")
                text.text = "today"
    return root
