"""Work on the body of a request or an answer, beside the event loop where the body is large."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# A body of more bytes is read in a thread.
INLINE_BYTES = 16 * 1024


async def off_loop(size: int, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `work` on a body of `size` bytes; where that is large, others go on meanwhile.

    They wait for each single call into C all the same: `json.loads` keeps the interpreter's lock.

    >>> asyncio.run(off_loop(2, int, "42"))
    42
    """
    if size <= INLINE_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
