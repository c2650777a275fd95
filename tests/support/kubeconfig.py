"""A way to a Kubernetes API for the official client."""

from __future__ import annotations

import json
from pathlib import Path


def kubeconfig(folder: Path, url: str) -> str:
    """A kubeconfig for the server at `url`; returns its path."""
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(config))
    return str(path)
