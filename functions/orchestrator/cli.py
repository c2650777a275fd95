"""Look at sagas and their runs, and change them: `python -m functions.orchestrator.cli`.

The orchestrator is asked at ORCHESTRATOR_URL or --url, with the token of DSM_TOKEN where one is
needed. Exit status: 0 done, 1 refused, not reached or a run that ended badly, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID, uuid4

import httpx

from functions.kit.clients import path
from functions.kit.clients.api_command import Refused, ask, table

URL = "http://orchestrator.dsm.localhost:8080"
ACTIONS = {
    "undo": "undo a run, all of it or what came after --to",
    "cancel": "stop an unfinished run; what was done is undone",
    "pause": "send nothing new for a run until it is resumed",
    "resume": "let a paused run go on",
    "retry": "let a run that ended badly go on from where it failed",
}
_SAGAS = ("orchName", "type", "status", "version", "registeredWorkersCount", "lastUpdated")
_RUNS = ("executionId", "orchName", "status", "startedAt", "completedAt", "reason")
_STEPS = ("seq", "name", "status", "worker", "attempts", "error")
_HISTORY = ("timestamp", "eventType", "stepName", "attempt", "who", "detail")


def main(
    arguments: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    transport: httpx.BaseTransport | None = None,
    out: TextIO | None = None,
    prog: str = "python -m functions.orchestrator.cli",
) -> int:
    """Run one command; `transport` stands in for the network."""
    environ, out = os.environ if environ is None else environ, out or sys.stdout
    given = _parser(environ, prog).parse_args(arguments)

    def asked(method: str, path: str, **options: Any) -> Any:
        headers = {"x-service-name": given.by, **options.pop("headers", {})}
        timeout_s = 30 + getattr(given, "wait", 0)  # the answer waits for the run's end
        return ask(
            *(given.url, method, path),
            headers=headers,
            token=environ.get("DSM_TOKEN", ""),
            transport=transport,
            timeout_s=timeout_s,
            **options,
        )

    try:
        answer, text = given.run(given, asked)
    except (Refused, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer, indent=2) if given.json else text, file=out)
    return int(given.command == "execute" and answer["status"] == "FAILED")


def _list(given: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    params = {"size": given.limit, "orchName": given.name, "status": given.status}
    answer = asked("GET", "/api/orchestrations", params=_given(params))
    return answer, table(answer["content"], _SAGAS)


def _show(given: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    answer = asked("GET", path("api", "orchestrations", given.saga))
    rows = [step | {"worker": step["registeredBy"]} for step in answer["steps"]]
    head = f"{answer['orchName']} version {answer['version']}, {answer['type']}: {answer['status']}"
    return answer, f"{head}\n{table(rows, ('seq', 'name', 'status', 'worker', 'dependsOn'))}"


def _register(given: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    document = given.file.read_bytes()
    headers = {"content-type": "application/yaml"}
    answer = asked("POST", "/api/orchestration/register", content=document, headers=headers)
    missing = ", ".join(answer["missingWorkers"])
    waits = f", without a worker yet: {missing}" if missing else ""
    return answer, f"{answer['message']}{waits}"


def _execute(given: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    body = given.payload.encode()
    if given.payload.startswith("@"):
        body = Path(given.payload[1:]).read_bytes()
    # With a key a request that is sent again begins no second run.
    headers = {"content-type": "application/json", "idempotency-key": given.key or str(uuid4())}
    place = path("api", "orchestration", "execute", given.saga)
    answer = asked("POST", place, content=body, headers=headers, params={"wait": given.wait})
    why = answer["reason"] or answer["waitingFor"]
    return answer, f"{answer['flowId']} {answer['run']}{': ' + why if why else ''}"


def _runs(given: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    params = {"orchName": given.name, "status": given.status, "limit": given.limit}
    params |= {"cursor": given.cursor, "stuck": given.stuck or None}
    answer = asked("GET", "/api/executions", params=_given(params))
    return answer, table(answer["content"], _RUNS)


def _run(given: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    answer = asked("GET", f"/api/executions/{given.id}")
    why = answer["reason"] or answer["waitingFor"]
    head = f"{answer['executionId']} {answer['orchName']}: {answer['status']}"
    lines = [f"{head}{', ' + why if why else ''}", table(answer["steps"], _STEPS)]
    return answer, "\n".join(lines)


def _history(given: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    answer = asked("GET", f"/api/audit/{given.id}")
    return answer, table(answer, _HISTORY)


def _undo_plan(given: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    run = asked("GET", f"/api/executions/{given.id}")
    place = path("api", "orchestrations", run["orchName"], "executions", str(given.id), "undo-plan")
    answer = asked("GET", place, params=_given({"to": given.to}))
    waves = [f"{n}. {', '.join(wave)}" for n, wave in enumerate(answer["waves"], 1)]
    rest = [f"{name}: {', '.join(answer[name])}" for name in ("kept", "awaited", "unsure")]
    return answer, "\n".join([*waves, *(line for line in rest if not line.endswith(": "))])


def _change(given: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    params = {"reason": given.reason, "to": getattr(given, "to", None)}
    params |= {"reassign": getattr(given, "reassign", None) or None}
    place = f"/api/orchestration/{given.command}/{given.id}"
    answer = asked("POST", place, params=_given(params))
    return answer, f"{answer['flowId']} {answer['run']}"


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _parser(environ: Mapping[str, str], prog: str) -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser = argparse.ArgumentParser(prog=prog, description="Sagas, their runs, and changing them.")
    url = environ.get("ORCHESTRATOR_URL") or URL
    parser.add_argument("--url", default=url, help=f"the orchestrator (default: {url})")
    parser.add_argument("--by", default=getpass.getuser(), help="the user (default: you)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        found: argparse.ArgumentParser = commands.add_parser(name, help=help, parents=[shared])
        found.set_defaults(run=run)
        return found

    listed = command("list", _list, "the sagas that are registered")
    listed.add_argument("--name", help="a part of the name")
    listed.add_argument("--status", choices=("SUCCESS", "PENDING", "FAILED"))
    listed.add_argument("--limit", type=int, default=50)
    command("show", _show, "a saga, its steps and their workers").add_argument("saga")
    command("register", _register, "register a YAML or JSON document").add_argument(
        "file", type=Path
    )
    execute = command("execute", _execute, "start a run")
    execute.add_argument("saga")
    execute.add_argument("--payload", default="{}", help="JSON, or @FILE (default: {})")
    execute.add_argument("--wait", type=float, default=0, help="seconds for its end, 60 at most")
    execute.add_argument("--key", help="the same request again under its key begins no second run")
    runs = command("runs", _runs, "runs, the newest first")
    runs.add_argument("--name", help="a part of the saga's name")
    runs.add_argument("--status")
    runs.add_argument(
        "--stuck",
        action="store_true",
        help="only runs that wait, are paused, are half undone, or failed in the last day",
    )
    runs.add_argument("--limit", type=int, default=50)
    runs.add_argument("--cursor", type=int, help="`next` of the answer before")
    command("run", _run, "a run, its steps, and why it waits").add_argument("id", type=UUID)
    command("history", _history, "what has happened to a run").add_argument("id", type=UUID)
    plan = command("undo-plan", _undo_plan, "what an undo would do, and what it would leave")
    plan.add_argument("id", type=UUID)
    plan.add_argument("--to", help="undo back to just after this step")
    for name, help in ACTIONS.items():
        changing = command(name, _change, help)
        changing.add_argument("id", type=UUID)
        changing.add_argument("--reason", help="why; it goes into the history")
        if name == "undo":
            changing.add_argument("--to", help="undo back to just after this step")
        if name == "retry":
            changing.add_argument(
                "--reassign", action="store_true", help="undo at the workers registered now"
            )
    return parser


if __name__ == "__main__":
    sys.exit(main())
