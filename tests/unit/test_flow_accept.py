"""Accept: what is refused, in which order things are stored, and what a repetition gets."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.errors import (
    IdempotencyKeyReused,
    InvalidValue,
    MalformedMessage,
    MessageTooLarge,
    NoRecipients,
    SenderNotAllowed,
    ServerSuspended,
    StillInProgress,
    StorageUnavailable,
    TooManyRecipients,
)
from shared.domain.headers import split_head
from shared.flow.accept import IN_PROGRESS_FOR
from shared.ports import Put
from tests.fakes.installation import RAW, Installation, install


def with_from(value: str) -> bytes:
    """Return the sample message with another From value."""
    return RAW.replace(b"App <app@example.test>", value.encode())


class Stuck(random.Random):
    """Randomness that draws the same id for its first two messages."""

    drawn = 0

    def sample(self, population: Sequence[int], k: int) -> list[int]:  # type: ignore[override]
        """Return 7 twice, then what chance brings."""
        self.drawn += 1
        return [7] if self.drawn <= 2 else super().sample(population, k)


class FailingRecords:
    """Records that stop answering after some puts, as a killed process would."""

    def __init__(self, inner: object, puts: int) -> None:
        self._inner = inner
        self._left = puts

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def put(self, put: Put) -> bool:
        """Put while there are puts left."""
        if self._left == 0:
            raise StorageUnavailable("gone")
        self._left -= 1
        return await self._inner.put(put)  # type: ignore[attr-defined, no-any-return]


class TestAccept:
    async def test_stores_body_job_and_record(self) -> None:
        """An accepted message can be delivered by what is stored alone."""
        here = await install()

        answer = await here.accept("user@dest.test")

        [(job, _)] = await here.take_jobs()
        message = await here.message(answer.messages["user@dest.test"].id)
        assert (job.message_id, job.attempt, job.target.domain) == (message.id, 1, "dest.test")
        assert await here.bodies.get(message.body_key) == RAW
        assert (message.subject, message.message_id, message.domain) == ("Hello", "one@example.test", "example.test")
        assert answer.message_id == "one@example.test"

    async def test_fifty_recipients_share_one_body(self) -> None:
        """A body is stored once however many recipients there are."""
        here = await install()
        names = [f"user{n}@dest.test" for n in range(50)]

        answer = await here.accept(*names)

        stored = [await here.message(each.id) for each in answer.messages.values()]
        assert len({message.body_key for message in stored}) == 1
        assert len({message.id for message in stored}) == 50
        assert [message.rcpt_to for message in stored] == names

    async def test_a_recipient_named_twice_gets_one_message(self) -> None:
        """Postal sends twice; nobody wants that."""
        here = await install()

        answer = await here.accept("a@dest.test", "A@DEST.test", "a@dest.test")

        assert list(answer.messages) == ["a@dest.test"]

    async def test_date_and_message_id_are_fixed_once(self) -> None:
        """Every attempt and every recipient must show the same Date and Message-ID."""
        here = await install()
        bare = RAW.split(b"Date:")[0] + b"\r\nHi.\r\n"

        message = await here.accept_one(raw=bare)

        head = split_head(await here.bodies.get(message.body_key) or b"")
        assert head.text(b"Message-ID") == f"<{message.message_id}>"
        assert head.text(b"Date") == "Thu, 01 Jan 2026 12:00:00 +0000"

    async def test_bcc_and_our_own_fields_are_taken_out(self) -> None:
        """Bcc recipients must not be told to the others, and our switches are not mail."""
        here = await install()
        added = (
            b"Bcc: secret@dest.test\r\nX-Edgepost-Track: opens=no\r\nX-Postal-Tag: welcome\r\nIdempotency-Key: k\r\n"
        )
        added += b'X-Edgepost-Metadata: {"order": "17"}\r\n'

        message = await here.accept_one(raw=added + RAW)

        assert await here.bodies.get(message.body_key) == b"X-Postal-Tag: welcome\r\n" + RAW
        assert (message.tag, message.metadata, message.track_opens) == ("welcome", {"order": "17"}, False)

    async def test_an_id_of_another_message_is_drawn_again(self) -> None:
        """Two requests of one millisecond may draw the same id: neither message may be lost."""
        here = await install()
        here.acceptance = replace(here.acceptance, rng=Stuck(7))
        first = await here.accept_one()

        answer = await here.accept("other@dest.test")

        assert answer.messages["other@dest.test"].id != first.id
        assert (await here.message(first.id)).rcpt_to == "user@dest.test"

    async def test_without_its_record_nothing_was_promised(self) -> None:
        """A crash before the records leaves a job that finds nothing, never a record without a job."""
        here = await install()
        using = replace(here.acceptance, messages=type(here.messages)(FailingRecords(here.records, 0)))  # type: ignore[arg-type]
        here.acceptance = using

        with pytest.raises(StorageUnavailable):
            await here.accept()

        assert len(await here.take_jobs()) == 1


class TestRefusals:
    async def refused(self, here: Installation, error: type[Exception], *recipients: str, **changes: object) -> None:
        """Check that nothing at all is left of a refused submission."""
        with pytest.raises(error):
            await here.accept(*recipients, **changes)
        assert await here.take_jobs() == []

    async def test_suspended_server(self) -> None:
        """A suspended server sends nothing."""
        here = await install()
        here.tenant = replace(here.tenant, server=replace(here.server, suspended_at=here.clock()))
        await self.refused(here, ServerSuspended)

    async def test_too_large(self) -> None:
        """The limit counts bytes of the whole message."""
        here = await install()
        await self.refused(here, MessageTooLarge, raw=RAW + b"x" * here.settings.max_message_bytes)

    async def test_nobody_to_send_to(self) -> None:
        """An empty list is the caller's mistake."""
        here = await install()
        await self.refused(here, NoRecipients, recipients=())

    async def test_too_many_recipients(self) -> None:
        """RCPT floods end here whichever door they came through."""
        here = await install()
        await self.refused(here, TooManyRecipients, *(f"u{n}@dest.test" for n in range(1001)))

    @pytest.mark.parametrize(
        "address", ["a\r\nRCPT TO:<evil@x.test>@b.test", "a@[127.0.0.1]", "@b.test", "a@b@c.test", "a"]
    )
    async def test_addresses_that_mean_something_to_smtp(self, address: str) -> None:
        """An address reaches the wire, so it may hold nothing but an address (CVE-2026-53533)."""
        here = await install()
        await self.refused(here, InvalidValue, address)

    @pytest.mark.parametrize(
        "raw",
        [
            RAW.replace(b"\r\n\r\nHi.", b"\nBcc: evil@x.test\r\n\r\nHi."),
            RAW.replace(b"Hello", b"Hel\rlo"),
            RAW.replace(b"Hi.", b"Hi.\n.\nMAIL FROM:<evil@x.test>"),
            RAW.replace(b"Hello", b"Hel\0lo"),
            b"From: other@evil.test\r\n" + RAW,
            b" folded first\r\n" + RAW,
            RAW.replace(b"Subject:", b"Subject :"),
            b"X: y\r\n" * 2000 + RAW,
        ],
    )
    async def test_bytes_that_parsers_read_differently(self, raw: bytes) -> None:
        """Bare line ends, NUL, repeated identity fields: smuggling and spoofing start there."""
        here = await install()
        await self.refused(here, MalformedMessage, raw=raw)

    @pytest.mark.parametrize(
        "value",
        [
            "ceo@evil.test",
            "app@example.test, ceo@evil.test",
            '"ceo@evil.test" <app@example.test>',
            "=?utf-8?q?ceo=40evil=2Etest?= <app@example.test>",
            "app@example.test)ceo@evil.test",
            "Friends: ceo@evil.test;",
            "app@(comment)evil.test",
            "nobody",
            "app@sub.example.test",
            "ceo\uff20evil.test <app@example.test>",
            "=?utf-8?q?ceo=40evil.test ?= <app@example.test>",
            "=?x-unknown?b?Y2VvQGV2aWwudGVzdA==?= <app@example.test>",
            "=?utf-8?b?Y2VvQGV2aWwudGVzdA?= <app@example.test>",
            "=?utf-8?b?Y2VvQGV2aWwudGVzdA ?= <app@example.test>",
            "=?utf-8?b?YQ==Y2VvQGV2aWwudGVzdA==?= <app@example.test>",
            "=?utf-8?q?ceo=40evil.test \u00fc?= <app@example.test>",
        ],
    )
    async def test_any_address_that_could_be_shown_must_be_ours(self, value: str) -> None:
        """What one parser hides another one shows (CVE-2023-27043)."""
        here = await install()
        await self.refused(here, SenderNotAllowed, raw=with_from(value))

    @pytest.mark.parametrize(
        "name",
        ["=?iso-2022-jp?b?GyRCQEBNVRsoQg==?=", "=?utf-8?q?J=C3=BCrgen?=", "=?x-unknown?q?J=FCrgen?=", "=?", "?="],
    )
    async def test_a_name_in_any_charset_is_no_address(self, name: str) -> None:
        """Two bytes of a Japanese letter may be an @ each for whoever does not know the charset."""
        here = await install()

        assert await here.accept_one(raw=with_from(f"{name} <app@example.test>"))

    async def test_a_sender_of_somebody_else(self) -> None:
        """Sender is shown by some readers as the author."""
        here = await install()
        await self.refused(here, SenderNotAllowed, raw=b"Sender: ceo@evil.test\r\n" + RAW)

    async def test_an_unverified_domain(self) -> None:
        """A domain sends only once its owner has shown that it is theirs."""
        here = await install()
        raw = with_from("app@unknown.test")
        await self.refused(here, SenderNotAllowed, raw=raw)

    async def test_sender_vouches_where_the_server_allows(self) -> None:
        """Postal's allow_sender."""
        here = await install()
        here.tenant = replace(here.tenant, server=replace(here.server, allow_sender=True))

        message = await here.accept_one(raw=b"Sender: app@example.test\r\n" + with_from("user@customer.test"))

        assert message.domain == "example.test"


class TestIdempotency:
    async def test_a_repetition_gets_the_same_answer_and_sends_nothing(self) -> None:
        """A client that did not hear the answer asks again."""
        here = await install()
        first = await here.accept("a@dest.test", "b@dest.test", idempotency_key="k1")
        await here.take_jobs()

        again = await here.accept("a@dest.test", "b@dest.test", idempotency_key="k1")

        assert (again.messages, again.message_id) == (first.messages, first.message_id)
        assert await here.take_jobs() == []

    async def test_another_request_with_the_key_is_refused(self) -> None:
        """The same key for something else is a mistake of the caller, never a second meaning."""
        here = await install()
        await here.accept(idempotency_key="k1")

        with pytest.raises(IdempotencyKeyReused):
            await here.accept(idempotency_key="k1", request_digest="other")

    async def test_the_key_may_come_in_a_header(self) -> None:
        """Through SMTP there is no other place for it."""
        here = await install()
        raw = b"Idempotency-Key: k1\r\n" + RAW

        first = await here.accept(raw=raw)
        again = await here.accept(raw=raw)

        assert again.messages == first.messages

    async def test_keys_of_two_servers_are_different_keys(self) -> None:
        """Tenants must not be able to see each other's keys."""
        here = await install()
        await here.accept(idempotency_key="k1")
        here.tenant = replace(here.tenant, server=replace(here.server, id=here.server.id + 1))

        with pytest.raises(SenderNotAllowed):
            await here.accept(idempotency_key="k1")

    async def test_at_the_same_time_one_does_the_work(self) -> None:
        """Two requests at once must not both send."""
        here = await install()

        results = await asyncio.gather(
            here.accept(idempotency_key="k1"), here.accept(idempotency_key="k1"), return_exceptions=True
        )

        assert sorted(type(result).__name__ for result in results) == ["Accepted", "StillInProgress"]
        assert len(await here.take_jobs()) == 1

    async def test_what_died_half_way_is_finished_under_the_same_ids(self) -> None:
        """No success answer means none or one message, and a repetition makes it one."""
        here = await install()
        whole = here.acceptance
        here.acceptance = replace(whole, messages=type(here.messages)(FailingRecords(here.records, 1)))  # type: ignore[arg-type]
        with pytest.raises(StorageUnavailable):
            await here.accept("a@dest.test", "b@dest.test", idempotency_key="k1")
        here.acceptance = whole

        with pytest.raises(StillInProgress):
            await here.accept("a@dest.test", "b@dest.test", idempotency_key="k1")
        here.clock.advance(IN_PROGRESS_FOR + timedelta(seconds=1))
        answer = await here.accept("a@dest.test", "b@dest.test", idempotency_key="k1")

        jobs = {job.message_id for job, _ in await here.take_jobs()}
        assert jobs == {each.id for each in answer.messages.values()}
        assert len(jobs) == 2

    async def test_a_key_is_free_again_after_seven_days(self) -> None:
        """Reservations do not pile up for ever."""
        here = await install()
        first = await here.accept(idempotency_key="k1")
        here.clock.advance(timedelta(days=7, seconds=1))

        again = await here.accept(idempotency_key="k1")

        assert again.messages != first.messages


class TestMetadata:
    @pytest.mark.parametrize("value", ["[]", "{", '{"a": 1}', '{"a": "' + "x" * 501 + '"}', "[" * 100_000])
    async def test_metadata_that_makes_no_sense_is_refused(self, value: str) -> None:
        """Silently dropped metadata would be missed only weeks later."""
        here = await install()
        with pytest.raises((InvalidValue, MalformedMessage)):
            await here.accept(raw=b"X-Edgepost-Metadata: " + value.encode() + b"\r\n" + RAW)
        assert await here.take_jobs() == []
