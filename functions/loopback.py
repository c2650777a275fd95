"""Which host names mean the machine itself: what a page of its own browser may call it."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Does this name mean the machine itself, whatever a DNS server says?

    >>> [is_loopback(host) for host in ("localhost", "console.dsm.localhost", "127.0.0.1", "::1")]
    [True, True, True, True]
    >>> [is_loopback(host) for host in ("", "knative.local", "localhost.evil.example", "10.0.0.1")]
    [False, False, False, False]
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
