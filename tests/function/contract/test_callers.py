"""With OIDC_AUDIENCE a function knows who calls by a token, and answers no other."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.kit import cloudevents
from functions.kit.clients.service_tokens import ServiceTokens
from functions.kit.clients.token_keys import (
    AGAIN_S,
    MAX_AGE_S,
    REFRESH_S,
    IssuerSettings,
    TokenKeys,
)
from functions.kit.context import Context, Resources
from functions.kit.contract import function, route
from functions.kit.contract.token_check import MAX_TOKEN_BYTES
from functions.kit.errors import TemporaryError
from tests.support import eventually
from tests.support.cluster import Cluster, assert_problem, message_of
from tests.support.issuer import CALLER, ENVIRON, SENDER, Issuer, bearer, shared_secret
from tests.support.slow_target import NapAsked, slow_target


async def who(request: Request, ctx: Context) -> JSONResponse:
    """The user and the service that a route of a function gets."""
    return JSONResponse([request.headers.getlist(name) for name in ("x-user", "x-service-name")])


@function(routes=[route("/who", who)])
async def echo(event: NapAsked, ctx: Context) -> None: ...


@pytest.fixture
def issuer(cluster: Cluster) -> Issuer:
    found = Issuer()
    cluster.add("issuer", found.app)
    cluster.deploy(slow_target, ENVIRON)
    return found


async def ask(cluster: Cluster, headers: Any = None) -> httpx.Response:
    """A plain request, as a user's curl sends one."""
    async with cluster.client("slow-target") as client:
        return await client.post("/", headers=headers, json={})


async def tell(cluster: Cluster, token: str | None) -> httpx.Response:
    """An event, as a Broker delivers one."""
    headers, body = cloudevents.encode(message_of(NapAsked()))
    shown = [("Authorization", f"Bearer {token}")] if token else []
    async with cluster.client("slow-target") as client:
        return await client.post("/", headers=[*headers, *shown], content=body)


async def test_a_sender_may_send_events_and_a_caller_make_requests(
    cluster: Cluster, issuer: Issuer
) -> None:
    assert (await tell(cluster, issuer.token(SENDER))).status_code == 200
    assert (await ask(cluster, bearer(issuer.token()))).status_code == 200
    tool = issuer.token(
        "system:serviceaccount:dsm:tool-7", aud=["another", issuer.claims()["aud"][0]]
    )
    assert (await ask(cluster, bearer(tool))).status_code == 200


async def test_without_a_token_nothing_is_answered(cluster: Cluster, issuer: Issuer) -> None:
    for response in (await tell(cluster, None), await ask(cluster)):
        assert response.status_code == 401
        assert_problem(response)
        assert "kubectl create token" in response.json()["detail"], "it says what to do"
        assert response.headers["www-authenticate"] == "Bearer"
    async with cluster.client("slow-target") as client:
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
            for path in ("/", "/runs", "/no/such/path"):
                assert (await client.request(method, path)).status_code == 401
    assert issuer.reads == 0, "and nobody was asked"


async def test_a_known_subject_without_the_right_is_refused_by_its_name(
    cluster: Cluster, issuer: Issuer
) -> None:
    async def refusal(response: httpx.Response) -> str:
        assert response.status_code == 403
        assert_problem(response)
        return str(response.json()["detail"])

    assert "OIDC_SENDERS" in await refusal(await tell(cluster, issuer.token(CALLER)))
    assert "OIDC_CALLERS" in await refusal(await ask(cluster, bearer(issuer.token(SENDER))))
    stranger = "system:serviceaccount:other:console"
    assert stranger in await refusal(await ask(cluster, bearer(issuer.token(stranger))))


WRONG: dict[str, dict[str, Any]] = {
    "another audience": {"aud": ["serving.knative.dev/service/dsm/other"]},
    "an audience that only begins alike": {"aud": ["serving.knative.dev/service/dsm/function2"]},
    "no audience": {"aud": None},
    "expired": {"exp": 1},
    "no expiry": {"exp": None},
    "an expiry that is no time": {"exp": "never"},
    "not valid yet": {"nbf": 2**33},
    "another issuer": {"iss": "http://evil.example"},
    "no issuer": {"iss": None},
    "no subject": {"sub": None},
    "a number for a subject": {"sub": 7},
    "a line break in the subject": {"sub": f"{CALLER}\nx-user: ada"},
    "half a surrogate pair in the subject": {"sub": "\ud800"},
}


@pytest.mark.parametrize("why", WRONG)
async def test_a_token_that_says_something_else_is_refused(
    cluster: Cluster, issuer: Issuer, why: str
) -> None:
    response = await ask(cluster, bearer(issuer.signed(issuer.claims(**WRONG[why]))))
    assert response.status_code == 401
    assert_problem(response)


def without_signature(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """A token as its parts, whatever they are."""
    parts = (json.dumps(part).encode() for part in (header, claims))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


async def test_no_algorithm_but_the_keys_own_is_taken(cluster: Cluster, issuer: Issuer) -> None:
    issuer.rotate("rsa", rsa_bits=2048)
    assert (await ask(cluster, bearer(issuer.token()))).status_code == 200
    header, claims = {"typ": "JWT", "kid": "rsa"}, issuer.claims()

    unsigned = without_signature(claims, header | {"alg": "none"})
    hashed = without_signature(claims, header | {"alg": "HS256"})
    mac = hmac.new(issuer.public_pem, hashed.encode(), hashlib.sha256).digest()
    with_public_key = f"{hashed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    other = jwt.encode(
        claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers=header
    )
    own_key = jwt.encode(
        claims,
        issuer.key,
        algorithm="RS256",
        headers=header | {"kid": "mine", "jwk": {"kty": "RSA"}, "jku": "http://evil.example/"},
    )
    signed = issuer.token()
    other_claims = without_signature(claims | {"sub": "x"}, header | {"alg": "RS256"})
    tampered = f"{other_claims}.{signed.rpartition('.')[2]}"
    for token in (f"{unsigned}.", unsigned, with_public_key, other, own_key, tampered):
        response = await ask(cluster, bearer(token))
        assert response.status_code == 401, token[:40]
    assert not [r for r in cluster.requests if "evil" in str(r.url)]


async def test_a_shared_secret_among_the_keys_signs_nothing(
    cluster: Cluster, issuer: Issuer
) -> None:
    secret = secrets.token_bytes(32)
    issuer.extra_keys = [shared_secret("secret", secret), {"kty": "EC"}, {"kid": "x", "kty": "?"}]
    token = jwt.encode(issuer.claims(), secret, algorithm="HS256", headers={"kid": "secret"})
    assert (await ask(cluster, bearer(token))).status_code == 401
    assert (await ask(cluster, bearer(issuer.token()))).status_code == 200


async def test_a_huge_token_is_refused_unread(cluster: Cluster, issuer: Issuer) -> None:
    for token in ("x" * (MAX_TOKEN_BYTES + 1), issuer.token(padding="x" * MAX_TOKEN_BYTES)):
        response = await ask(cluster, bearer(token))
        assert response.status_code == 401
        assert str(MAX_TOKEN_BYTES) in response.json()["detail"]


async def test_one_token_is_one_header(cluster: Cluster, issuer: Issuer) -> None:
    good = ("Authorization", f"Bearer {issuer.token()}")
    assert (await ask(cluster, [good, ("Authorization", "Bearer x")])).status_code == 401
    assert (await ask(cluster, {"Authorization": f"Basic {issuer.token()}"})).status_code == 401
    assert (await ask(cluster, {"Authorization": "Bearer"})).status_code == 401


@settings(max_examples=300, deadline=None)
@given(
    token=st.one_of(
        st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=300),
        st.builds(
            lambda parts: ".".join(
                base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts
            ),
            st.lists(
                st.one_of(
                    st.binary(max_size=60),
                    st.sampled_from(
                        [
                            b'{"alg":"ES256","kid":"first"}',
                            b'{"alg":"ES256","kid":["first"]}',
                            b'{"alg":null,"kid":"first"}',
                            b'{"alg":"ES256","kid":"first","crit":["x"]}',
                            b'{"alg":"ES256","kid":"first","b64":false}',
                            b"[" * 5000,
                            b'{"exp":1e999}',
                        ]
                    ),
                ),
                min_size=1,
                max_size=5,
            ),
        ),
    )
)
async def test_no_token_that_anybody_makes_up_is_more_than_refused(token: str) -> None:
    cluster, issuer = Cluster(), Issuer()
    cluster.add("issuer", issuer.app)
    cluster.deploy(slow_target, ENVIRON)
    response = await ask(cluster, [(b"Authorization", b"Bearer " + token.encode("latin-1"))])
    assert response.status_code == 401
    assert_problem(response)
    await cluster.close()


async def test_while_the_issuer_is_away_no_caller_comes_in(
    cluster: Cluster, issuer: Issuer
) -> None:
    issuer.away = True
    for response in (
        await tell(cluster, issuer.token(SENDER)),
        await ask(cluster, bearer(issuer.token())),
    ):
        assert response.status_code == 503, "a Broker comes again"
        assert int(response.headers["retry-after"]) >= 1
        assert_problem(response)
    cluster.down.add("issuer")
    assert (await ask(cluster, bearer(issuer.token()))).status_code == 503


async def test_a_proven_name_replaces_a_claimed_one(cluster: Cluster, issuer: Issuer) -> None:
    proxy = "system:serviceaccount:dsm:tool-proxy"
    cluster.deploy(echo, ENVIRON | {"OIDC_PROXIES": proxy})
    claims = {"X-User": "ada", "X-Service-Name": "realm-service"}
    async with cluster.client("echo") as client:
        plain = await client.get("/who", headers=claims | bearer(issuer.token()))
        behind = await client.get("/who", headers=claims | bearer(issuer.token(proxy)))
    assert plain.json() == [[CALLER], ["console"]]
    assert behind.json() == [["ada"], []], "the console names the user for whom it asks, no more"


async def test_a_service_of_another_namespace_has_another_name(
    cluster: Cluster, issuer: Issuer
) -> None:
    others = "system:serviceaccount:other:console"
    cluster.deploy(echo, ENVIRON | {"OIDC_CALLERS": others})
    async with cluster.client("echo") as client:
        answered = await client.get("/who", headers=bearer(issuer.token(others)))
    assert answered.json() == [[others], ["other_console"]]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def keys(cluster: Cluster, issuer: Issuer) -> tuple[TokenKeys, Clock]:
    clock = Clock()
    http = Resources({}, transport=cluster).http
    return TokenKeys(IssuerSettings(oidc_issuer_url=issuer.url), http, clock), clock


async def test_a_flood_of_unknown_keys_asks_the_issuer_once(
    keys: tuple[TokenKeys, Clock], issuer: Issuer
) -> None:
    kept, clock = keys
    assert await kept.find("first") is not None
    clock.now += AGAIN_S
    assert await kept.find("made-up") is None
    for number in range(1000):
        assert await kept.find(f"made-up-{number}") is None
    assert issuer.reads == 2
    assert await kept.find("first") is not None, "and who has a good one does not notice"


async def test_an_unknown_key_is_not_judged_by_keys_that_could_not_be_read_again(
    keys: tuple[TokenKeys, Clock], issuer: Issuer
) -> None:
    kept, clock = keys
    assert await kept.find("first") is not None
    issuer.away = True
    clock.now += AGAIN_S
    for _ in range(2):
        with pytest.raises(TemporaryError):
            await kept.find("second")


async def test_a_new_key_is_found_and_a_withdrawn_one_forgotten(
    keys: tuple[TokenKeys, Clock], issuer: Issuer
) -> None:
    kept, clock = keys
    assert await kept.find("first") is not None
    issuer.rotate("second")
    clock.now += AGAIN_S
    assert await kept.find("second") is not None
    clock.now += AGAIN_S
    assert await kept.find("first") is None


async def test_a_withdrawn_key_is_good_for_no_more_than_ten_minutes(
    keys: tuple[TokenKeys, Clock], issuer: Issuer
) -> None:
    kept, clock = keys
    assert await kept.find("first") is not None
    issuer.rotate("second")
    clock.now += REFRESH_S
    await kept.find("first")  # it sets off the reading, and does not wait for it

    async def read() -> bool:
        return issuer.reads == 2

    assert await eventually(read)
    clock.now += AGAIN_S
    assert await kept.find("first") is None


async def test_an_issuer_that_is_away_is_missed_after_an_hour(
    keys: tuple[TokenKeys, Clock], issuer: Issuer
) -> None:
    kept, clock = keys
    assert await kept.find("first") is not None
    issuer.away = True
    clock.now += MAX_AGE_S - 1
    assert await kept.find("first") is not None, "its keys are still known"
    clock.now += 1 + AGAIN_S
    with pytest.raises(TemporaryError):
        await kept.find("first")
    issuer.away = False
    clock.now += AGAIN_S
    assert await kept.find("first") is not None


async def test_a_key_set_that_is_none_is_not_an_empty_one(
    cluster: Cluster, issuer: Issuer, keys: tuple[TokenKeys, Clock]
) -> None:
    kept, _ = keys
    cluster.add("issuer", Response("<html>", 200))
    with pytest.raises(TemporaryError):
        await kept.find("first")


async def test_a_service_is_called_with_its_own_token_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "sprint-service.dsm").write_text("for sprints\n")
    hook = ServiceTokens(str(tmp_path))

    async def sent(url: str, **headers: str) -> str | None:
        request = httpx.Request("GET", url, headers=headers)
        await hook(request)
        shown: str | None = request.headers.get("authorization")
        return shown

    assert await sent("http://sprint-service.dsm.svc.cluster.local/x") == "Bearer for sprints"
    assert await sent("http://Sprint-Service.dsm.svc/") == "Bearer for sprints"
    for url in (
        "http://project-service.dsm.svc.cluster.local/",
        "http://sprint-service.other.svc.cluster.local/",
        "http://sprint-service.dsm.svc.evil.example/",
        "http://sprint-service.dsm.evil.example/",
        "https://sprint-service.dsm/",
        "http://..%2f.svc/",
    ):
        assert await sent(url) is None, url
    own = await sent("http://sprint-service.dsm.svc/", authorization="Basic x")
    assert own == "Basic x"
