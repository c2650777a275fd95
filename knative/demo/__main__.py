"""`dsm run`: the whole morning on this machine, shown as it happens."""

from __future__ import annotations

import argparse
import asyncio
import logging
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
from knative.demo.agents import agent
from knative.demo.sagas import saga
from knative.demo.stages import STAGES, Failure, Morning
from knative.local.errors import StartError
from knative.local.manifests.load import load
from knative.local.manifests.problems import ManifestError
from knative.local.runtime import Options, Runtime

OVERLAY = Path(__file__).resolve().parents[1] / "overlays" / "local"
DESCRIPTION = "Run a whole morning on this machine, show it as it happens, then serve until Ctrl-C."
EPILOG = "Exit codes: 0 all succeeded, 1 a stage failed or cannot start, 130 interrupted."


async def run(arguments: argparse.Namespace) -> int:
    """0 when every stage succeeded and nothing was given up."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    world = load(Path(arguments.overlay))
    options = Options(
        Path(arguments.data),
        arguments.port,
        automatic=not arguments.once,
        front=arguments.front,
    )
    runtime = Runtime(world, options)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    began = time.monotonic()
    tables.console.print("Starting the local Knative and PostgreSQL ...")
    await runtime.start()
    try:
        took_s = time.monotonic() - began
        services = len(runtime.processes.revisions)
        tables.console.print(f"{services} services are ready after {took_s:.1f} s\n")
        working = asyncio.create_task(_stages(runtime))
        await asyncio.wait(
            {working, stopped := asyncio.create_task(stop.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )
        stopped.cancel()
        if not working.done():
            working.cancel()
            return 130
        code = await working
        where = "once `make run` serves" if arguments.once else "in another terminal"
        tables.console.print(f"[bold]Try, {where}[/]")
        told = tables.addresses(runtime.addresses(), arguments.data)
        tables.console.print(told, markup=False, soft_wrap=True)
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


async def _stages(runtime: Runtime) -> int:
    failed = False
    async with Morning(runtime) as morning:
        for stage in (*STAGES, agent, saga):
            heading = (stage.__doc__ or "").strip().rstrip(".")
            tables.console.print(f"[bold]{heading}[/]", soft_wrap=True)
            try:
                await stage(morning)
            except Failure as failure:
                # The stages after it do not need it, and show what else is wrong.
                failed = True
                tables.console.print(f"[red]{escape(str(failure))}[/]")
            tables.console.print()
        given_up = await morning.given_up()
    if given_up:
        tables.console.print(f"[red]{given_up} deliveries were given up[/]: see dead-letters\n")
    return int(failed or given_up > 0)


def main(argv: Sequence[str] | None = None, prog: str = "python -m knative.demo") -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog=prog, description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--once", action="store_true", help="end when everything is settled")
    parser.add_argument("--port", type=int, default=8080, help="gateway port (0: any free one)")
    parser.add_argument("--data", default=".data", help="where state is kept (default: .data)")
    parser.add_argument("--overlay", default=str(OVERLAY), help="kustomization to run")
    parser.add_argument("--front", help="the Service that http://localhost:PORT leads to")
    arguments = parser.parse_args(argv)
    # The embedded PostgreSQL's library says so where there is no login session; it copes.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run(arguments))
    except (StartError, ManifestError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
