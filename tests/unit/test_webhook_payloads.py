"""What webhooks say: our own dialect keeps to its schemas, Postal's is Postal's."""

import base64
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from shared.domain.errors import InvalidValue
from shared.domain.event import Event, EventKind
from shared.domain.event_names import EDGEPOST_NAMES, POSTAL_NAMES, Dialect, kind_named
from shared.domain.event_schemas import WHEN, event_schema
from shared.domain.ids import EndpointId, MessageId, OrganizationId, ServerId
from shared.domain.notice import Notice
from shared.domain.parcel import MAX_BYTES, Parcel, pack
from shared.domain.postal_signature import PostalSigner, new_private_key
from shared.domain.sample_event import sample_notice
from shared.domain.tenancy import Mode, Organization, Server, Tenant
from shared.domain.webhook_payload import webhook_body
from shared.domain.webhook_signature import new_secret, signature_headers
from tests.fakes.json_schema import problems

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
SERVER = Server(
    id=ServerId(7),
    organization_id=OrganizationId(1),
    name="Main & more",
    permalink="main",
    token="abcdef",
    mode=Mode.LIVE,
    created_at=NOW,
    shards=(),
)
TENANT = Tenant(SERVER, Organization(OrganizationId(1), "Acme", "acme", NOW))


def body_of(kind: EventKind, dialect: Dialect = Dialect.EDGEPOST) -> Any:
    """Return the parsed body of a sample."""
    raw = webhook_body(sample_notice(kind, TENANT, NOW), dialect)
    return None if raw is None else json.loads(raw)


class TestOurDialect:
    @pytest.mark.parametrize("kind", EventKind)
    def test_every_event_keeps_to_its_schema(self, kind: EventKind) -> None:
        """What is documented is what comes, field by field."""
        assert list(problems(body_of(kind), event_schema(kind))) == []

    @pytest.mark.parametrize("kind", EventKind)
    def test_so_it_does_when_little_is_known(self, kind: EventKind) -> None:
        """An event of an older release, of a message that is gone: the shape is the same."""
        bare = Notice(Event(kind, ServerId(7), MessageId(5), 1, NOW))

        raw = webhook_body(bare, Dialect.EDGEPOST)

        assert raw is not None
        assert list(problems(json.loads(raw), event_schema(kind))) == []

    def test_every_kind_has_a_name_of_its_own_and_a_sentence(self) -> None:
        """A new kind without them would reach nobody."""
        assert set(EDGEPOST_NAMES) == set(WHEN) == set(EventKind)
        assert len(set(EDGEPOST_NAMES.values())) == len(EventKind)

    def test_envelope_is_as_promised(self) -> None:
        """These four names are fixed, in this order, in both dialects."""
        for dialect in Dialect:
            assert list(body_of(EventKind.DELIVERED, dialect)) == ["event", "timestamp", "payload", "uuid"]

    def test_hostile_texts_stay_texts(self) -> None:
        """A remote's reply may hold anything; the body is JSON in UTF-8 all the same."""
        sample = sample_notice(EventKind.FAILED, TENANT, NOW)
        nasty = 'x"\\\r\n\x00\u2028\ud800</script>'
        notice = replace(sample, event=replace(sample.event, output=nasty, details=nasty))

        for dialect in Dialect:
            raw = webhook_body(notice, dialect)
            assert raw is not None
            assert json.loads(raw.decode())["payload"]["details"] == nasty.replace("\ud800", "?")


class TestPostalsDialect:
    def test_has_postals_events_and_no_others(self) -> None:
        """A receiver written for Postal knows these names."""
        sent = {kind: body["event"] for kind in EventKind if (body := body_of(kind, Dialect.POSTAL))}

        assert sent == dict(POSTAL_NAMES)

    def test_delivery_is_byte_for_byte_postals(self) -> None:
        """Names, order, floats and escapes as Rails writes them (delivery.rb, message.rb: webhook_hash)."""
        notice = sample_notice(EventKind.DELIVERED, TENANT, NOW)
        facts = {**(notice.message or {}), "id": 12, "subject": "Tom & <Jerry> ü"}

        raw = webhook_body(replace(notice, message=facts), Dialect.POSTAL)

        assert raw is not None
        assert raw.decode() == (
            '{"event":"MessageSent","timestamp":1772366400.25,"payload":{"message":{"id":12,'
            '"token":"sampleSAMPLE1234","direction":"outgoing","message_id":"sample@example.com",'
            '"to":"recipient@example.net","from":"app@example.com",'
            '"subject":"Tom \\u0026 \\u003cJerry\\u003e ü","timestamp":1772366400.25,'
            '"spam_status":"NotChecked","tag":"welcome"},"status":"Sent",'
            '"details":"Message for recipient@example.net accepted by mx.example.net",'
            '"output":"250 2.0.0 OK","sent_with_ssl":true,"timestamp":1772366400.25,"time":0.21},'
            f'"uuid":"{notice.event.id}"}}'
        )

    @pytest.mark.parametrize(
        ("kind", "names"),
        [
            (EventKind.BOUNCED, ["original_message", "bounce"]),
            (EventKind.CLICKED, ["message", "url", "token", "ip_address", "user_agent"]),
            (EventKind.OPENED, ["message", "ip_address", "user_agent"]),
            (EventKind.LIMIT_EXCEEDED, ["server", "volume", "limit"]),
        ],
    )
    def test_payloads_have_postals_names(self, kind: EventKind, names: list[str]) -> None:
        """Order included."""
        assert list(body_of(kind, Dialect.POSTAL)["payload"]) == names


class TestNames:
    def test_both_dialects_are_understood(self) -> None:
        """Who moves from Postal types the names he knows."""
        assert kind_named("MessageSent") is kind_named(" MessageDelivered ") is EventKind.DELIVERED
        with pytest.raises(InvalidValue, match="MessageDelivered"):
            kind_named("MessageTeleported")


class TestSignatures:
    def test_the_reference_library_accepts_and_refuses(self) -> None:
        """Replay, another id, another body, another secret: none passes (attack H5)."""
        now = datetime.now(UTC)  # the library looks at the clock itself
        secret, other = new_secret(random.Random(1)), new_secret(random.Random(2))
        body = b'{"event":"MessageDelivered"}'
        headers = dict(signature_headers([secret], "id-1", now, body))
        old = dict(signature_headers([secret], "id-1", now - timedelta(minutes=6), body))

        Webhook(secret).verify(body.decode(), headers)

        for wrong_secret, wrong_body, wrong_headers in (
            (other, body, headers),
            (secret, body + b" ", headers),
            (secret, body, headers | {"webhook-id": "id-2"}),
            (secret, body, headers | {"webhook-timestamp": str(int(now.timestamp()) + 1)}),
            (secret, body, old),
        ):
            with pytest.raises(WebhookVerificationError):
                Webhook(wrong_secret).verify(wrong_body.decode(), wrong_headers)

    def test_both_secrets_of_a_rotation_verify(self) -> None:
        """Whichever of the two a receiver has, it accepts."""
        old, new = new_secret(random.Random(1)), new_secret(random.Random(2))
        headers = dict(signature_headers([new, old], "id-1", datetime.now(UTC), b"{}"))

        Webhook(old).verify("{}", headers)
        Webhook(new).verify("{}", headers)

    def test_postals_are_rsa_over_the_body_with_the_published_key(self) -> None:
        """A receiver takes the key from jwks.json and checks both signatures (lib/postal/signer.rb)."""
        signer = PostalSigner.of(new_private_key())
        headers = signer.headers(b"body")
        [key] = signer.key_set()["keys"]  # type: ignore[misc]

        def number(text: str) -> int:
            return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")

        public = RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key()
        public.verify(base64.b64decode(headers["X-Postal-Signature"]), b"body", PKCS1v15(), hashes.SHA1())  # noqa: S303
        public.verify(base64.b64decode(headers["X-Postal-Signature-256"]), b"body", PKCS1v15(), hashes.SHA256())
        assert headers["X-Postal-Signature-KID"] == key["kid"]
        assert len(key["kid"]) == 64
        assert {name: key[name] for name in ("kty", "use", "alg")} == {"kty": "RSA", "use": "sig", "alg": "RS256"}


class TestParcels:
    def test_what_is_written_is_read(self) -> None:
        """They live on queues across upgrades."""
        notices = [sample_notice(kind, TENANT, NOW) for kind in EventKind]

        [parcel] = pack(notices, EndpointId(5))

        assert Parcel.from_json(parcel.to_json()) == parcel

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", '{"v":2}', '{"v":1,"parcel":"x"}', "null", '{"v":1,"notices":[1]}']
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        """A queue may hold what somebody put there by hand."""
        with pytest.raises(InvalidValue):
            Parcel.from_json(text)

    def test_large_notices_travel_in_parcels_of_their_own(self) -> None:
        """A queue takes 256 KB."""
        sample = sample_notice(EventKind.FAILED, TENANT, NOW)
        large = [
            replace(sample, event=replace(sample.event, attempt=each, output="x\ud800" * (MAX_BYTES // 9)))
            for each in range(4)
        ]

        parcels = list(pack(large, EndpointId(5)))

        assert [len(each.notices) for each in parcels] == [1, 1, 1, 1]
        assert len({each.id for each in parcels}) == 4
