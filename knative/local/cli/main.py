"""`knative-local`: arguments in, exit code out, errors as one line each."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from knative.local.errors import StartError
from knative.local.manifests.problems import ManifestError
from knative.version import ShowVersion

PROGRAM = "knative-local"
DATA = ".data"


EXAMPLES = """examples:
  knative-local init hello && knative-local up hello  a Broker, a function, a Trigger, a schedule
  knative-local up k8s/overlays/dev                   run a kustomization until Ctrl-C
  knative-local send --type order.placed --event-data '{"id": 1}'
  knative-local events --follow                       what happens from now on
  knative-local dead-letters --json | jq .            for programs
  knative-local clean                                 stop what runs and delete its data

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted. NO_COLOR=1 is heeded."""


def parser(prog: str = PROGRAM) -> argparse.ArgumentParser:
    """All commands with their help."""
    top = argparse.ArgumentParser(
        prog=prog,
        description="Knative on a laptop: the overlay's functions as processes, a durable broker, "
        "a clock, and the little of the Kubernetes API that functions use.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=ShowVersion)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data", "--state", default=DATA, metavar="DIR", help=f"state (default: {DATA})"
    )
    common.add_argument("--json", action="store_true", help="JSON for programs")
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    begin = sub.add_parser("init", parents=[common], help="write a small example")
    begin.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="where (.)")
    begin.set_defaults(run="init:init")

    about = "Run an overlay until Ctrl-C, or with --once until all is settled."
    run = sub.add_parser("up", parents=[common], help="run an overlay", description=about)
    run.set_defaults(run="up:up")
    run.add_argument("folders", nargs="*", metavar="FOLDER", help="kustomizations, or YAML (.)")
    run.add_argument("--overlay", action="append", default=[], help=argparse.SUPPRESS)
    run.add_argument("--port", type=int, default=8080, help="gateway port (0: any free one)")
    run.add_argument("--once", action="store_true", help="fire no schedule; end when settled")
    run.add_argument("--deliver-twice", action="store_true", help="every event comes twice")
    run.add_argument(
        "--front",
        metavar="NAMESPACE/NAME",
        help="the Service that localhost leads to, but for /, /_knative and /kubernetes",
    )
    run.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="NAME.NAMESPACE=URL",
        help="a Service that is outside of the cluster; repeatable",
    )
    run.add_argument(
        "--stand-ins",
        action="store_true",
        help="the local broker for Kafka, the embedded PostgreSQL for one outside",
    )
    run.add_argument(
        "--idle",
        type=float,
        metavar="S",
        help="stop processes that were idle for so long (default: their autoscaling window, 60 s)",
    )
    run.add_argument(
        "--in-memory",
        action="store_true",
        help="the broker loses what was under way when it ended, as Knative's in-memory channel",
    )
    run.add_argument(
        "--keep-events", type=_days, default=7.0, metavar="DAYS", help="settled events (default: 7)"
    )
    run.add_argument("--ready", type=float, default=60.0, metavar="S", help="longest start")

    end = sub.add_parser("down", parents=[common], help="stop what runs; the data stay")
    end.set_defaults(run="down:down")

    tidy = sub.add_parser("clean", parents=[common], help="stop what runs and delete its data")
    tidy.set_defaults(run="down:clean")

    fire = sub.add_parser("fire", parents=[common], help="fire a schedule now")
    fire.add_argument("schedule", help="a PingSource: name or namespace/name")
    fire.set_defaults(run="commands:fire")

    send = sub.add_parser("send", help="send an event to the broker")
    send.add_argument("--type", required=True, help="the event's type")
    send.add_argument("--event-data", metavar="JSON", help="the event's data")
    send.add_argument("--extension", action="append", default=[], metavar="NAME=VALUE")
    send.add_argument("--source", default="/cli", help="default: /cli")
    send.add_argument("--subject", help="what the event is about")
    send.add_argument("--id", help="default: a new one")
    send.add_argument("--broker", metavar="NAMESPACE/NAME", help="default: the only one")
    send.add_argument("--data", default=DATA, metavar="DIR", help=f"state (default: {DATA})")
    send.add_argument("--state", metavar="DIR", help="the same")
    send.add_argument("--json", action="store_true", help="JSON for programs")
    send.set_defaults(run="commands:send")

    events = sub.add_parser("events", parents=[common], help="events and their deliveries")
    events.add_argument("--follow", action="store_true", help="what happens from now on")
    events.add_argument("--type", help="this type only")
    events.add_argument("--limit", type=_count, default=50, help="the latest N (default: 50)")
    events.set_defaults(run="commands:events")

    services = sub.add_parser("services", parents=[common], help="the processes")
    services.set_defaults(run="commands:services")

    letters = sub.add_parser("dead-letters", parents=[common], help="what was given up")
    letters.add_argument("--limit", type=_count, default=100, help="the latest N (default: 100)")
    letters.set_defaults(run="commands:dead_letters")

    crash = sub.add_parser(
        "crash-broker",
        parents=[common],
        help="a fault: lose what Knative's in-memory channel loses when it is killed",
    )
    crash.set_defaults(run="commands:crash_broker")
    return top


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days < 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days above 0")
    return days


def main(argv: Sequence[str] | None = None, prog: str = PROGRAM) -> int:
    """The exit code; every expected failure is one plain line on stderr."""
    arguments = parser(prog).parse_args(argv)
    module, _, name = arguments.run.partition(":")
    try:
        # Only what is asked for is imported: the help needs none of it.
        command = getattr(importlib.import_module(f"knative.local.cli.{module}"), name)
        return int(command(arguments))
    except (StartError, ManifestError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
