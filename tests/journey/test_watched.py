"""What the journeys look for in their functions' logs is found where it is."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.function.contract.test_serve import served
from tests.support import offender
from tests.support.watched import WATCH, found_in


async def test_a_held_event_loop_and_calls_inside_a_transaction_are_found() -> None:
    environ = {
        "FUNCTION_TARGET": "offender",
        "FUNCTION_SOURCE": str(Path(offender.__file__)),
        "PYTHONPATH": WATCH,
    }
    async with served(**environ) as (process, url), httpx.AsyncClient(timeout=60) as client:
        assert (await client.post(url, json={})).status_code == 200
        process.terminate()
        output, errors = await process.communicate()
    found = found_in((output + errors).decode())
    for message in ("a call to http://127.0.0.1:1/ while", "a call to Kubernetes while"):
        assert any(message in line for line in found), found
    held = [line for line in found if "was held" in line]
    assert len(held) == 2, found
    assert all("offender.py" in line for line in held), found
