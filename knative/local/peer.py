"""Whose process is at the other end of a loopback connection: the kernel knows each socket's owner.

Linux tells it in /proc/net; elsewhere it cannot be asked without more rights than we have.
"""

from __future__ import annotations

import os
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"  # a socket that its process has closed belongs to root


def is_another_account(client: tuple[str, int] | None, server: tuple[str, int] | None) -> bool:
    """Does a connection to `server` come from another account, which is not root?"""
    if client is None or server is None or not _TABLES[0].exists():
        return False
    owner = _owner(client[1], server[1])
    return owner is None or owner not in (0, os.geteuid())


def _owner(port: int, server_port: int) -> int | None:
    """The account whose loopback connection leads from one port to the other, if there is one."""
    for table in _TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue  # a machine without IPv6
        for line in lines:
            _, local, remote, state, *rest = line.split()
            ends = local.rpartition(":")[2], remote.rpartition(":")[2]
            # 127.0.0.0/8 as the kernel prints it: the bytes of a word backwards.
            if (
                state == _ESTABLISHED
                and ends == (f"{port:04X}", f"{server_port:04X}")
                and local.rpartition(":")[0].endswith("7F")
            ):
                return int(rest[3])
    return None
