"""A broker whose Triggers call a real receiver."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from knative.local.broker import (
    AiohttpSend,
    Answer,
    BrokerSpec,
    Delivery,
    LocalBroker,
    Send,
    TriggerSpec,
)
from tests.support import eventually
from tests.support.receiver import Receiver

Open = Callable[..., contextlib.AbstractAsyncContextManager[LocalBroker]]
RETRY = Delivery(retry=2, backoff_policy="exponential", backoff_delay_s=0.05)


def brokers(folder: Path, receiver: Receiver) -> Open:
    """Runs a broker whose Trigger for type T calls /T, and whose dead letters go to /dead."""
    sink = f"http://127.0.0.1:{receiver.port}"

    @contextlib.asynccontextmanager
    async def run(
        *types: str,
        delivery: Delivery = RETRY,
        dead: bool = True,
        through: Callable[[Send], Send] = lambda send: send,
        **options: Any,
    ) -> AsyncIterator[LocalBroker]:
        send = AiohttpSend()
        dead_letters = Delivery(dead_letter_uri=f"{sink}/dead" if dead else None)
        broker = LocalBroker(
            folder / "broker.db",
            [BrokerSpec("ns", "default", dead_letters)],
            [
                TriggerSpec("ns", t, "default", {"type": t}, None, f"{sink}/{t}", delivery)
                for t in types or ("a",)
            ],
            through(send),
            **options,
        )
        await broker.start()
        try:
            yield broker
        finally:
            await broker.stop(grace_s=0)
            await send.close()

    return run


async def publish(broker: LocalBroker, type_: str, event_id: str | None = None) -> Answer:
    pairs = {"specversion": "1.0", "id": event_id or str(uuid.uuid4()), "source": "/s"}
    headers = [(f"ce-{k}".encode(), v.encode()) for k, v in (pairs | {"type": type_}).items()]
    return await broker.ingress("ns", "default", "POST", headers, b"data")


async def wait_settled(broker: LocalBroker) -> None:
    async def settled() -> bool:
        return broker.settled()

    await eventually(settled)
