"""Host names that every part of the local Knative knows."""

from __future__ import annotations

BROKER_HOST = "broker-ingress.knative-eventing.svc.cluster.local"
