"""Who may ask the gateway for what.

A laptop is shared: with every web page that a browser shows, which sends simple requests anywhere
and, by DNS rebinding, under any name; and with other accounts, which reach every loopback port.

- The Kubernetes API and the administration ask for the token of the run. It stands in kubeconfig
  and runtime.json, which only their owner may read.
- Every process has a lesser one in HTTP_PROXY, with which it is inside of the cluster: it may call
  Services and the Broker, as a pod may that has no token of its service account.
- A name that leads to this machine on every machine (`localhost`, `*.localhost`, a loopback
  address) is the public ingress: a Service needs no token there. Any other name is the cluster's
  own DNS, and only what has a token is inside of the cluster.
- Without a token no other account is answered (`peer`), as a Service may run commands for it.
- No page asks for the Kubernetes API or the administration, or sends events to the broker; and
  none but their own calls Services outside, which do not know that pages reach them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any

from functions.loopback import is_loopback
from knative.local.kube import ApiError
from knative.local.peer import is_another_account

USER = "knative"  # of the proxy's address; the token is the password
_SAFE = ("GET", "HEAD", "OPTIONS")
_JSON = ("application/json", "application/apply-patch+yaml")
_CREDENTIALS = (b"authorization", b"proxy-authorization")

Headers = Mapping[bytes, bytes]


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(32)


def kubeconfig_text(server: str, token: str) -> str:
    """A kubeconfig for the API at `server`."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": server}}],
        "users": [{"name": "local", "user": {"token": token}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local"}}],
        "current-context": "local",
    }
    return json.dumps(config, indent=2)


class Access:
    """The rules above for the token of the run and that of processes, `inside`; each check raises
    ApiError with what to do about it."""

    def __init__(self, token: str, inside: str) -> None:
        self._token = token.encode()
        self._inside = inside.encode()

    def is_inside(self, headers: Headers) -> bool:
        """Has this request one of the tokens, as a bearer's or as the password of the proxy?"""
        return any(self.is_token(headers.get(name, b"")) for name in _CREDENTIALS)

    def is_token(self, credentials: bytes) -> bool:
        """Is this header's value one of our tokens?"""
        return self._is(self._token, credentials) or self._is(self._inside, credentials)

    @staticmethod
    def _is(token: bytes, credentials: bytes) -> bool:
        scheme, _, value = credentials.partition(b" ")
        if scheme.lower() == b"basic":
            try:
                value = base64.b64decode(value.strip(), validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        return scheme.lower() in (b"basic", b"bearer") and hmac.compare_digest(value.strip(), token)

    def check_caller(self, host: str, headers: Headers, scope: Mapping[str, Any]) -> None:
        """Names that other machines may own are known to the cluster's own processes only, and
        without the token no other account of this machine is answered."""
        if self.is_inside(headers):
            return
        if is_another_account(scope.get("client"), scope.get("server")):
            raise ApiError(
                403,
                "Forbidden",
                "this is another account's local Knative: it answers others with the token of the "
                "run only",
            )
        if not is_loopback(host):
            raise ApiError(
                403,
                "Forbidden",
                f"{host!r} is a name for the cluster's own processes: from outside call "
                "http://SERVICE.NAMESPACE.localhost, or send the token that is in runtime.json",
            )

    def check_control(self, method: str, headers: Headers) -> None:
        """What changes the cluster, or reads its Secrets and events."""
        check_no_page(headers)
        if not any(self._is(self._token, headers.get(name, b"")) for name in _CREDENTIALS):
            raise ApiError(
                401,
                "Unauthorized",
                "Unauthorized: send the token that is in kubeconfig and runtime.json of the data "
                "folder, as `Authorization: Bearer TOKEN`",
            )
        kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        is_json = kind in _JSON or (kind.startswith("application/") and kind.endswith("+json"))
        has_body = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
        if method not in _SAFE and (kind or has_body) and not is_json:
            raise ApiError(415, "UnsupportedMediaType", f"a body must be JSON, not {kind!r}")


def check_no_page(headers: Headers) -> None:
    """A browser says where a request comes from; programs say nothing of the kind."""
    site = headers.get(b"sec-fetch-site", b"none")
    if b"origin" in headers or site != b"none":
        raise ApiError(403, "Forbidden", "a web page may not do this")


def check_no_other_page(headers: Headers) -> None:
    """Services outside know nothing of this machine's pages: only their own may call them."""
    own = (b"", b"http://" + headers.get(b"host", b""))
    site = headers.get(b"sec-fetch-site", b"none")
    if site not in (b"none", b"same-origin") or headers.get(b"origin", b"") not in own:
        raise ApiError(403, "Forbidden", "a page of another site may not do this")
