"""`python -m functions.job_launcher.routes check FILE --event EVENT.json`: a dry run.

It prints the route that an event takes, why the others do not match, and the Jobs.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from functions.events.base import AnyEvent
from functions.job_launcher.routes import yaml_lines
from functions.job_launcher.routes.match import choose
from functions.job_launcher.routes.render import render_requests
from functions.job_launcher.routes.rendered_fields import RenderError
from functions.job_launcher.routes.route_file import BadRoutes, Route, load, parse
from functions.job_launcher.settings import LauncherSettings
from functions.kit import cloudevents
from functions.kit.contract import envelope
from functions.kit.settings import BadSetting


def explain(
    routes: tuple[Route, ...], event: AnyEvent, settings: LauncherSettings
) -> dict[str, Any]:
    """Return the event's route, why those before it do not match, and its Jobs."""
    choice = choose(routes, event)
    answer: dict[str, Any] = {
        "event": asdict(choice.fields),
        "route": choice.route.name if choice.route else None,
        "did_not_match": choice.mismatches,
    }
    if choice.route is None:
        return answer | {"outcome": "ignored", "reason": "no route matches"}
    if choice.route.ignore is not None:
        return answer | {"outcome": "ignored", "reason": choice.route.ignore}
    try:
        requests = render_requests(choice, event, settings)
    except RenderError as error:
        return answer | {"outcome": "refused", "reason": str(error)}
    refused = {request.job_id: request.refusal for request in requests if request.refusal}
    jobs = [asdict(request) for request in requests if not request.refusal]
    return answer | {"outcome": "jobs", "jobs": jobs, "refused": refused}


def read_event(path: Path) -> AnyEvent:
    """Read a structured CloudEvent from a file."""
    message = cloudevents.from_json(json.loads(path.read_text(encoding="utf-8")))
    event = envelope.open_(message, (AnyEvent,))
    assert isinstance(event, AnyEvent)
    return event


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 1 where the file or the event is invalid or a Job cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m functions.job_launcher.routes")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="validate the file; with --event, make a dry run")
    check.add_argument("file", type=Path, help="routes file, or a manifest with its ConfigMap")
    check.add_argument("--event", type=Path, help="a CloudEvent in JSON format")
    check.add_argument("--json", action="store_true", help="answer in JSON")
    given = parser.parse_args(arguments)
    try:
        routes = _routes_in(given.file)
        if given.event is None:
            return _print_answer({"routes": [route.name for route in routes]}, as_json=given.json)
        answer = explain(routes, read_event(given.event), LauncherSettings.read())
    except BadRoutes as error:
        print(error, file=sys.stderr)
        return 1
    except (OSError, ValueError, BadSetting) as error:
        print(f"{given.event or given.file}: {error}", file=sys.stderr)
        return 1
    _print_answer(answer, as_json=given.json)
    return 1 if answer["outcome"] == "refused" or answer.get("refused") else 0


def _routes_in(path: Path) -> tuple[Route, ...]:
    """Read a file of routes, or a manifest with their ConfigMap."""
    try:
        found = yaml_lines.text_in(path.read_text(encoding="utf-8"), "ConfigMap", "routes.yaml")
    except (OSError, yaml_lines.BadYaml):
        return load(path)
    return parse(found[0], str(path), found[1]) if found else load(path)


def _print_answer(answer: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return 0
    if "routes" in answer:
        print(f"{len(answer['routes'])} routes: {', '.join(answer['routes'])}")
        return 0
    for name, why in answer["did_not_match"].items():
        print(f"  {name}: {why}")
    if answer["outcome"] != "jobs":
        where = f" by route {answer['route']}" if answer["route"] else ""
        print(f"{answer['outcome']}{where}: {answer['reason']}")
        return 0
    count = len(answer["jobs"])
    print(f"route {answer['route']} makes {'a Job' if count == 1 else f'{count} Jobs'}:")
    for job in answer["jobs"]:
        _show(job)
    for job_id, why in answer["refused"].items():
        print(f"and cannot make {job_id}: {why}")
    return 0


def _show(job: dict[str, Any]) -> None:
    for name in ("job_id", "kind", "task_id", "service", "group", "supersede", "image"):
        print(f"  {name:10} {job[name]}")
    print(f"  {'command':10} {' '.join([*job['command'], *job['args']])}")
    print(f"  {'env':10} {', '.join([*job['env'], *(f'{n} (secret)' for n in job['secrets'])])}")
    files = [f"{name} ({len(text)} chars)" for name, text in job["files"].items()]
    files += [f"{name} (secret)" for name in job["secret_files"]]
    print(f"  {'files':10} {', '.join(files)}")
    print(f"  {'resources':10} {job['requests']} to {job['limits']}")
    times = f"deadline {job['deadline_s']} s, {job['retries']} retries, kept {job['ttl_s']} s"
    print(f"  {'limits':10} {times}")
