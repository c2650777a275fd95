"""What a web page, another account and a foreign host name try on a laptop, and do not get."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from knative.local import data_folder
from knative.local.errors import StartError
from tests.support import eventually
from tests.support.kube_server import job
from tests.support.local_knative import LocalKnative, local_knative

TINY = Path(__file__).parent / "overlays" / "tiny"
JOBS = "/kubernetes/apis/batch/v1/namespaces/dsm/jobs"
SECRETS = "/kubernetes/api/v1/namespaces/dsm/secrets"
UNKNOWN = 65534
PAGE = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}


@pytest.fixture(scope="module")
def knative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKnative]:
    with local_knative(TINY, tmp_path_factory.mktemp("access"), "--front", "dsm/echo") as runtime:
        yield runtime


def outside(knative: LocalKnative, **headers: str) -> httpx.AsyncClient:
    """A client that has no token."""
    return httpx.AsyncClient(base_url=knative.url, headers=headers, trust_env=False, timeout=60)


async def names(knative: LocalKnative) -> list[str]:
    async with knative.client() as client:
        return [one["metadata"]["name"] for one in (await client.get(JOBS)).json()["items"]]


async def test_a_pages_simple_post_of_a_job_runs_nothing(
    knative: LocalKnative, tmp_path: Path
) -> None:
    proof = tmp_path / "the command ran"
    body = json.dumps(job("evil", "touch", str(proof)))
    for headers in ({"content-type": "text/plain"}, {"content-type": "text/plain", **PAGE}):
        async with outside(knative, **headers) as client:
            assert (await client.post(JOBS, content=body)).status_code in (401, 403)
    # Nor with the token: a program that has it says what it sends, and is no page.
    async with knative.client(headers={"content-type": "text/plain"}) as client:
        assert (await client.post(JOBS, content=body)).status_code == 415
    async with knative.client(headers={"content-type": "application/json", **PAGE}) as client:
        assert (await client.post(JOBS, content=body)).status_code == 403
    assert "evil" not in await names(knative)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", SECRETS),
        ("POST", JOBS),
        ("GET", "/kubernetes/version"),
        ("GET", "/_knative/events"),
        ("GET", "/_knative/status"),
        ("POST", "/_knative/fire?name=morning"),
    ],
)
@pytest.mark.parametrize(
    "credentials",
    ["", "Bearer wrong", "Basic !", "Basic a25hdGl2ZTp3cm9uZw==", "Bearer", "Bearer \u00e9"],
)
async def test_without_the_token_nothing_is_read_and_nothing_happens(
    knative: LocalKnative, method: str, path: str, credentials: str
) -> None:
    async with outside(knative) as client:
        headers = {b"authorization": credentials.encode("latin-1")} if credentials else {}
        answer = await client.request(method, path, headers=headers, json=job())
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "kubeconfig" in answer.json()["message"]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "knative.local", "echo.dsm.svc.cluster.local", "kubernetes.default.svc"],
)
@pytest.mark.parametrize("path", [SECRETS, "/_knative/status", "/", "/api/v1/secrets"])
async def test_a_name_that_a_dns_server_may_give_us_leads_nowhere(
    knative: LocalKnative, host: str, path: str
) -> None:
    async with outside(knative, host=f"{host}:{httpx.URL(knative.url).port}") as client:
        assert (await client.get(path)).status_code == 403


@pytest.mark.parametrize("page", [{"origin": "null"}, {"sec-fetch-site": "same-site"}, PAGE])
async def test_no_page_fires_a_schedule_or_sends_an_event(
    knative: LocalKnative, page: dict[str, str]
) -> None:
    before = len(await knative.ask("events"))
    async with knative.client(headers=page) as client:
        fired = await client.post("/_knative/fire", params={"name": "morning"})
    event = {"specversion": "1.0", "id": "1", "source": "/page", "type": "io.example.a.v1"}
    host = "broker-ingress.knative-eventing.localhost"
    kind = {"content-type": "application/cloudevents+json"}
    async with outside(knative, host=host, **kind, **page) as client:
        sent = await client.post("/dsm/default", content=json.dumps(event))
    assert (fired.status_code, sent.status_code) == (403, 403)
    assert len(await knative.ask("events")) == before


async def test_the_public_names_need_no_token_and_the_services_never_see_it(
    knative: LocalKnative,
) -> None:
    async with outside(knative, host="echo.dsm.localhost", authorization="Bearer mine") as client:
        assert (await client.get("/")).json()["headers"]["authorization"] == "Bearer mine"
    async with knative.client("echo") as client:
        received = (await client.get("/")).json()["headers"]
    assert "authorization" not in received


async def test_a_process_is_given_loopback_its_own_names_and_the_clusters_proxy(
    knative: LocalKnative,
) -> None:
    async with knative.client("echo") as client:
        env: dict[str, str] = (await client.get("/")).json()["env"]
    assert env["SERVER_HOST"] == "127.0.0.1"
    assert {"echo.dsm.svc.cluster.local", "127.0.0.1"} <= set(env["ALLOWED_HOSTS"].split(","))
    async with httpx.AsyncClient(proxy=env["HTTP_PROXY"], trust_env=False, timeout=60) as client:
        assert (await client.get("http://echo.dsm.svc.cluster.local/")).is_success
        for control in ("knative.local/_knative/status", f"knative.local{SECRETS}"):
            refused = await client.get(f"http://{control}")
            assert refused.status_code == 401, "what changes the cluster takes the token of the run"
    token = httpx.URL(env["HTTP_PROXY"]).password
    async with outside(knative, authorization=f"Bearer {token}") as client:
        assert (await client.post(JOBS, json=job())).status_code == 401


async def test_a_job_without_a_token_of_its_account_has_no_way_to_the_api(
    knative: LocalKnative, tmp_path: Path
) -> None:
    async def variables(name: str, **pod: bool) -> dict[str, str]:
        """The environment of a Job's process."""
        file = tmp_path / name
        body = job(name, "sh", "-c", f"env > {file}.new && mv {file}.new {file}", pod=pod)
        async with knative.client() as client:
            assert (await client.post(JOBS, json=body)).status_code == 201

        async def written() -> bool:
            return file.exists()

        assert await eventually(written)
        return dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)

    assert "KUBECONFIG" in await variables("with-token")
    env = await variables("without", automountServiceAccountToken=False)
    assert "KUBECONFIG" not in env
    assert not [name for name, value in env.items() if knative.token in value]


def test_no_file_of_a_run_is_open_to_others(knative: LocalKnative) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    # Exactly: a group gets a way through only where root lends its user to a PostgreSQL.
    assert mode(knative.data) == 0o700
    for name in ("kubeconfig", "runtime.json", "broker.sqlite", "kube/kube.sqlite"):
        assert mode(knative.data / name) == 0o600, name
    config = json.loads((knative.data / "kubeconfig").read_text())
    assert config["users"][0]["user"]["token"] == knative.token


def test_each_run_has_a_token_of_its_own(tmp_path: Path) -> None:
    tokens = set()
    for _ in range(2):
        with local_knative(TINY, tmp_path) as runtime:
            tokens.add(runtime.token)
    assert len(tokens) == 2


def test_a_folder_of_another_user_is_not_used(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 12345, 12345)
        with pytest.raises(StartError, match="belongs to user 12345"):
            data_folder.prepare(tmp_path)
    else:
        with pytest.raises(StartError, match="belongs to root"):
            data_folder.prepare(Path("/"))


ASK = """
import sys, urllib.request, urllib.error
url, *headers = sys.argv[1:]
request = urllib.request.Request(url, headers=dict(h.split("=", 1) for h in headers))
try:
    print(urllib.request.urlopen(request, timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


def asked(url: str, user: int, **headers: str) -> str:
    """The status that an account of this machine gets, and the words of a refusal."""
    command = [python_for_all(), "-I", "-c", ASK, url]
    command += [f"{name}={value}" for name, value in headers.items()]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd="/", env={}, timeout=60,
        user=user, group=user, extra_groups=[],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def python_for_all() -> str:
    """A Python that every account may run."""
    for python in ("/usr/bin/python3", "/usr/local/bin/python3"):
        if Path(python).exists():
            return python
    pytest.skip("no Python that another account may run")


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root can be another account"
)
def test_another_account_reaches_no_service(knative: LocalKnative) -> None:
    for host in ("echo.dsm.localhost", "localhost", "broker-ingress.knative-eventing.localhost"):
        assert asked(knative.url, 0, Host=host).startswith(("200", "404", "405")), host
        refusal = asked(knative.url, UNKNOWN, Host=host)
        assert refusal.startswith("403"), refusal
        assert "another account's" in refusal
    token = {"Host": "echo.dsm.localhost", "Authorization": f"Bearer {knative.token}"}
    assert asked(knative.url, UNKNOWN, **token) == "200", "who has the token has it of its owner"
