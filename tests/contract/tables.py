"""The documents' tables and diagrams, made of code and YAML: `python -m tests.contract.tables`.

A document holds each between two markers, `<!-- events -->` and `<!-- /events -->`, likewise
`functions`, `flow`, `main-flow` and `settings`. `--write` puts them there; a test compares.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator

from functions.agent_outputs.outputs import Outputs
from functions.events.base import AnyEvent, Event, Request
from functions.events.schedule import ScheduleDue
from functions.kit.process.serve import FUNCTIONS
from tests.contract import callers, eventtypes, policies, settings_table
from tests.support.repository import (
    KNATIVE,
    ROOT,
    Pattern,
    event_types,
    function_folders,
    listeners,
    of_kind,
    producers_of,
    spec,
    triggers,
)

DOCUMENTS = (ROOT / "README.md", FUNCTIONS / "README.md", KNATIVE / "CONFIGURATION.md")

# Beside the page about agents' images.
OUTPUTS_SCHEMA = FUNCTIONS / "agent_pod" / "outputs.schema.json"

# Of the flow, what the front page shows.
_MAIN = re.compile(
    r"(?:at_(?:sprint_report|scrum_simulate)\b|sprint-report|cycle-trigger|scrum-simulate"
    r"|webhook-receiver|scheduler) "
)
_ASIDE = re.compile(r"\b(?:anybody|job\.cancel|task\.update)\b")


def events() -> str:
    """Each event type: what it means, its fields, its producers and its consumers."""
    rows = [
        [
            f"`{kind.type}{'.*' if kind.family else ''}`",
            _first_line(kind),
            ", ".join(f"`{name}`" for name in kind.model_fields),
            ", ".join(map(_dashed, producers_of(kind))) or _outside(kind),
            ", ".join(map(_dashed, listeners(kind))) or "any subscriber",
        ]
        for kind in event_types()
    ]
    return _table(["type", "meaning", "fields", "producer", "consumer"], rows)


def functions() -> str:
    """Each function: what it does, which events it consumes and produces."""
    rows = []
    for name in function_folders():
        declared = spec(name)
        consumed = [f"`{kind.type}`" for kind in declared.inputs if kind is not AnyEvent]
        if AnyEvent in declared.inputs:
            consumed.append("any event")
        output = [f"`{kind.type}`" for kind in declared.emits]
        about = declared.about.partition("\n")[0]
        rows.append([_dashed(name), about, ", ".join(consumed), ", ".join(output) or "nothing"])
    return _table(["function", "what it does", "consumes", "produces"], rows)


def flow() -> str:
    """Who tells whom, as a Mermaid diagram."""
    return _diagram(_relations())


def main_flow() -> str:
    """The main functions alone, as a Mermaid diagram."""
    return _diagram(
        line
        for line in _relations()
        if _MAIN.match(f"{line} ".replace("([", " ")) and not _ASIDE.search(line)
    )


def outputs_schema() -> str:
    """The JSON schema of the file that an agent writes."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(schema | Outputs.model_json_schema(), indent=2) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "events": events,
    "functions": functions,
    "flow": flow,
    "main-flow": main_flow,
    "settings": settings_table.table,
}


def filled(text: str) -> str:
    """A document with what stands between its markers made anew."""
    for name, make in PARTS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if pattern.search(text):
            made = make()
            text = pattern.sub(lambda m, made=made: f"{m[1]}{made}\n{m[2]}", text)  # type: ignore[misc]  # mypy cannot infer a lambda's default
    return text


def _relations() -> Iterator[str]:
    yield from _ticks()
    yield from _facts()
    yield from _everything()
    yield from _dead_letters()


def _diagram(relations: Iterable[str]) -> str:
    lines = (f"  {line}" for line in dict.fromkeys(relations))
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


def _ticks() -> Iterator[str]:
    """Schedules, and the Triggers of ticks that their names pass."""
    ticked = [t for t in triggers() if any(p.text == ScheduleDue.type for p in t.patterns)]
    for source in of_kind("PingSource", "sources"):
        name, on = source["metadata"]["name"], source["spec"]
        node = f'{_id("at " + name)}(["{name}<br/>{on["schedule"]} {on["timezone"]}"])'
        for trigger in ticked:
            if any(_lets(p, name) for p in trigger.schedules):
                yield f"{node} --> {trigger.service}"
    for trigger in ticked:
        for pattern in trigger.schedules:
            if pattern.prefix:
                node = f'{_id("at " + pattern.text)}(["{pattern.text}*"])'
                yield f"{node} --> {trigger.service}"


def _facts() -> Iterator[str]:
    """Events, from producers to consumers."""
    for kind in event_types():
        if kind is ScheduleDue:
            continue
        word = _short(kind)
        produced_by = [_dashed(name) for name in producers_of(kind)]
        if not produced_by:
            produced_by = ["user((user))" if issubclass(kind, Request) else "knative((Kubernetes))"]
        for producer in produced_by:
            for consumer in map(_dashed, listeners(kind)):
                yield f"{producer} -- {word} --> {consumer}"
            if not listeners(kind):
                yield f"{producer} -- {word} --> anybody((anybody))"


def _everything() -> Iterator[str]:
    for trigger in triggers():
        if trigger.everything:
            yield f"broker[(broker)] -- every event --> {trigger.service}"


def _dead_letters() -> Iterator[str]:
    for broker in of_kind("Broker", "eventing"):
        sink = broker["spec"]["delivery"]["deadLetterSink"]["ref"]["name"]
        yield f"broker[(broker)] -. what could not be handled .-> {sink}"
        yield f"{sink} -. redrive .-> broker"


def _short(kind: type[Event]) -> str:
    text = kind.type.removeprefix("io.dsm.")
    return f"{re.sub(r'.v[0-9]+$', '', text)}{'.*' if kind.family else ''}"


def _outside(kind: type[Event]) -> str:
    if issubclass(kind, Request):
        return "a user"
    return "a PingSource" if kind is ScheduleDue else "Knative"


def _first_line(documented: object) -> str:
    text = (inspect.getdoc(documented) or "").partition("\n")[0]
    return text.replace("|", "\\|")


def _lets(pattern: Pattern, name: str) -> bool:
    return name.startswith(pattern.text) if pattern.prefix else name == pattern.text


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _id(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> int:
    """Print the parts, or with --write put them and the EventTypes where they belong."""
    if "--write" not in sys.argv[1:]:
        print("\n\n".join(f"<!-- {name} -->\n{make()}" for name, make in PARTS.items()))
        return 0
    for path in DOCUMENTS:
        path.write_text(filled(path.read_text()))
    for path, text in eventtypes.files().items():
        path.write_text(text)
    policies.PATH.write_text(policies.text())
    callers.PATH.write_text(callers.text())
    OUTPUTS_SCHEMA.write_text(outputs_schema())
    return 0


if __name__ == "__main__":
    sys.exit(main())
