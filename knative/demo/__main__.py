"""`dsm run`: a day of the Digital Scrum Master on this machine, printed as it happens."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import uvloop
from rich.markup import escape

from knative.demo import tables
from knative.demo.agents import agent, lost
from knative.demo.github import NAME, asked, standin, with_key
from knative.demo.sagas import saga
from knative.demo.stages import STAGES, Demo, Failure
from knative.local.errors import StartError
from knative.local.manifests.load import World, load
from knative.local.manifests.problems import ManifestError
from knative.local.runtime import Options, Runtime

OVERLAY = Path(__file__).resolve().parents[1] / "overlays" / "local"
DESCRIPTION = "Run both schedules, an agent's Job and a saga here, then serve until Ctrl-C."
EPILOG = "Exit codes: 0 all succeeded, 1 a stage failed or cannot start, 130 interrupted."


async def run(arguments: argparse.Namespace) -> int:
    """Return 0 when every stage succeeded without a dead letter."""
    world = await asyncio.to_thread(load, Path(arguments.overlay))
    world = with_key(world, os.environ.get("ANTHROPIC_API_KEY", ""))
    async with standin(with_hook := asked(world)) as url:
        return await _run(arguments, with_hook if url else world, url)


async def _run(arguments: argparse.Namespace, world: World, github: str) -> int:
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    options = Options(
        Path(arguments.data),
        arguments.port,
        automatic=not arguments.once,
        front=arguments.front,
        maps={NAME: github} if github else {},
    )
    runtime = Runtime(world, options)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    started = time.monotonic()
    tables.console.print("Starting the local Knative and PostgreSQL ...")
    try:
        await runtime.start()
        start_s = time.monotonic() - started
        services = len(runtime.processes.revisions)
        tables.console.print(f"{services} services are ready after {start_s:.1f} s\n")
        stages = asyncio.create_task(_stages(runtime, github))
        await asyncio.wait(
            {stages, stopped := asyncio.create_task(stop.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )
        stopped.cancel()
        if not stages.done():
            stages.cancel()
            return 130
        code = await stages
        where = "once `make run` serves" if arguments.once else "in another terminal"
        tables.console.print(f"[bold]Try, {where}[/]")
        commands = tables.commands(runtime.addresses(), arguments.data)
        tables.console.print(commands, markup=False, soft_wrap=True)
        if arguments.once:
            return code
        tables.console.print("\nServing until Ctrl-C.")
        await stop.wait()
        where = "" if arguments.data == ".data" else f" DATA={shlex.quote(arguments.data)}"
        tables.console.print(
            f"\nStopping. What happened stays in {arguments.data}; `make clean{where}` removes it."
        )
        return code
    finally:
        await runtime.stop()


async def _stages(runtime: Runtime, github: str) -> int:
    failed = False
    async with Demo(runtime, github) as demo:
        for stage in (*STAGES, agent, lost, saga):
            heading = (stage.__doc__ or "").strip().rstrip(".")
            tables.console.print(f"[bold]{heading}[/]", soft_wrap=True)
            try:
                await stage(demo)
            except Failure as failure:
                # The next stages do not depend on it.
                failed = True
                tables.console.print(f"[red]{escape(str(failure))}[/]")
            tables.console.print()
        given_up = await demo.given_up()
    if given_up:
        tables.console.print(f"[red]{given_up} deliveries were given up[/]: see dead-letters\n")
    return int(failed or given_up > 0)


def main(argv: Sequence[str] | None = None, prog: str = "python -m knative.demo") -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--once", action="store_true", help="end when everything is settled")
    parser.add_argument("--port", type=int, default=8080, help="gateway port (0: any free one)")
    parser.add_argument("--data", default=".data", help="where state is kept (default: .data)")
    parser.add_argument("--overlay", default=str(OVERLAY), help="kustomization to run")
    parser.add_argument("--front", help="the Service that http://localhost:PORT leads to")
    arguments = parser.parse_args(argv)
    # A harmless warning of the embedded PostgreSQL's library without a login session.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run(arguments))
    except (StartError, ManifestError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
