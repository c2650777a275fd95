"""The published test vectors of each scheme, and what must not pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from functions.kit.errors import Unauthenticated
from functions.kit.settings import BadSetting
from functions.webhook_receiver.senders import github_proof, grafana_proof, standard_webhooks
from functions.webhook_receiver.senders.proof import Proof
from functions.webhook_receiver.settings import ReceiverSettings

SECRET = b"It's a Secret to Everybody"
BODY = b"Hello, World!"
SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

KEY = standard_webhooks.key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
SENT_AT = 1614265330
PAYLOAD = b'{"test": 2432232314}'
SIGNED = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(SENT_AT),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
OTHER = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="


def verify_github(secrets: Sequence[bytes], signature: str | None, body: bytes) -> None:
    checked(github_proof.proof(secrets, signature), body)


def verify_grafana(
    secrets: Sequence[bytes], signature: str | None, timestamp: str | None, body: bytes, now: float
) -> None:
    checked(grafana_proof.proof(secrets, signature, timestamp, now), body)


def verify_standard(
    keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float
) -> None:
    checked(standard_webhooks.proof(keys, headers, now), body)


def checked(proof: Proof, body: bytes) -> None:
    """Check a body that comes in pieces."""
    for at in range(0, len(body), 3):
        proof.update(body[at : at + 3])
    proof.check()


class TestGithub:
    def test_the_published_vector_holds(self) -> None:
        verify_github([SECRET], SIGNATURE, BODY)

    def test_any_of_several_secrets_is_enough(self) -> None:
        verify_github([b"new", SECRET], SIGNATURE, BODY)

    @pytest.mark.parametrize(
        ("secrets", "signature", "body"),
        [
            ([SECRET], None, BODY),
            ([SECRET], "", BODY),
            ([SECRET], SIGNATURE.removeprefix("sha256="), BODY),
            ([SECRET], SIGNATURE[:-1], BODY),
            ([SECRET], SIGNATURE.upper(), BODY),
            ([SECRET], "sha1=0", BODY),
            ([SECRET], "sha256=é\u20ac", BODY),
            ([SECRET], SIGNATURE, BODY + b" "),
            ([b"other"], SIGNATURE, BODY),
            ([], SIGNATURE, BODY),
        ],
        ids=[
            *("missing", "empty", "no prefix", "cut", "upper case", "sha1", "not ASCII"),
            *("other body", "other secret", "no secret"),
        ],
    )
    def test_anything_else_is_refused(
        self, secrets: list[bytes], signature: str | None, body: bytes
    ) -> None:
        with pytest.raises(Unauthenticated):
            verify_github(secrets, signature, body)


class TestGrafana:
    """Secret and body of Grafana's own tests, whose clock stands at 0."""

    @pytest.mark.parametrize(
        ("body", "timestamp", "signature"),
        [
            (
                b"test message",
                None,
                "3bcebf43c85d20bba6e3b6ba278af1d2ba3ab0d57de271b0ad30b833e851c5a6",
            ),
            (
                b"test message",
                "0",
                "ac18a483a582b60a883e974541afe25aa1026136163e94665649743324183ef1",
            ),
            (b"", None, "f9e66e179b6747ae54108f82f8ade8b3c25d76fd30afde6c395822c530196169"),
            (b"", "0", "e2f315c3aecb48bf08e9308c9c9637aaac3a16d0d7499de2cdc6ecd924064632"),
        ],
        ids=["body", "body and time", "empty body", "empty body and time"],
    )
    def test_its_signatures_hold(self, body: bytes, timestamp: str | None, signature: str) -> None:
        verify_grafana([b"old", b"secret"], signature, timestamp, body, 0)

    @pytest.mark.parametrize("now", [-301, 301, 1e9])
    def test_a_timestamp_more_than_five_minutes_away_is_refused(self, now: float) -> None:
        with pytest.raises(Unauthenticated, match="five minutes"):
            verify_grafana([b"s"], grafana_proof.sign(b"s", b"", "0"), "0", b"", now)

    def test_a_timestamp_cannot_be_taken_away(self) -> None:
        with pytest.raises(Unauthenticated):
            verify_grafana([b"s"], grafana_proof.sign(b"s", b"{}", "0"), None, b"{}", 0)

    def test_a_missing_signature_is_refused(self) -> None:
        with pytest.raises(Unauthenticated, match="missing"):
            verify_grafana([b"s"], None, None, b"{}", 0)


class TestStandardWebhooks:
    def test_the_published_vector_holds(self) -> None:
        verify_standard([KEY], SIGNED, PAYLOAD, SENT_AT)

    def test_any_of_several_keys_and_signatures_is_enough(self) -> None:
        several = f"{OTHER} v2,{OTHER[3:]} {SIGNED['webhook-signature']} {OTHER}"
        headers = SIGNED | {"webhook-signature": several}
        verify_standard([b"other", KEY], headers, PAYLOAD, SENT_AT)

    @pytest.mark.parametrize("away", [-300, 300])
    def test_five_minutes_are_tolerated(self, away: int) -> None:
        verify_standard([KEY], SIGNED, PAYLOAD, SENT_AT + away)

    @pytest.mark.parametrize("away", [-301, 301])
    def test_more_is_not(self, away: int) -> None:
        with pytest.raises(Unauthenticated, match="five minutes"):
            verify_standard([KEY], SIGNED, PAYLOAD, SENT_AT + away)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("webhook-id", ""),
            ("webhook-id", "msg_other"),
            ("webhook-timestamp", ""),
            ("webhook-timestamp", "hello"),
            ("webhook-timestamp", str(SENT_AT + 1)),
            ("webhook-timestamp", "9" * 5000),
            ("webhook-signature", ""),
            ("webhook-signature", "v1,"),
            ("webhook-signature", "v1,dawfeoifkpqwoekfpqoekf"),
            ("webhook-signature", SIGNED["webhook-signature"][:8]),
            ("webhook-signature", SIGNED["webhook-signature"].replace("v1", "v2")),
        ],
    )
    def test_anything_else_is_refused(self, name: str, value: str) -> None:
        with pytest.raises(Unauthenticated):
            verify_standard([KEY], SIGNED | {name: value}, PAYLOAD, SENT_AT)

    def test_a_secret_is_the_same_with_and_without_its_prefix(self) -> None:
        assert standard_webhooks.key("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") == KEY


class TestSecrets:
    def test_secrets_are_separated_by_commas_or_newlines(self) -> None:
        settings = ReceiverSettings.read({"GITHUB_WEBHOOK_SECRETS": " one ,two\nthree four\n"})
        assert settings.secrets["github"] == (b"one", b"two", b"three four")

    def test_sources_without_a_secret_are_refused_unless_the_unsigned_are_allowed(self) -> None:
        environ = {"GITHUB_WEBHOOK_SECRETS": "s"}
        emitted = ReceiverSettings.read(environ).sources()
        assert (emitted["github"], emitted["pm"]) == ("configured", "refused")
        emitted = ReceiverSettings.read(environ | {"ALLOW_UNSIGNED": "true"}).sources()
        assert (emitted["github"], emitted["pm"]) == ("configured", "unsigned")

    @pytest.mark.parametrize("secret", ["whsec_", "whsec_!", "not base64"])
    def test_a_bad_secret_is_named_and_not_shown(self, secret: str) -> None:
        with pytest.raises(BadSetting, match="PM_WEBHOOK_SECRETS") as caught:
            ReceiverSettings.read({"PM_WEBHOOK_SECRETS": secret}).sources()
        assert "not base64" not in str(caught.value)

    def test_secrets_are_not_in_the_settings_text(self) -> None:
        assert "hush" not in repr(ReceiverSettings.read({"GITHUB_WEBHOOK_SECRETS": "hush"}))
