"""A durable Knative Broker for one machine: the semantics of Knative's, on SQLite.

An event is on disk before anything else happens to it; its deliveries, their attempts and
their timers too, so that all goes on after the process was killed. Delivery is at least once.

Where it differs from the stock Broker, on purpose:

- Deliveries go on when the broker dies; the stock one, in memory, loses them.
- A subscriber's error body over 768 bytes crashes the stock dispatcher if there is a dead letter
  sink. Here that one delivery fails, loudly, and its event stays in the store.
- A reply is accepted once, together with the end of the delivery it answers. If one of the
  reply's own deliveries fails for good, the producer is answered 500, as there; but the reply is
  not accepted once more for each retry, and the original is not dead-lettered for it.
- At most CONCURRENCY (1000) deliveries of one Trigger are under way; the others wait for their
  turn. So many subscribers that hang, or that publish what comes back to their own Trigger and
  wait for it, hold it up until their timeouts; the stock Broker has no such bound.
- An attribute with a control character is refused with 400; there, its delivery fails.
"""

from __future__ import annotations

from knative.local.broker.asgi import ingress_app, split_path
from knative.local.broker.broker import LocalBroker
from knative.local.broker.client import AiohttpSend
from knative.local.broker.http import Answer, Headers, Send
from knative.local.broker.records import AttemptRecord, Change, DeliveryRecord, EventRecord, State
from knative.local.broker.spec import STOCK_DELIVERY, BrokerSpec, Delivery, TriggerSpec

__all__ = [
    "STOCK_DELIVERY",
    "AiohttpSend",
    "Answer",
    "AttemptRecord",
    "BrokerSpec",
    "Change",
    "Delivery",
    "DeliveryRecord",
    "EventRecord",
    "Headers",
    "LocalBroker",
    "Send",
    "State",
    "TriggerSpec",
    "ingress_app",
    "split_path",
]
