"""`pods/log`: a container's output, whole, its tail, or followed until it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from knative.local.kube import status
from knative.local.kube.pods import log_path
from knative.local.kube.store import Object

_CHUNK = 64 * 1024
_POLL_S = 0.1
_UNSUPPORTED = ("timestamps", "sinceSeconds", "sinceTime", "insecureSkipTLSVerifyBackend")


@dataclass(frozen=True)
class LogRequest:
    """The query of a log request, checked against its pod."""

    path: Path
    follow: bool
    tail: int | None
    limit: int | None
    container: str

    @classmethod
    def read(cls, pod: Object, folder: Path, query: Mapping[str, str]) -> LogRequest:
        """ApiError 400 for what is not known, not supported or not started."""
        for field in _UNSUPPORTED:
            if query.get(field) not in (None, "", "false"):
                raise status.bad_request(f"{field} is not supported by the local Kubernetes API")
        pod_name, held = pod["metadata"]["name"], pod["status"]
        name = _container(pod, query.get("container"))
        entries = [*held.get("initContainerStatuses", ()), *held.get("containerStatuses", ())]
        entry = next((one for one in entries if one["name"] == name), None)
        restarts = entry["restartCount"] if entry else 0
        waiting = "ContainerCreating" if entry is None else _waiting(entry["state"])
        if _true(query.get("previous")):
            restarts, waiting = restarts - 1, None
            if restarts < 0:
                message = f'previous terminated container "{name}" in pod "{pod_name}" not found'
                raise status.bad_request(message)
        elif waiting == "CrashLoopBackOff":
            restarts, waiting = restarts - 1, None
        if waiting is not None:
            raise status.bad_request(
                f'container "{name}" in pod "{pod_name}" is waiting to start: {waiting}'
            )
        return cls(
            log_path(folder, name, restarts),
            _true(query.get("follow")),
            _number("tailLines", query.get("tailLines")),
            _number("limitBytes", query.get("limitBytes")),
            name,
        )


async def read_log(request: LogRequest, is_running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log's bytes; with `follow` until the container has ended and all is read."""
    left = request.limit
    try:
        file = request.path.open("rb")
    except FileNotFoundError:
        return
    with file:
        if request.tail is not None:
            file.seek(_tail_start(request.path, request.tail))
        while True:
            running = is_running()
            while chunk := file.read(_CHUNK if left is None else min(_CHUNK, left)):
                left = None if left is None else left - len(chunk)
                yield chunk
            if left == 0 or not (request.follow and running):
                return
            await asyncio.sleep(_POLL_S)


def _tail_start(path: Path, lines: int) -> int:
    """Where the last `lines` lines begin; reads backwards, so a long log costs nothing."""
    size = path.stat().st_size
    if lines <= 0:
        return size
    with path.open("rb") as file:
        position, found = size, 0
        while position > 0:
            step = min(_CHUNK, position)
            position -= step
            file.seek(position)
            block = file.read(step)
            end = len(block)
            while (at := block.rfind(b"\n", 0, end)) >= 0:
                end = at
                if position + at == size - 1:
                    continue  # the newline that ends the last line
                found += 1
                if found == lines:
                    return position + at + 1
    return 0


def _container(pod: Object, asked: str | None) -> str:
    main = [one["name"] for one in pod["spec"]["containers"]]
    names = [*main, *(one["name"] for one in pod["spec"].get("initContainers") or ())]
    pod_name = pod["metadata"]["name"]
    if asked:
        if asked not in names:
            raise status.bad_request(f"container {asked} is not valid for pod {pod_name}")
        return asked
    if len(main) > 1:
        raise status.bad_request(
            f"a container name must be specified for pod {pod_name}, choose one of: {main}"
        )
    return str(main[0])


def _waiting(state: Object) -> str | None:
    return str(state["waiting"]["reason"]) if "waiting" in state else None


def _number(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdigit():
        raise status.bad_request(f"{name}: {text!r} is no number that is 0 or more")
    return int(text)


def _true(text: str | None) -> bool:
    return text in ("true", "True", "1")
