"""Services outside of the cluster are reached under the cluster's names, from every process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from knative.local.errors import StartError
from knative.local.outside import Outside, Target, parse_maps
from tests.support import eventually
from tests.support.local_knative import LocalKnative
from tests.support.manifest_files import BROKER, refusals, world, write

EXTERNAL = """
    apiVersion: v1
    kind: Service
    metadata: {name: legacy}
    spec: {type: ExternalName, externalName: "NAME"}
"""
WITHOUT_SELECTOR = """
    apiVersion: v1
    kind: Service
    metadata: {name: stock}
    spec: {ports: [{name: http, port: 80}, {name: admin, port: 81}]}
"""
SLICE = """
    apiVersion: discovery.k8s.io/v1
    kind: EndpointSlice
    metadata: {name: stock-1, labels: {kubernetes.io/service-name: stock}}
    addressType: IPv4
    ports: [{name: http, port: PORT}]
    endpoints:
      - {addresses: [127.0.0.1]}
      - {addresses: [192.0.2.1], conditions: {ready: false}}
"""

TO_STOCK = """
    apiVersion: eventing.knative.dev/v1
    kind: Trigger
    metadata: {name: to-stock}
    spec:
      broker: default
      subscriber: {ref: {apiVersion: v1, kind: Service, name: stock}, uri: /events}
"""


async def _echo(request: Request) -> Response:
    if request.url.path == "/events":
        is_named = request.headers["host"].startswith(("legacy.", "stock."))
        return Response(status_code=202 if is_named else 500)
    return JSONResponse(
        {
            "method": request.method,
            "url": str(request.url),
            "headers": dict(request.headers),
            "body": (await request.body()).decode(),
        }
    )


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """The port of a server that says what it was asked."""
    app = Starlette(routes=[Route("/{path:path}", _echo, methods=["GET", "POST"])])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    task = asyncio.create_task(server.serve(sockets=[listener]))

    async def is_up() -> bool:
        return server.started

    await eventually(is_up)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def test_each_way_out_is_reached_from_inside_under_the_clusters_name(tmp_path: Path) -> None:
    async with served() as port:
        trigger = f"""
            apiVersion: eventing.knative.dev/v1
            kind: Trigger
            metadata: {{name: to-legacy}}
            spec:
              broker: default
              subscriber: {{uri: "http://legacy.dsm.svc.cluster.local:{port}/events"}}
        """
        documents = [EXTERNAL.replace("NAME", "localhost"), WITHOUT_SELECTOR,
                     SLICE.replace("PORT", str(port)), BROKER, TO_STOCK, trigger]  # fmt: skip
        overlay = write(tmp_path / "overlay", objects="---".join(documents))
        arguments = ["--map", f"prices.shop=http://127.0.0.1:{port}/v2"]
        knative = LocalKnative(overlay, tmp_path / "data", arguments)
        await asyncio.to_thread(knative.start)
        try:
            async with httpx.AsyncClient(
                proxy=knative.proxy_url, trust_env=False, timeout=60
            ) as http:
                answer = await http.post("http://prices.shop.svc.cluster.local/a?b=c", content="x")
                sent = answer.json()
                assert sent["url"] == f"http://127.0.0.1:{port}/v2/a?b=c"
                assert (sent["method"], sent["body"]) == ("POST", "x")
                assert not {"proxy-authorization", "authorization"} & sent["headers"].keys()
                legacy = f"legacy.dsm.svc.cluster.local:{port}"
                sent = (await http.get(f"http://{legacy}/x")).json()
                assert sent["headers"]["host"] == legacy, "as a cluster's DNS leaves it"
                assert (await http.get("http://stock.dsm/x")).status_code == 200
                assert (
                    await http.get("http://stock.dsm.svc.cluster.local:81/x")
                ).status_code == 502
                for page in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
                    for name in ("prices.shop.localhost", "stock.dsm.localhost"):
                        refused = await http.post(f"http://{name}/x", headers=page)
                        assert refused.status_code == 403
                own = {"origin": "http://prices.shop.localhost", "sec-fetch-site": "same-origin"}
                ours = await http.post("http://prices.shop.localhost/x", headers=own)
                assert ours.status_code == 200
                beside = (await http.get(f"http://127.0.0.1:{port}/v1/messages?a=b")).json()
                assert beside["url"] == f"http://127.0.0.1:{port}/v1/messages?a=b"
                assert not {"proxy-authorization", "authorization"} & beside["headers"].keys()
                gone = await http.get("http://nothing.invalid/x")
                assert (gone.status_code, "nothing.invalid" in gone.text) == (502, True)
            async with knative.client() as inside:
                refused = await inside.get("/x", headers={"host": "nothing.invalid:99999"})
            assert (refused.status_code, "65535" in refused.text) == (400, True)
            stranger = {"host": f"127.0.0.1:{port}", "proxy-authorization": "Basic eDp5"}
            async with httpx.AsyncClient(trust_env=False) as http:
                seen = await http.get(f"{knative.url}/v1/messages", headers=stranger)
            assert "url" not in seen.text, "only processes inside reach the machine's other servers"
            assert await knative.send("t") == 202
            (event,) = await knative.ask("events")
            attempts = [delivery["attempts"][0] for delivery in event["deliveries"]]
            assert {(attempt["url"], attempt["status"]) for attempt in attempts} == {
                (f"http://{legacy}/events", 202),
                ("http://stock.dsm.svc.cluster.local/events", 202),
            }
        finally:
            await asyncio.to_thread(knative.stop)


def test_what_is_mapped_wins_and_no_name_of_the_cluster_is_asked_of_the_world(
    tmp_path: Path,
) -> None:
    outside = Outside(
        world(tmp_path, EXTERNAL.replace("NAME", "a.example.com")), {"legacy.dsm": "https://b/c"}
    )
    assert outside.target("legacy.dsm.svc.cluster.local", 80) == Target("https://b/c", "b")
    assert outside.target("other.dsm.svc.cluster.local", 80) is None
    assert outside.target("other.dsm.localhost", 80) is None
    assert outside.target("other", 80) is None
    assert outside.target("example.com", 8000) == Target("http://example.com:8000")


@pytest.mark.parametrize(
    "text", ["a=http://b", "a.b", "a.b=ftp://c", "a.b=http://", "=", "a.b.c=http://d"]
)
def test_a_map_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(StartError, match=r"write NAME.NAMESPACE=http://HOST:PORT"):
        parse_maps([text])


def test_a_service_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (fault,) = refusals(tmp_path, WITHOUT_SELECTOR)
    assert "no EndpointSlice is labelled kubernetes.io/service-name" in fault
    (fault,) = refusals(tmp_path, EXTERNAL.replace("NAME", "x.dsm.svc.cluster.local"))
    assert "leads out of the cluster, not to its own names" in fault
