"""Ask for tasks, look at Jobs and deliveries: `python -m functions.webhook_receiver.cli`.

The receiver's URL and the secret come from WEBHOOK_URL and WEBHOOK_SECRET, or from flags. Every
request is signed as standardwebhooks.com says. Exit status: 0 done, 1 refused, not reached or
undelivered, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import httpx
import stamina

from functions.kit.clients.api_command import table
from functions.kit.clients.localhost import LocalhostTransport
from functions.webhook_receiver.cli import task_outcome
from functions.webhook_receiver.cli.client import Client, Refused, Unreachable

SHOWN = ("job_id", "state", "outcome", "kind", "task_id", "service", "queued_at", "reason")
DELIVERY = ("received_at", "source", "via", "id", "type", "state", "attempts", "last_error")


def main(
    arguments: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    transport: httpx.BaseTransport | None = None,
    out: TextIO | None = None,
    prog: str = "python -m functions.webhook_receiver.cli",
) -> int:
    """Run one command; `transport` stands in for the network."""
    environ = os.environ if environ is None else environ
    out = out or sys.stdout
    given = _parser(environ, prog).parse_args(arguments)
    if not given.secret:
        print(
            "no secret: set WEBHOOK_SECRET or give --secret; it is the key `cli` of the Secret "
            "webhook-secrets, on a laptop: "
            ".venv/bin/python -m knative.local secrets webhook-secrets cli",
            file=sys.stderr,
        )
        return 2
    try:
        # It tells of each repeat in three lines, in colour; what comes of them is ours to say.
        stamina.instrumentation.set_on_retry_hooks([])
        with httpx.Client(transport=transport or LocalhostTransport(), timeout=30) as http:
            client = Client(given.url, given.secret, http)
            given.run(client, given, out)
    except (Refused, Unreachable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _task_create(client: Client, given: argparse.Namespace, out: TextIO) -> None:
    options = {
        "task_id": given.id,
        "service": given.service,
        "repository": given.repository,
        "description": given.description,
        "acceptance_criteria": given.criterion or None,
        "priority": given.priority,
        "agent_type": given.agent,
        "metadata": dict(_pair(text) for text in given.metadata) or None,
    }
    answer = client.command("create_task", given.title, id=given.request_id, **options)
    task = str(answer["task_id"])
    if given.wait:
        _follow(client, task, given.wait, given, out)
    else:
        _print(answer, given, out, f"{task} {answer['message']}")


def _task_follow(client: Client, given: argparse.Namespace, out: TextIO) -> None:
    _follow(client, given.task, given.timeout, given, out)


def _follow(
    client: Client, task: str, max_s: float, given: argparse.Namespace, out: TextIO
) -> None:
    """Show each change until it is known what came of the task; `Refused` unless it succeeded."""
    answer = _wait(client, task, max_s, out, quiet=given.json)
    first, *more = task_outcome.end(answer)
    _print(answer, given, out, "\n".join([f"{task} {first}", *more]))
    if not task_outcome.is_success(answer):
        raise Refused(f"task {task}: {first}")


def _wait(client: Client, task: str, max_s: float, out: TextIO, *, quiet: bool) -> dict[str, Any]:
    """Poll until it is known what came of the task, with each change on the terminal."""
    deadline, shown, progress = time.monotonic() + max_s, "", "not seen yet"
    while time.monotonic() < deadline:
        try:
            answer: dict[str, Any] = client.command("get_task_status", task)
            if task_outcome.is_over(answer):
                return answer
            progress = task_outcome.progress(answer)
        except Refused as error:
            if not str(error).startswith("404"):
                raise
        if progress != shown and not quiet:
            print(f"{task} {progress} ...", file=out, flush=True)
            shown = progress
        time.sleep(1.0)
    raise Unreachable(f"task {task} has not ended within {max_s:g} s; it is {progress}")


def _task_status(client: Client, given: argparse.Namespace, out: TextIO) -> None:
    answer = client.command("get_task_status", given.task)
    first, *more = (
        task_outcome.end(answer)
        if task_outcome.is_over(answer)
        else [task_outcome.progress(answer)]
    )
    _print(answer, given, out, "\n".join([f"{given.task} {first}", *more]))


def _task_retry(client: Client, given: argparse.Namespace, out: TextIO) -> None:
    answer = client.command("retry_task", given.task, reason=given.reason)
    _print(answer, given, out, f"{given.task}: {answer['message']}")


def _task_cancel(client: Client, given: argparse.Namespace, out: TextIO) -> None:
    answer = client.command("cancel_task", given.task, reason=given.reason)
    _print(answer, given, out, f"{given.task}: {answer['message']}")


def _jobs_list(client: Client, given: argparse.Namespace, out: TextIO) -> None:
    names = ("state", "service", "task", "group", "limit")
    answer = client.command("list_jobs", **{name: getattr(given, name) for name in names})
    _print(answer, given, out, table(answer.get("jobs", []), SHOWN))


def _jobs_get(client: Client, given: argparse.Namespace, out: TextIO) -> None:
    answer = client.command("get_job", given.job)
    _print(answer, given, out, json.dumps(answer, indent=2))


def _jobs_logs(client: Client, given: argparse.Namespace, out: TextIO) -> None:
    rest, shown_reason = b"", ""
    for page in client.log(given.job, follow=given.follow, tail=given.tail):
        if page.why and page.why != shown_reason:
            print(f"{given.job} {page.why} ...", file=sys.stderr, flush=True)
            shown_reason = page.why
        *lines, rest = (rest + page.data).split(b"\n")
        _say_lines(lines, given, out)
    _say_lines([rest] if rest else [], given, out)


def _say_lines(lines: Sequence[bytes], given: argparse.Namespace, out: TextIO) -> None:
    for raw in lines:
        line = raw.decode(errors="replace")
        print(json.dumps({"line": line}) if given.json else line, file=out, flush=True)


def _jobs_cancel(client: Client, given: argparse.Namespace, out: TextIO) -> None:
    answer = client.command("cancel_job", given.job, reason=given.reason)
    _print(answer, given, out, f"{given.job}: {answer['message']}")


def _deliveries_list(client: Client, given: argparse.Namespace, out: TextIO) -> None:
    wanted = {"state": given.state, "source": given.source, "limit": given.limit}
    answer = client.deliveries({name: str(v) for name, v in wanted.items() if v is not None})
    _print(answer, given, out, table(answer["deliveries"], DELIVERY))


def _deliveries_redeliver(client: Client, given: argparse.Namespace, out: TextIO) -> None:
    if given.failed:
        wanted = {"state": "failed", "source": given.source, "since": given.since}
        answer = client.redeliver_all({name: v for name, v in wanted.items() if v is not None})
        _print(answer, given, out, f"{answer['redelivered']} deliveries are sent again")
        return
    if not given.id:
        raise ValueError("give an id, or --failed")
    answer = client.redeliver(given.id, given.source)
    _print(answer, given, out, f"{given.id} {answer['state']}")


def _print(answer: Any, given: argparse.Namespace, out: TextIO, text: str) -> None:
    print(json.dumps(answer) if given.json else text, file=out)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--metadata {text}: must be NAME=VALUE")
    return name, value


def _parser(environ: Mapping[str, str], prog: str) -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    url = environ.get("WEBHOOK_URL") or "http://webhook-receiver.dsm.localhost:8080"
    parser.add_argument("--url", default=url, help="where the receiver is (now %(default)s)")
    secret = environ.get("WEBHOOK_SECRET", "")
    parser.add_argument("--secret", default=secret, help="whsec_...; better in WEBHOOK_SECRET")
    nouns = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def noun(name: str, help: str) -> Any:
        found = nouns.add_parser(name, help=help)
        return found.add_subparsers(metavar="ACTION", required=True)

    def verb(of: Any, name: str, run: Any, help: str) -> argparse.ArgumentParser:
        found: argparse.ArgumentParser = of.add_parser(name, help=help, parents=[shared])
        found.set_defaults(run=run)
        return found

    task = noun("task", "ask for work")
    create = verb(task, "create", _task_create, "ask an agent to do a task")
    create.add_argument("title")
    create.add_argument("--service", required=True, help="the microservice that it is about")
    create.add_argument("--repository", metavar="OWNER/NAME", help="what it works on, on GitHub")
    create.add_argument("--id", help="the task's id; made up if it is not given")
    create.add_argument("--description")
    create.add_argument("--criterion", action="append", help="acceptance criterion; repeatable")
    create.add_argument("--priority", choices=["low", "medium", "high", "critical"])
    create.add_argument("--agent", choices=["claude", "gemini"], help="who does it (claude)")
    create.add_argument("--metadata", action="append", default=[], metavar="NAME=VALUE")
    create.add_argument("--request-id", help="repeat a request under its id: it happens once")
    create.add_argument("--wait", type=float, metavar="SECONDS", help="until it has ended")
    status = verb(task, "status", _task_status, "what became of a task")
    status.add_argument("task")
    follow = verb(task, "follow", _task_follow, "show each change until its outcome is known")
    follow.add_argument("task")
    follow.add_argument("--timeout", type=float, default=7200, metavar="SECONDS")
    retry = verb(task, "retry", _task_retry, "once more, from what its last Job has left")
    retry.add_argument("task")
    retry.add_argument("--reason", default="")
    cancel = verb(task, "cancel", _task_cancel, "stop whatever runs for a task")
    cancel.add_argument("task")
    cancel.add_argument("--reason", default="")

    jobs = noun("jobs", "look at Jobs")
    listing = verb(jobs, "list", _jobs_list, "newest first")
    for name in ("state", "service", "task", "group"):
        listing.add_argument(f"--{name}")
    listing.add_argument("--limit", type=int, default=50)
    verb(jobs, "get", _jobs_get, "one Job").add_argument("job")
    logs = verb(jobs, "logs", _jobs_logs, "what a Job says")
    logs.add_argument("job")
    logs.add_argument("--follow", "-f", action="store_true", help="until it ends")
    logs.add_argument("--tail", type=int, help="only so many last lines")
    stop = verb(jobs, "cancel", _jobs_cancel, "stop a Job")
    stop.add_argument("job")
    stop.add_argument("--reason", default="")

    deliveries = noun("deliveries", "look into the ledger")
    shown = verb(deliveries, "list", _deliveries_list, "newest first")
    shown.add_argument("--state", choices=["accepted", "published", "failed"])
    shown.add_argument("--source", choices=["github", "grafana", "pm", "cli"])
    shown.add_argument("--limit", type=int, default=50)
    again = verb(
        deliveries, "redeliver", _deliveries_redeliver, "send one again, or all that failed"
    )
    again.add_argument("id", nargs="?")
    again.add_argument("--failed", action="store_true", help="all that the broker refused")
    again.add_argument("--since", metavar="TIME", help="with --failed: received from then on")
    again.add_argument("--source", choices=["github", "grafana", "pm", "cli"])
    return parser
