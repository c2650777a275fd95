"""Plots as SVG without a style, a script or a colour: the style sheet has those."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
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
    """Lines over labels, areas on each other, or `bars` on each other; a value is shown on hover.

    A vertical line stands at the `marked` label. `shaded` and `notes` name labels by their number:
    a band with its reason on hover, and a vertical line with a short text. The first series has a
    value at each label. The numbers must stand in a table beside it, so readers get the title.
    """
    every = max(1, len(labels) // 8)
    kind = pygal.StackedBar if bars else pygal.StackedLine if stacked else pygal.Line
    stacked = stacked or bars
    highest = [v for values in series.values() for v in values if v]
    chart: Any = kind(
        js=[],
        css=[],
        no_prefix=True,
        width=860,
        height=300,
        title=None,
        fill=stacked,
        show_legend=False,
        include_x_axis=True,
        max_scale=6,
        x_labels_major=[*labels[::every], marked],
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
        _overlay(root, shaded or {}, notes or {})
        return _mark(_bare(root, title, list(series)), marked)

    chart.add_xml_filter(finish)
    return Markup(chart.render(is_unicode=True, disable_xml_declaration=True))


def _overlay(root: Element, shaded: Mapping[int, str], notes: Mapping[int, str]) -> None:
    """Bands behind the lines, and vertical lines with a text."""
    plot = next(g for g in root.iter("g") if g.get("class") == "plot")
    first = next(
        g
        for g in root.iter("g")
        if g.get("class") == "series serie-0 color-0" and g.find("g") is not None
    )
    xs = [float(dot.get("cx", "0")) for dot in first.iter("circle")]
    background = plot.find("rect")
    if background is None or not xs:
        return
    width, height = float(background.get("width", "0")), background.get("height", "0")
    step = xs[1] - xs[0] if len(xs) > 1 else width
    for number, reason in shaded.items():
        left, right = max(0.0, xs[number] - step / 2), min(width, xs[number] + step / 2)
        band = Element(
            "rect",
            {
                "class": "off",
                "x": f"{left:.1f}",
                "y": "0",
                "width": f"{right - left:.1f}",
                "height": height,
            },
        )
        SubElement(band, "title").text = reason
        plot.insert(1, band)
    for number, text in notes.items():
        note = SubElement(plot, "g", {"class": "noted"})
        SubElement(note, "path", {"class": "guide", "d": f"M{xs[number]:.1f} 0v{height}"})
        SubElement(note, "text", {"x": f"{xs[number] + 4:.1f}", "y": "12"}).text = text


def _titles(root: Element, names: Sequence[str]) -> list[tuple[Element, str]]:
    """Each dot and bar, with the series, label and value that it stands for."""
    found = []
    for serie in root.iter("g"):
        kinds = serie.get("class", "").split()
        if not kinds or kinds[0] != "series":
            continue
        name = names[int(kinds[1].removeprefix("serie-"))]
        for mark in serie.iter("g"):
            if mark.get("class") in ("dots", "bar"):
                texts = {desc.get("class"): desc.text for desc in mark.iter("desc")}
                found.append((mark, f"{name}, {texts.get('x_label')}: {texts.get('value')}"))
    return found


def _bare(root: Element, title: str, names: Sequence[str]) -> Element:
    """Without what a strict policy forbids, and with a name for who cannot see it."""
    titles = _titles(root, names)
    for parent in list(root.iter()):
        for child in list(parent):
            inline = child.tag in ("defs", "style", "script", "title", "desc")
            if inline or not isinstance(child.tag, str) or "tooltip" in child.get("class", ""):
                if (
                    child.get("class", "").startswith(("dot", "rect"))
                    or parent.get("class") == "off"
                ):
                    continue
                parent.remove(child)
    for mark, text in titles:
        SubElement(mark, "title").text = text
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
