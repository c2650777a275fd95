"""Ask what is due: `python -m functions.scheduler.cli next '30 8 * * *' --zone America/Chicago`.

`next` computes here. The other commands ask the scheduler at SCHEDULER_URL or --url, with the token
of DSM_TOKEN where one is needed. Exit status: 0 done, 1 refused or not reached, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

import httpx

from functions.cron import Cron, CronError
from functions.kit.clients.api_command import Refused, ask

URL = "http://scheduler.dsm.localhost:8080"
COUNT = 5


def main(
    arguments: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    transport: httpx.BaseTransport | None = None,
    lines: TextIO | None = None,
    out: TextIO | None = None,
    prog: str = "python -m functions.scheduler.cli",
) -> int:
    """Run one command; `transport` stands in for the network."""
    environ, out = os.environ if environ is None else environ, out or sys.stdout
    given = _parser(environ, prog).parse_args(arguments)
    if given.command == "next":
        return _next(given, lines or sys.stdin, out)
    method, path, options = _request(given)
    token = environ.get("DSM_TOKEN", "")
    try:
        answer = ask(given.url, method, path, token=token, transport=transport, **options)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    out.write(json.dumps(answer, indent=2) + "\n")
    return 0


def due_times(expression: str, zone: str, after: datetime, count: int) -> Iterator[datetime]:
    """The next due times, at most `count`; `CronError` where the expression is invalid.

    A zone that the expression itself names wins.
    """
    named = expression.startswith(("CRON_TZ=", "TZ="))
    cron = Cron(expression, "" if named else zone)
    at: datetime | None = after
    for _ in range(count):
        at = cron.after(at) if at is not None else None
        if at is None:
            return
        yield at


def table(lines: Iterable[str], count: int, now: datetime) -> Iterator[str]:
    """For each `expression<TAB>zone<TAB>after` the same with a verdict, and times or a reason.

    The verdict is `next` or `refused`. Without `after` it is from now on; a line that begins with
    `#` is left out, and a field beyond the third is not read.

    >>> list(table(["0 14 * * 1-5\\tEtc/UTC\\t2026-11-28T00:00:00Z"], 1, datetime.now(UTC)))
    ['0 14 * * 1-5\\tEtc/UTC\\t2026-11-28T00:00:00Z\\tnext\\t2026-11-30T14:00:00Z']
    """
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        expression, zone, after, *_ = [*line.rstrip("\n").split("\t"), "", ""]
        after = after or _format(now)
        try:
            times = due_times(expression, zone, _instant(after), count)
            verdict, result = "next", " ".join(map(_format, times)) or "never"
        except (CronError, ValueError) as error:
            verdict, result = "refused", str(error)
        yield "\t".join((expression, zone, after, verdict, result))


def _next(given: argparse.Namespace, lines: TextIO, out: TextIO) -> int:
    now = datetime.now(UTC)
    if given.expression == "-":
        for row in table(lines, given.count, now):
            out.write(row + "\n")
        return 0
    try:
        for at in due_times(given.expression, given.zone, given.after or now, given.count):
            out.write(_format(at) + "\n")
    except CronError as error:
        print(f"error: {given.expression!r}: {error}", file=sys.stderr)
        return 1
    return 0


def _request(given: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    path = f"/schedules/{getattr(given, 'schedule', '')}".rstrip("/")
    match given.command:
        case "list" | "show":
            return "GET", path, {}
        case "ticks":
            names = ("schedule", "state", "since", "before", "limit", "cursor")
            found = {name: getattr(given, name) for name in names}
            return "GET", "/ticks", {"params": {k: v for k, v in found.items() if v is not None}}
        case "pause":
            body = {"by": given.by, "reason": given.reason, "until": given.until}
        case "backfill":
            body = {name: getattr(given, name) for name in ("by", "since", "before", "which")}
            body |= {"at_once": given.at_once, "dry_run": not given.run, "reason": given.reason}
        case "backfills":
            return _of_backfills(given)
        case _:
            body = {"by": given.by, "reason": given.reason}
    return "POST", f"{path}/{given.command}", {"json": body}


def _of_backfills(given: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    if given.number is None:
        names = ("schedule", "state", "limit", "cursor")
        query = {name: text for name in names if (text := getattr(given, name)) is not None}
        return "GET", "/backfills", {"params": query}
    path = f"/backfills/{given.number}"
    if given.action == "show":
        return "GET", path, {}
    return "POST", f"{path}/{given.action}", {"json": {"by": given.by, "reason": given.reason}}


def _parser(environ: Mapping[str, str], prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description="What is due, what became of it, and running it again."
    )
    url = environ.get("SCHEDULER_URL") or URL
    parser.add_argument("--url", default=url, help=f"the scheduler (default: {url})")
    parser.add_argument("--by", default=getpass.getuser(), help="the user (default: you)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    following = commands.add_parser("next", help="the next times of a cron expression")
    following.add_argument("expression", help="as a PingSource takes it; - reads lines")
    following.add_argument("--zone", default="", help="time zone (default: UTC)")
    following.add_argument("--after", type=_instant, help="an instant (default: now)")
    following.add_argument("--count", type=_count, default=COUNT, help="how many (default: 5)")
    commands.add_parser("list", help="every schedule and its next time")
    ticks = commands.add_parser("ticks", help="what became of nominal times")
    for name in ("schedule", "state", "since", "before", "limit", "cursor"):
        ticks.add_argument(f"--{name}")
    named = {
        "show": "the next ten times and the last thirty, and why",
        "pause": "skip what comes, until it is resumed",
        "resume": "run again from now on",
        "run": "run now",
        "backfill": "what a range would run; --run runs it",
    }
    for name, help in named.items():
        command = commands.add_parser(name, help=help)
        command.add_argument("schedule")
        if name != "show":
            command.add_argument("--reason", required=name == "pause", default="")
        if name == "pause":
            command.add_argument("--until", help="an instant (default: until it is resumed)")
        if name == "backfill":
            command.add_argument("--since", required=True, help="an instant; the first time")
            command.add_argument("--before", required=True, help="an instant; what comes later")
            command.add_argument("--which", choices=("missed", "failed", "all"), default="missed")
            command.add_argument("--at-once", type=_count, default=1, help="default: 1")
            command.add_argument("--run", action="store_true", help="not a dry run")
    begun = commands.add_parser("backfills", help="backfills that were begun; one, and changing it")
    for name in ("schedule", "state", "limit", "cursor"):
        begun.add_argument(f"--{name}")
    begun.add_argument("--reason", default="")
    begun.add_argument("number", nargs="?", type=int, help="of one backfill")
    actions = ("show", "pause", "resume", "cancel")
    begun.add_argument("action", nargs="?", choices=actions, default="show")
    return parser


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _count(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) <= 10_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return int(text)


def _format(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    sys.exit(main())
