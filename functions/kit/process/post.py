"""Ask a function once, from a Job: `python -m functions.kit.process.post URL [--data JSON]`.

The image has no curl. What may pass is tried again (no connection, 404 while a name is not known
yet, 408, 429, 5xx); every other refusal ends it. All attempts carry one Idempotency-Key, so that a
repeat is answered with the first result; and the token of SERVICE_TOKENS, where there is one. The
answer goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections.abc import Sequence

import httpx
import stamina

from functions.kit.clients.service_tokens import ServiceTokens
from functions.kit.settings import HttpSettings

OK, REFUSED, GAVE_UP = 0, 1, 2
_PASSING = frozenset((404, 408, 409, 429))


class _Passing(Exception):
    """An answer that another attempt may better."""


def post(url: str, data: str, *, deadline_s: float, timeout_s: float) -> tuple[int, str]:
    """The exit code, and what was answered or went wrong."""
    key = uuid.uuid4().hex
    headers = {"content-type": "application/json", "idempotency-key": key}
    tokens = HttpSettings.read().service_tokens

    @stamina.retry(
        on=(_Passing, httpx.TransportError), attempts=None, timeout=deadline_s, wait_initial=0.5
    )
    def attempt() -> httpx.Response:
        token = ServiceTokens(tokens).of(httpx.URL(url).host) if tokens else None
        shown = {"authorization": f"Bearer {token}"} if token else {}
        response = httpx.post(url, content=data, headers=headers | shown, timeout=timeout_s)
        if response.status_code in _PASSING or response.status_code >= 500:
            print(f"{response.status_code}: {response.text[:200]}", file=sys.stderr)
            raise _Passing(f"{response.status_code}: {response.text[:500]}")
        return response

    try:
        response = attempt()
    except (_Passing, httpx.TransportError) as error:
        return GAVE_UP, f"gave up after {deadline_s:g} s: {error or type(error).__name__}"
    if not response.is_success:
        return REFUSED, f"{response.status_code}: {response.text[:500]}"
    return OK, response.text


def main(argv: Sequence[str] | None = None) -> int:
    """0 when it was done, 1 when it was refused, 2 when it could not be reached in time."""
    parser = argparse.ArgumentParser(
        prog="python -m functions.kit.process.post", description=__doc__
    )
    parser.add_argument("url", help="where to POST")
    parser.add_argument("--data", default="{}", metavar="JSON", help="the body (default: {})")
    parser.add_argument("--within", type=float, default=120, metavar="S", help="try so long")
    parser.add_argument("--timeout", type=float, default=60, metavar="S", help="of one attempt")
    arguments = parser.parse_args(argv)
    try:
        json.loads(arguments.data)
    except ValueError as error:
        parser.error(f"--data is not JSON: {error}")
    code, answer = post(
        arguments.url, arguments.data, deadline_s=arguments.within, timeout_s=arguments.timeout
    )
    print(answer, file=sys.stdout if code == OK else sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
