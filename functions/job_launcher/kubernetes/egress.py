"""The way out of a Job's pod: a proxy with lists of host names, and what it has refused.

A list is a port of the proxy, which only pods with its label reach: components of the cluster's
network hold it, not the agent. The proxy's log has a line for each refusal,

    refused 1796062267.991 10.1.2.3 3128 evil.example:443

with time, address of the pod, port of the list, and what was asked for.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from functions.kit.clients import Cluster
from functions.kit.errors import FunctionError

logger = logging.getLogger(__name__)

Object = dict[str, Any]

LABEL = "jobs.dsm.io/egress"
SERVICE = "egress-proxy"
SELECTOR = f"app.kubernetes.io/name={SERVICE}"
UNKNOWN = "what was refused is not known, as the proxy's log cannot be read"
_MAX_LINES, _MAX_BYTES = 20_000, 2_000_000
_MAX_SHOWN, _MAX_LABEL = 10, 24
_LINE = re.compile(r"refused (\d+\.\d+) (\S+) \d+ ([^\s:]+|\[\S+\]):(\d+)")


def variables(proxy: str) -> dict[str, str]:
    """Return the variables by which programs find the proxy; what runs in the pod needs none."""
    found = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": "localhost,127.0.0.1,::1"}
    return found | {name.lower(): value for name, value in found.items()}


async def refused(cluster: Cluster, pods: Sequence[Object]) -> list[str]:
    """Return what the proxy has refused to the pods of a Job, most often first."""
    since = {
        str(pod["status"]["podIP"]): _timestamp(pod["status"].get("startTime"))
        for pod in pods
        if (pod.get("status") or {}).get("podIP")
    }
    lines: list[str] = []
    try:
        proxies = await cluster.list("v1", "pods", SELECTOR)
        for proxy in proxies:
            name = str(proxy["metadata"]["name"])
            text = await cluster.log(name, tail=_MAX_LINES, max_bytes=_MAX_BYTES)
            lines += text.splitlines()
    except FunctionError as error:
        logger.warning("cannot read what was refused: %s", error)
        return [UNKNOWN]
    if not proxies:
        return [UNKNOWN]
    return refusals(lines, since)


def refusals(lines: Iterable[str], since: Mapping[str, float]) -> list[str]:
    """Return what was refused to these addresses, each from its time on.

    >>> line = "refused 20.5 10.1.2.3 3128 evil.example:443"
    >>> refusals([line, line], {"10.1.2.3": 20.0})
    ['evil.example:443 (2 times)']
    >>> refusals([line], {"10.1.2.3": 21.0})
    []
    """
    found: Counter[str] = Counter()
    for line in lines:
        match = _LINE.fullmatch(line.strip())
        if match and match[2] in since and float(match[1]) >= since[match[2]]:
            found[f"{shown(match[3])}:{match[4]}"] += 1
    names = [
        name if count == 1 else f"{name} ({count} times)"
        for name, count in sorted(found.items(), key=lambda pair: -pair[1])
    ]
    more = len(names) - _MAX_SHOWN
    return names if more <= 0 else [*names[:_MAX_SHOWN], f"and {more} more"]


def shown(host: str) -> str:
    """Return a host name without what it could carry away: it is shown in public.

    >>> shown("c2stYW50LWFwaTAz.collector.evil.example"), shown("10.0.0.1")
    ('*.evil.example', '10.0.0.1')
    """
    labels = host.lower().split(".")
    if labels[-1].isdecimal() or host.startswith("["):
        return host[:45]
    kept = [one if len(one) <= _MAX_LABEL else f"{one[:8]}..." for one in labels[-2:]]
    return ".".join(["*"] * (len(labels) > 2) + kept)


def _timestamp(text: object) -> float:
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp() if text else 0.0
