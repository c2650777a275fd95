"""`dsm github-app`: create the GitHub App of this project by one click.

It serves one page on this machine, whose button posts the App's manifest to GitHub. GitHub asks the
user once, makes the App, and sends the browser back with a code, for which GitHub gives the App's
key. The key is written to a file of Secrets, which only its user may read, and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import yaml

# What the functions ask of a repository, and nothing more: neither workflows nor administration.
PERMISSIONS = {
    "metadata": "read",
    "contents": "write",
    "issues": "write",
    "pull_requests": "write",
    "checks": "write",
}
EVENTS = ["issues", "issue_comment", "pull_request", "check_run"]
DESCRIPTION = "Agents work on labelled issues: a draft pull request, or the reason why not."


class Refused(Exception):
    """GitHub has made no App, or gives out no key; the text says why."""


@dataclass(frozen=True)
class Wanted:
    """The App to be made; `github` is the URL of GitHub, or of a server of one's own."""

    name: str
    webhook_url: str
    organisation: str = ""
    github: str = "https://github.com"
    state: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def api(self) -> str:
        if self.github == "https://github.com":
            return "https://api.github.com"
        return f"{self.github}/api/v3"

    def manifest(self, redirect_url: str) -> dict[str, Any]:
        """The App as GitHub's manifest flow takes it."""
        return {
            "name": self.name,
            "url": self.webhook_url,
            "description": DESCRIPTION,
            "hook_attributes": {"url": self.webhook_url, "active": True},
            "redirect_url": redirect_url,
            "public": False,
            "default_permissions": PERMISSIONS,
            "default_events": EVENTS,
        }

    def page(self, redirect_url: str) -> str:
        """One form, whose button leads to GitHub."""
        owner = f"/organizations/{self.organisation}" if self.organisation else ""
        action = f"{self.github}{owner}/settings/apps/new?state={self.state}"
        manifest = escape(json.dumps(self.manifest(redirect_url)))
        rows = "".join(f"<tr><td>{name}<td>{PERMISSIONS[name]}" for name in PERMISSIONS)
        return (
            "<!doctype html><html lang=en><meta charset=utf-8><title>Create the GitHub App</title>"
            f'<h1>{escape(self.name)}</h1><form action="{escape(action)}" method=post>'
            f"<input type=hidden name=manifest value='{manifest}'>"
            f"<p>Webhooks go to {escape(self.webhook_url)}: {', '.join(EVENTS)}.</p>"
            f"<table><tr><th>permission<th>{rows}</table>"
            "<p><button>Create the App on GitHub</button></p></form></html>"
        )


def converted(wanted: Wanted, code: str, transport: httpx.BaseTransport | None = None) -> Any:
    """The App with its key, for the code; GitHub gives it once, within an hour."""
    with httpx.Client(transport=transport, timeout=30) as client:
        answer = client.post(
            f"{wanted.api}/app-manifests/{code}/conversions",
            headers={"Accept": "application/vnd.github+json"},
        )
    if answer.status_code != 201:
        raise Refused(f"GitHub answered {answer.status_code}: {answer.text[:300]}")
    return answer.json()


def secrets_of(wanted: Wanted, app: dict[str, Any], namespace: str) -> str:
    """Two Secrets in YAML: how GitHub is asked, and what its webhooks are signed with."""
    asked = {"app-id": str(app["id"]), "app-private-key": app["pem"], "hooks": "app"}
    if wanted.github != "https://github.com":
        asked |= {"api-url": wanted.api, "url": wanted.github}
    signed = {"github": app["webhook_secret"]}
    documents = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": values,
        }
        for name, values in (("github", asked), ("webhook-secrets", signed))
    ]
    return yaml.safe_dump_all(documents, sort_keys=False)


class _Answers(HTTPServer):
    """`app` is there once GitHub has made it."""

    def __init__(self, wanted: Wanted, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.wanted = wanted
        self.app: dict[str, Any] | None = None
        self.refused = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Answers

    def do_GET(self) -> None:
        """The page, and where GitHub leads back to."""
        asked, wanted = urlsplit(self.path), self.server.wanted
        query = parse_qs(asked.query)
        if asked.path == "/":
            return self._answer(200, wanted.page(f"{self.server.url}/created"))
        if asked.path != "/created":
            return self._answer(404, "Not found")
        [state], [code] = query.get("state", [""]), query.get("code", [""])
        if not secrets.compare_digest(state, wanted.state) or not code.isalnum():
            return self._answer(400, "This answer is not to a request of this page.")
        try:
            self.server.app = converted(wanted, code)
        except (Refused, httpx.HTTPError) as error:
            self.server.refused = str(error)
            return self._answer(502, escape(str(error)))
        self._answer(200, "The App is there. Go on in the terminal.")

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """The query has the code."""


def main(argv: Sequence[str] | None = None, prog: str = "dsm") -> int:
    """Return 0 once the file of Secrets is written."""
    parser = argparse.ArgumentParser(prog=f"{prog} github-app", description=DESCRIPTION)
    parser.add_argument(
        "--url", required=True, help="public URL of webhook-receiver's /webhook/github"
    )
    parser.add_argument("--name", default="dsm-agents", help="the App's name, of all GitHub's")
    parser.add_argument(
        "--org", default="", help="organisation that owns it (default: your account)"
    )
    parser.add_argument("--github", default="https://github.com", help="a server of your own")
    parser.add_argument("--namespace", default="dsm", help="where the Secrets belong")
    parser.add_argument(
        "--file", type=Path, default=Path("github-app.yaml"), help="where they are written"
    )
    parser.add_argument("--port", type=int, default=0, help="of the page (default: any)")
    given = parser.parse_args(argv)
    if given.file.exists():
        print(f"{given.file} is there already: it may hold the key of another App", file=sys.stderr)
        return 1
    wanted = Wanted(given.name, given.url, given.org, given.github.rstrip("/"))
    with _Answers(wanted, given.port) as server:
        print(f"Open {server.url}/ and press its button.", flush=True)
        while server.app is None and not server.refused:
            server.handle_request()
        app = server.app
    if app is None:
        print(server.refused, file=sys.stderr)
        return 1
    number = os.open(given.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "w") as file:
        file.write(secrets_of(wanted, app, given.namespace))
    print(f"{app['html_url']} is there. Its Secrets are in {given.file}: apply, then delete it,")
    print(f"  kubectl apply -f {given.file} && rm {given.file}")
    print(f"and install the App in the repositories: {app['html_url']}/installations/new")
    return 0
