"""Plots as SVG without a style, a script or a colour: the style sheet has those."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pygal
from markupsafe import Markup

# It adds a finder of plug-ins, of which we have none, in a form that Python no longer knows.
sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]


def line_plot(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    title: str,
    *,
    y_title: str,
    marked: str = "",
    shaded: Mapping[int, str] | None = None,
    notes: Mapping[int, str] | None = None,
    stacked: bool = False,
    bars: bool = False,
) -> Markup:
    """Lines over labels, areas on each other, or `bars` on each other.

    All values of a label are shown while a pointer is above it, and by the arrow keys. A vertical
    line stands at the `marked` label. `shaded` and `notes` name labels by their number: a band for
    a reason, and a vertical line with a short text. The first series has a value at each label. The
    numbers must stand in a table beside it, so readers get the title.
    """
    every = max(1, math.ceil(len(labels) / 8))
    # The marked label is one of them: it stands too near to none.
    first = labels.index(marked) % every if marked in labels else 0
    kind = pygal.StackedBar if bars else pygal.StackedLine if stacked else pygal.Line
    stacked = stacked or bars
    highest = [v for values in series.values() for v in values if v]
    chart: Any = kind(
        js=[],
        css=[],
        no_prefix=True,
        width=720,
        height=300,
        title=None,
        fill=stacked,
        show_legend=False,
        include_x_axis=True,
        max_scale=6,
        x_labels_major=labels[first::every],
        show_minor_x_labels=False,
        truncate_label=-1,
        dots_size=3.5,
        margin_right=48,  # half of the last label
        y_title=y_title,
        **({} if stacked else {"range": (0, max(highest, default=1))}),
    )
    chart.x_labels = list(labels)
    for name, values in series.items():
        chart.add(name, list(values))

    def finish(root: Element) -> Element:
        if stacked:
            root.set("class", f"{root.get('class', '')} stacked")
        columns = [
            described(
                label,
                {name: values[number] for name, values in series.items()},
                [*filter(None, ((shaded or {}).get(number), (notes or {}).get(number)))],
            )
            for number, label in enumerate(labels)
        ]
        _overlay(root, shaded or {}, notes or {}, columns)
        return _mark(_bare(root, title), marked)

    chart.add_xml_filter(finish)
    return Markup(chart.render(is_unicode=True, disable_xml_declaration=True))


def described(label: str, values: Mapping[str, float | None], more: Sequence[str] = ()) -> str:
    """All that a plot shows at a label.

    >>> described("2 Mar", {"ideal": 8.0, "left": 7.25, "forecast": None}, ["weekend"])
    '2 Mar: ideal 8, left 7.25; weekend'
    """
    known = [f"{name} {value:g}" for name, value in values.items() if value is not None]
    return "; ".join([f"{label}: {', '.join(known)}", *more])


def _overlay(
    root: Element, shaded: Iterable[int], notes: Mapping[int, str], columns: Sequence[str]
) -> None:
    """Bands behind the lines, vertical lines with a text, and above all a column for each label,
    whose title says what is shown there."""
    plot = next(g for g in root.iter("g") if g.get("class") == "plot")
    first = next(
        g
        for g in root.iter("g")
        if g.get("class") == "series serie-0 color-0" and g.find("g") is not None
    )
    xs = [_middle(mark) for mark in first.iter() if mark.tag in ("circle", "rect")]
    background = plot.find("rect")
    if background is None or not xs:
        return
    width, height = float(background.get("width", "0")), background.get("height", "0")
    step = xs[1] - xs[0] if len(xs) > 1 else width

    def column(number: int, kind: str) -> Element:
        left, right = max(0.0, xs[number] - step / 2), min(width, xs[number] + step / 2)
        place = {"x": f"{left:.1f}", "y": "0", "width": f"{right - left:.1f}", "height": height}
        return Element("rect", {"class": kind, **place})

    for number in shaded:
        plot.insert(1, column(number, "off"))
    for number, text in notes.items():
        note = SubElement(plot, "g", {"class": "noted"})
        SubElement(note, "path", {"class": "guide", "d": f"M{xs[number]:.1f} 0v{height}"})
        SubElement(note, "text", {"x": f"{xs[number] + 4:.1f}", "y": "12"}).text = text
    # Last, so that a pointer meets them first.
    area = SubElement(root, "g", {"transform": plot.get("transform", ""), "class": "columns"})
    for number, text in enumerate(columns):
        above = column(number, "column")
        SubElement(above, "title").text = text
        area.append(above)


def _middle(mark: Element) -> float:
    """Where a dot or a bar stands on the axis."""
    if mark.tag == "circle":
        return float(mark.get("cx", "0"))
    return float(mark.get("x", "0")) + float(mark.get("width", "0")) / 2


def _bare(root: Element, title: str) -> Element:
    """Without what a strict policy forbids, and with a name for who cannot see it."""
    for parent in list(root.iter()):
        for child in list(parent):
            inline = child.tag in ("defs", "style", "script", "title", "desc")
            if inline or not isinstance(child.tag, str) or "tooltip" in child.get("class", ""):
                if (
                    child.get("class", "").startswith(("dot", "rect"))
                    or parent.get("class") == "column"
                ):
                    continue
                parent.remove(child)
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
