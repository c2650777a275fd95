"""The GitHub App is created by one click, with what the functions ask for and nothing more."""

from __future__ import annotations

import ast
import asyncio
import html
import json
import re
import stat
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from knative.github_app import EVENTS, PERMISSIONS
from tests.support.job_world import shipped_routes
from tests.support.listening import listening
from tests.support.repository import ROOT

# Where hooks of repositories are compared, or routes name teams, which the page says.
BY_HAND = {"repository_hooks": "read", "members": "read"}
NAMES = {*PERMISSIONS, *BY_HAND, "checks", "workflows", "administration", "statuses", "actions"}
APP = {
    "id": 4711,
    "slug": "dsm-agents",
    "html_url": "https://github.com/apps/dsm-agents",
    "webhook_secret": "hook-secret",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n",
}


def asked_for() -> dict[str, str]:
    """The highest level of each permission that any function asks a token for."""
    found: dict[str, str] = {}
    for path in (ROOT / "functions").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Dict):
                continue
            pairs = [
                (key.value, value.value)
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
            ]
            for name, level in pairs:
                if name in NAMES and level in ("read", "write"):
                    found[name] = max(found.get(name, ""), level)
    return found


def test_it_has_the_permissions_that_the_functions_ask_for_and_no_more() -> None:
    assert asked_for() == PERMISSIONS | BY_HAND
    assert "workflows" not in PERMISSIONS


def test_its_events_are_those_of_the_shipped_routes_and_of_what_the_receiver_follows() -> None:
    receiver = (ROOT / "knative/base/functions/webhook-receiver.yaml").read_text()
    [followed] = re.findall(r"value: (com\.github\.\S+,\S+)", receiver)
    types = set(re.findall(r"com\.github\.(\w+)\.", f"{shipped_routes()} {followed}"))
    names = {"issue": "issues"}
    assert {names.get(kind, kind) for kind in types} == set(EVENTS)


def test_the_page_names_every_permission_and_event() -> None:
    page = (ROOT / "knative" / "GITHUB.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (read|write) \|", page, re.MULTILINE))
    assert rows == PERMISSIONS
    assert all(f"`{event}`" in page for event in EVENTS)


async def test_one_click_makes_the_app_and_a_file_that_only_its_user_reads(tmp_path: Path) -> None:
    codes: list[str] = []

    async def conversions(request: Request) -> Response:
        codes.append(request.path_params["code"])
        return JSONResponse(APP, 201) if codes == ["abc123"] else JSONResponse({}, 404)

    path = "/api/v3/app-manifests/{code}/conversions"
    app = Starlette(routes=[Route(path, conversions, methods=["POST"])])
    file = tmp_path / "github-app.yaml"
    async with listening(app) as github, httpx.AsyncClient(trust_env=False) as browser:
        command = [sys.executable, "-m", "knative.dsm", "github-app", "--org", "acme"]
        command += ["--url", "https://hooks.example.com/webhook/github", "--github", github]
        process = await asyncio.create_subprocess_exec(
            *(*command, "--file", str(file)), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        first = (await process.stdout.readline()).decode()
        page_url = re.findall(r"http://\S+/", first)[0]
        page = (await browser.get(page_url)).text
        action, manifest = form(page)
        assert action.startswith(f"{github}/organizations/acme/settings/apps/new?state=")
        assert manifest["default_permissions"] == PERMISSIONS
        assert manifest["default_events"] == EVENTS
        assert manifest["hook_attributes"]["url"] == "https://hooks.example.com/webhook/github"
        state = parse_qs(urlsplit(action).query)["state"][0]

        back = manifest["redirect_url"]
        forged = await browser.get(back, params={"code": "abc123", "state": "x"})
        assert (forged.status_code, codes) == (400, [])
        created = await browser.get(back, params={"code": "abc123", "state": state})
        assert created.status_code == 200, created.text

        printed = (await process.communicate())[0].decode()
    assert process.returncode == 0, printed
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    asked, signed = yaml.safe_load_all(file.read_text())
    assert asked["stringData"] == {
        "app-id": "4711",
        "app-private-key": APP["pem"],
        "hooks": "app",
        "api-url": f"{github}/api/v3",
        "url": github,
    }
    assert signed["stringData"] == {"github": "hook-secret"}
    assert "hook-secret" not in printed
    assert f"{APP['html_url']}/installations/new" in printed


def form(page: str) -> tuple[str, dict[str, Any]]:
    """Where the button leads, and the manifest that it posts."""
    action = html.unescape(re.findall(r'action="([^"]+)"', page)[0])
    manifest = html.unescape(re.findall(r"name=manifest value='([^']+)'", page)[0])
    return action, json.loads(manifest)
