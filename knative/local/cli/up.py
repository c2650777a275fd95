"""`up`: run the overlay until Ctrl-C, or with --once until everything is settled."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from knative.local import data_folder, random_secrets
from knative.local.cli import show
from knative.local.cli.log_tail import EVERY_S, LogTail, worth_showing
from knative.local.cli.terminal import plain, say
from knative.local.manifests.load import World, load
from knative.local.outside import parse_maps
from knative.local.revision import Limits
from knative.local.runtime import Options, Runtime
from knative.local.runtime_status import describe

SETTLED_FOR_S = 1.0  # nothing on its way for that long: all is settled
_BAD_STATES = ("dead-lettered", "failed", "failed jobs")


def up(arguments: argparse.Namespace) -> int:
    """The exit code; StartError or ManifestError when it cannot start."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_up(arguments))


async def _up(arguments: argparse.Namespace) -> int:
    """The exit code; StartError or ManifestError when it cannot start."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    targets = [Path(name) for name in (*arguments.folders, *arguments.overlay)] or [Path()]
    world = await asyncio.to_thread(load, *targets, stand_ins=arguments.stand_ins)
    for note in world.notes:
        print(note, file=sys.stderr)
    options = Options(
        data=Path(arguments.data),
        port=arguments.port,
        automatic=not arguments.once,
        faults=[*arguments.fault, *(["twice"] if arguments.deliver_twice else [])],
        clock=arguments.clock,
        durable=not arguments.in_memory,
        retention_s=arguments.keep_events * 86_400,
        front=arguments.front,
        maps=parse_maps(arguments.map),
        limits=Limits(ready_s=arguments.ready, idle_s=arguments.idle),
    )

    def reload() -> World:
        read = load(*targets, stand_ins=arguments.stand_ins)
        return random_secrets.filled(read, Path(arguments.data))

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop_or_kill, stop)
    while True:
        runtime = Runtime(world, options, progress=lambda note: print(note, file=sys.stderr))
        runtime.reset = asyncio.Event()
        changed: asyncio.Future[World] = loop.create_future()
        code = await _run(runtime, stop, changed, reload, arguments)
        if changed.done():
            world = changed.result()
        elif runtime.reset.is_set():
            data_folder.delete(options.data)
        else:
            return code
        options = replace(options, port=runtime.port)


async def _run(
    runtime: Runtime,
    stop: asyncio.Event,
    changed: asyncio.Future[World],
    reload: Callable[[], World],
    arguments: argparse.Namespace,
) -> int:
    """Start, serve until `stop`, a reset or a change that concerns everything; the exit code."""
    starting = asyncio.create_task(runtime.start())
    await _any(asyncio.shield(starting), stop.wait())
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return 130
    await starting
    beside = [asyncio.create_task(_tail(runtime.options.data))]
    if arguments.watch:
        from knative.local.watch import Watcher  # whoever does not watch need not load it

        data = runtime.options.data
        watcher = Watcher(runtime.processes, data, reload, changed.set_result, say)
        runtime.unapplied = watcher.unapplied
        beside.append(asyncio.create_task(watcher.run()))
    try:
        if arguments.json:
            print(json.dumps(await describe(runtime)), flush=True)
        else:
            show.overview(await describe(runtime))
            say("\nReady. Ctrl-C stops." if not arguments.once else "\nReady.")
        if arguments.once:
            return await _until_settled(runtime, stop, arguments.json)
        assert runtime.reset is not None
        await _any(stop.wait(), runtime.reset.wait(), asyncio.shield(changed))
        return 0
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await runtime.stop()


async def _any(*waits: Awaitable[object]) -> None:
    """Wait until one of them is done, and no longer for the others."""
    tasks = [asyncio.ensure_future(one) for one in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _stop_or_kill(stop: asyncio.Event) -> None:
    """The first signal stops in order, which may take long; the second ends it at once."""
    if stop.is_set():
        os._exit(130)  # the kernel kills its children; `down` or the next `up` sweeps the rest
    stop.set()
    with contextlib.suppress(OSError):
        print("Stopping; Ctrl-C again kills", file=sys.stderr, flush=True)


async def _tail(data: Path) -> None:
    """Show the warnings and errors of the processes, until cancelled."""
    tail = LogTail(data)
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            for service, line in tail.new():
                if note := worth_showing(line):
                    say(plain(f"{service}: {note}"))
        except OSError as error:  # whatever happens to the terminal or a file, the rest goes on
            logging.getLogger(__name__).warning("the logs are not shown: %s", error)


async def _until_settled(runtime: Runtime, stop: asyncio.Event, as_json: bool) -> int:
    before = await _outcomes(runtime)
    calm_s = 0.0
    while calm_s < SETTLED_FOR_S and not stop.is_set():
        await asyncio.sleep(0.1)
        calm_s = calm_s + 0.1 if runtime.settled() else 0.0
    after = await _outcomes(runtime)
    bad = {state: after[state] - before[state] for state in _BAD_STATES}
    _report(after, bad, as_json)
    return 1 if any(bad.values()) else 0


async def _outcomes(runtime: Runtime) -> dict[str, int]:
    jobs = runtime.kube.jobs()
    return {**await runtime.broker.counts(), "failed jobs": jobs["failed"]}


def _report(counts: dict[str, int], bad: dict[str, int], as_json: bool) -> None:
    note: dict[str, Any] = {"settled": True, "counts": counts, "new": bad}
    if as_json:
        print(json.dumps(note), flush=True)
    else:
        listed = ", ".join(f"{number} {state}" for state, number in counts.items())
        say(f"Settled: {listed}")
