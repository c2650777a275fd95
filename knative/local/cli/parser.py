"""The arguments of `knative-local`, with their help."""

from __future__ import annotations

import argparse

from knative.local.cli.argument_types import count, days, time
from knative.version import ShowVersion

DATA = ".data"

EXAMPLES = """examples:
  knative-local init hello && knative-local up hello  a Broker, a function, a Trigger, a schedule
  knative-local up k8s/overlays/dev                   run a kustomization until Ctrl-C
  knative-local status                                what runs, and what is wrong with it
  knative-local send --type order.placed --event-data '{"id": 1}'
  knative-local events --follow                       what happens from now on
  knative-local dead-letters --json | jq .            for programs
  knative-local clean                                 stop what runs and delete its data

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted. `status` ends with 1 also
when something is wrong. --json prints one JSON object a line, the same in a list as when it is
followed. NO_COLOR=1 is heeded, and a pipe gets no colour."""


class _Commands:
    """Adds commands that share --data and --json."""

    def __init__(self, top: argparse.ArgumentParser) -> None:
        self._sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(self, name: str, run: str, help: str, examples: str = "") -> argparse.ArgumentParser:
        """`run` is module:function; of it nothing is imported before it is asked for."""
        lines = "\n".join(f"  knative-local {line}" for line in examples.splitlines())
        made = self._sub.add_parser(
            name,
            help=help,
            description=f"{help[0].upper()}{help[1:]}.",
            epilog=f"examples:\n{lines}" if lines else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.add_argument(
            "--data", default=DATA, metavar="DIR", help=f"folder of the state (default: {DATA})"
        )
        made.add_argument("--json", action="store_true", help="JSON for programs")
        made.set_defaults(run=run)
        return made


def parser(prog: str = "knative-local") -> argparse.ArgumentParser:
    """All commands with their help."""
    top = argparse.ArgumentParser(
        prog=prog,
        description="Knative on a laptop: the overlay's functions as processes, a durable broker, "
        "a clock, and the little of the Kubernetes API that functions use.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=ShowVersion)
    commands = _Commands(top)
    begin = commands.add("init", "init:init", "write a small example", "init shop")
    begin.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="where (.)")
    _up(commands)
    commands.add("down", "down:down", "stop what runs; the data stay")
    commands.add("clean", "down:clean", "stop what runs and delete its data")
    commands.add(
        "reset", "change:reset", "begin anew: stop, delete all data, start again", "reset --json"
    )
    _look(commands)
    _act(commands)
    shell = commands.add(
        "completion",
        "completion:completion",
        "print a script that completes commands and options in a shell",
        "completion bash > ~/.local/share/bash-completion/completions/knative-local",
    )
    shell.add_argument("shell", choices=("bash", "zsh"))
    return top


def commands() -> dict[str, argparse.ArgumentParser]:
    """Each command with its parser."""
    (found,) = [one for one in parser()._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(found.choices)


def _up(commands: _Commands) -> None:
    run = commands.add(
        "up",
        "up:up",
        "run an overlay until Ctrl-C, or with --once until all is settled",
        "up k8s/overlays/dev --port 0\nup shop --map payments.shop=https://payments.example.com",
    )
    run.add_argument("folders", nargs="*", metavar="FOLDER", help="kustomizations, or YAML (.)")
    run.add_argument("--overlay", action="append", default=[], help=argparse.SUPPRESS)
    run.add_argument("--port", type=int, default=8080, help="gateway port (0: any free one)")
    run.add_argument(
        "--watch", action="store_true", help="restart what a change of code or YAML concerns"
    )
    run.add_argument("--once", action="store_true", help="fire no schedule; end when settled")
    run.add_argument("--deliver-twice", action="store_true", help="the same as --fault twice")
    run.add_argument(
        "--fault", action="append", default=[], metavar="FAULT", help="see `fault`; repeatable"
    )
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
        "--keep-events", type=days, default=7.0, metavar="DAYS", help="settled events (default: 7)"
    )
    run.add_argument(
        "--clock",
        type=time,
        metavar="TIME",
        help="a virtual clock from then on, as 2026-11-25T08:00-06:00; see `clock advance`",
    )
    run.add_argument("--ready", type=float, default=60.0, metavar="S", help="longest start")


def _look(commands: _Commands) -> None:
    commands.add("status", "look:status", "show what runs, and what is wrong with it")
    commands.add("services", "look:services", "list the processes")
    commands.add("schedules", "look:schedules", "list the PingSources with their next times")
    secrets = commands.add(
        "secrets",
        "look:secrets",
        "show the secrets that this data folder has made",
        "secrets\nsecrets webhook-secrets cli",
    )
    secrets.add_argument("name", nargs="?", metavar="SECRET", help="default: all")
    secrets.add_argument("key", nargs="?", metavar="KEY", help="of this key the value alone")
    logs = commands.add(
        "logs", "logs:logs", "show the logs of Services", "logs -f\nlogs checkout --lines 200"
    )
    logs.add_argument("services", nargs="*", metavar="SERVICE", help="default: all")
    logs.add_argument("-f", "--follow", action="store_true", help="and what comes from now on")
    logs.add_argument("--lines", type=count, default=50, help="the last N of each (default: 50)")

    events = commands.add(
        "events",
        "look:events",
        "list events and their deliveries",
        "events --type order --state failed --from 15m\n"
        "events --follow --json | jq -r .attributes.type\n"
        "events --extension tenant=acme --trigger shop/mail --limit 5",
    )
    events.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="what happens from now on: a line for each event and each change of a delivery",
    )
    events.add_argument("--type", help="a part of the type")
    events.add_argument("--source", help="a part of the source")
    events.add_argument("--subject", help="the subject")
    events.add_argument("--extension", action="append", default=[], metavar="NAME=VALUE")
    events.add_argument("--trigger", help="a part of namespace/name of a Trigger it went to")
    events.add_argument("--state", help="the state of a delivery: pending, delivered, ...")
    when = "2026-11-25T08:00, or so long ago: 15m, 3d"
    events.add_argument("--from", dest="from_", metavar="TIME", help=f"arrived since {when}")
    events.add_argument("--to", metavar="TIME", help="arrived before then")
    events.add_argument("--limit", type=count, default=50, help="the latest N (default: 50)")

    event = commands.add(
        "event",
        "look:event",
        "show one event's whole way: what caused it, each attempt, what it caused",
        "event 6f9d61\nevent '#12' --json",
    )
    event.add_argument("id", help="the event's id or how it begins, or its number in the list")

    given_up = commands.add(
        "dead-letters",
        "look:dead_letters",
        "list the events that were given up, or deliver them again",
        "dead-letters\ndead-letters redrive 6f9d61\ndead-letters redrive --all",
    )
    given_up.add_argument("action", nargs="?", choices=("list", "redrive"), default="list")
    given_up.add_argument(
        "ids", nargs="*", metavar="ID", help="what to redrive: ids, how they begin, or numbers"
    )
    given_up.add_argument("--all", action="store_true", help="redrive whatever was given up")
    given_up.add_argument("--limit", type=count, default=100, help="the latest N (default: 100)")


def _act(commands: _Commands) -> None:
    fire = commands.add("fire", "send:fire", "fire a schedule now", "fire every-minute")
    fire.add_argument("schedule", help="a PingSource: name or namespace/name")
    send = commands.add(
        "send",
        "send:send",
        "send an event to the broker",
        "send --type order.placed --event-data '{\"id\": 1}'\n"
        "send --type order.placed --subject 7 --extension tenant=acme --broker shop/default",
    )
    send.add_argument("--type", required=True, help="the event's type")
    send.add_argument("--event-data", metavar="JSON", help="the event's data")
    send.add_argument("--extension", action="append", default=[], metavar="NAME=VALUE")
    send.add_argument("--source", default="/cli", help="default: /cli")
    send.add_argument("--subject", help="what the event is about")
    send.add_argument("--id", help="default: a new one")
    send.add_argument("--broker", metavar="[NAMESPACE/]NAME", help="default: the only one")
    send.add_argument("--state", metavar="DIR", help=argparse.SUPPRESS)
    clock = commands.add(
        "clock",
        "change:clock",
        "show the clock, or advance a virtual one",
        "clock\nclock advance 3d",
    )
    clock.add_argument("action", nargs="?", choices=("show", "advance"), default="show")
    clock.add_argument("by", nargs="?", metavar="DURATION", help="like 90s, 15m, 1h30m or 3d")
    fault = commands.add(
        "fault",
        "change:fault",
        "list the faults, begin one, or clear one or all",
        "fault\nfault twice\nfault status=503 trigger=shop/mail nth=2\n"
        "fault kill-before service=shop/checkout probability=0.1 seed=7\n"
        "fault clear 1\nfault clear",
    )
    fault.add_argument(
        "fault",
        nargs="*",
        metavar="WORD",
        help="KIND[=VALUE] [trigger=|service=NAMESPACE/NAME or host=] [nth=|probability= seed=]; "
        "KIND: twice, late=S, slow=S, out-of-order[=S], drop-answer, status=N, "
        "kill-before[=S], kill-after",
    )
    commands.add(
        "crash-broker",
        "change:crash_broker",
        "lose what Knative's in-memory channel loses when it is killed",
    )
