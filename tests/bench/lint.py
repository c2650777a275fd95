"""The linter over a repository's worth of YAML: 85 MB, with CRDs of some megabytes.

The peer is 20 s, after which no developer waits for a linter.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.bench.report import Row
from tests.support.lint_tree import BROKER, event_type, ping, service, trigger

LIMIT_S = 20.0
SIZE_MB = 85
CRD_MB = (1.0, 1.5, 2.7)
_CRD = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: r{number}.example.com}}
spec:
  versions:
"""
_VERSION = """  - name: v1
    schema:
      openAPIV3Schema:
        description: "A resource: what it is, and what its fields are for."
        properties:
          spec:
            type: object
            properties: {size: {type: integer, format: int32}, labels: {type: object}}
"""
_DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: d{number}
  namespace: shop
  labels: {{app: d{number}}}
spec:
  replicas: 2
  selector:
    matchLabels: {{app: d{number}}}
  template:
    metadata:
      labels: {{app: d{number}}}
    spec:
      containers:
      - name: main
        image: example.com/d{number}:1.0
        env:
        - name: LEVEL
          value: "info"
        resources:
          requests: {{cpu: 100m, memory: 64Mi}}
"""


def make_tree(top: Path) -> int:
    """Write the tree; how many bytes it has: a fifth workloads and Knative, the rest CRDs."""
    total, number = 0, 0
    while total < SIZE_MB * 1_000_000:
        number += 1
        crd = _CRD.format(number=number)
        crd += _VERSION * (int(CRD_MB[number % 3] * 1_000_000) // len(_VERSION))
        names = [f"s{number}-{index}" for index in range(12)]
        documents = [
            BROKER,
            *(_DEPLOYMENT.format(number=f"{number}-{index}") for index in range(500)),
            *(service(name) for name in names),
            *(trigger(name, to=name) for name in names),
            *(event_type(f"type.{name}", name) for name in names),
            ping(f"p{number}"),
        ]
        app = "---".join(documents).replace("namespace: shop", f"namespace: shop{number}")
        for kind, text in (("crd", crd), ("app", app)):
            home = top / f"part{number}" / kind
            home.mkdir(parents=True)
            (home / "all.yaml").write_text(text, encoding="utf-8")
            total += len(text.encode())
    return total


async def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        size = make_tree(Path(folder))
        command = (sys.executable, "-m", "tests.bench.lint", folder)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
    used_s = float(output.split()[-1])
    name = f"lint {size / 1e6:.0f} MB of YAML"
    return [Row(name, used_s, "s of processor time", "limit", LIMIT_S, 1.0, minimum=False)]


if __name__ == "__main__":
    import contextlib
    import io
    import time

    from knative.lint.cli import main

    with contextlib.redirect_stdout(io.StringIO()):
        main([sys.argv[1]])
    print(time.process_time())
