"""What a letter costs in DynamoDB write units, by the documented size rules."""

from datetime import timedelta

import pytest

from bench.item_size import item_bytes, wire_bytes, write_units
from shared.domain.inspection import Inspection, Ruling
from shared.domain.message import Evidence, SpamStatus, Status
from shared.domain.outcome import Sent
from shared.flow.settle import settle
from shared.store.keys import message_key
from tests.fakes.installation import RAW, Installation, install

SOURCE = "203.0.113.25"


def conversation(mx: str, greeting: str, offered: str, said: str, recipient: str) -> str:
    """Return what the node records of one delivery over TLS."""

    def hello(lines: list[str]) -> list[str]:
        return ["C: EHLO mail.customer.example", *(f"S: 250-{each}" for each in lines[:-1]), f"S: 250 {lines[-1]}"]

    before, replies = offered.split("|"), said.split("|")
    return "\n".join([
        f"* connecting to {mx} [198.51.100.27]:25 from {SOURCE}",
        f"S: 220 {greeting}",
        *hello(before),
        "C: STARTTLS",
        "* now TLSv1.3 TLS_AES_256_GCM_SHA384",
        *hello([each for each in before if each != "STARTTLS"]),
        "C: MAIL FROM:<qwerty@rp.customer.example> SIZE=11873",
        f"S: {replies[0]}",
        f"C: RCPT TO:<{recipient}>",
        f"S: {replies[1]}",
        "C: DATA",
        f"S: {replies[2]}",
        "* <11873 bytes>",
        f"S: {replies[3]}",
    ])  # fmt: skip


GMAIL = "a640c23a62f3a-b76549e2bd1si1052812366b.487 - gsmtp"
OUTLOOK = "AM4PEPF00025F99.mail.protection.outlook.com"
CASES = {
    "gmail": conversation(
        "gmail-smtp-in.l.google.com",
        f"mx.google.com ESMTP {GMAIL}",
        "mx.google.com at your service, [203.0.113.25]|SIZE 157286400|8BITMIME|STARTTLS|ENHANCEDSTATUSCODES|PIPELINING"
        "|CHUNKING|SMTPUTF8",
        f"250 2.1.0 OK {GMAIL}|250 2.1.5 OK {GMAIL}|354 Go ahead {GMAIL}|250 2.0.0 OK  1763999999 {GMAIL}",
        "jane.doe.1984@gmail.com",
    ),
    "outlook": conversation(
        "contoso-com.mail.protection.outlook.com",
        f"{OUTLOOK} Microsoft ESMTP MAIL Service ready at Mon, 24 Nov 2025 15:59:12 +0000 [08DE2A1F5C7D3E11]",
        f"{OUTLOOK} Hello [203.0.113.25]|SIZE 157286400|PIPELINING|DSN|ENHANCEDSTATUSCODES|STARTTLS|8BITMIME|BINARYMIME"
        "|CHUNKING|SMTPUTF8",
        "250 2.1.0 Sender OK|250 2.1.5 Recipient OK|354 Start mail input; end with <CRLF>.<CRLF>"
        "|250 2.6.0 <7f3b0c52-5a2e-4a6e-8b7d-0d6f2f9f7c11@rp.customer.example> [InternalId=55143124566217,"
        " Hostname=DU0PR03MB9123.eurprd03.prod.outlook.com] 19254 bytes in 0.112, 167.220 KB/sec Queued mail for"
        " delivery -> 250 2.1.5",
        "jane.doe@contoso.com",
    ),
    "postfix": conversation(
        "mx1.firma-beispiel.de",
        "mx1.firma-beispiel.de ESMTP Postfix (Debian/GNU)",
        "mx1.firma-beispiel.de|PIPELINING|SIZE 52428800|VRFY|ETRN|STARTTLS|ENHANCEDSTATUSCODES|8BITMIME|DSN|SMTPUTF8"
        "|CHUNKING",
        "250 2.1.0 Ok|250 2.1.5 Ok|354 End data with <CR><LF>.<CR><LF>|250 2.0.0 Ok: queued as 4dF2Bk5Zz1z9sNq",
        "erika.mustermann@firma-beispiel.de",
    ),
}


def evidence(talk: str) -> tuple[Evidence, str]:
    """Return the evidence of a delivery with this conversation, and its last reply."""
    mx = talk.split()[3]
    output = talk.rsplit("\n", 1)[1].removeprefix("S: ")
    tls = "TLSv1.3 TLS_AES_256_GCM_SHA384"
    return Evidence(mx, "198.51.100.27", SOURCE, 250, output.split()[1], tls, talk), output


SCANNED = Ruling(Inspection(12.34, (), ""), SpamStatus.NOT_SPAM)


async def delivered(here: Installation, talk: str, ruling: Ruling | None = None) -> dict[str, object]:
    """Accept a letter as applications send them, deliver it, and return its item with its keys."""
    raw = RAW.replace(b"Subject: Hello", b"Subject: Your order 2026-118273 is on its way")
    raw = raw.replace(b"one@example.test", b"7f3b0c52-5a2e-4a6e-8b7d-0d6f2f9f7c11@rp.customer.example")
    recipient = talk.partition("RCPT TO:<")[2].partition(">")[0]
    message = await here.accept_one(recipient, raw=raw)
    claimed = await here.claim_one()
    seen, output = evidence(talk)
    details = f"Message for {recipient} accepted by 198.51.100.27:25 ({seen.mx}) (from {SOURCE})"
    took = timedelta(milliseconds=734)
    sent = Sent(details, output, seen)
    assert await settle(claimed, sent, took=took, ruling=ruling, using=here.settling, now=here.clock())
    key = message_key(here.server, message.direction, message.id)
    item = await here.records.get(key)
    assert item is not None
    return {"pk": key.partition, "sk": key.sort, "expires": 1_790_000_000, **item}


class TestMessageItem:
    @pytest.mark.parametrize("host", CASES)
    @pytest.mark.parametrize("ruling", [None, SCANNED], ids=["unscanned", "scanned"])
    async def test_a_settled_message_is_one_write_unit(self, host: str, ruling: Ruling | None) -> None:
        """Settling is paid by the size of the whole item: over 1 KB it would cost twice."""
        here = await install()

        item = await delivered(here, CASES[host], ruling)

        assert write_units(item_bytes(item)) == 1, item_bytes(item)

    async def test_what_is_left_out_is_read_as_it_was(self) -> None:
        """An attribute with its usual value is not stored, and nobody notices."""
        here = await install()

        await delivered(here, CASES["gmail"])

        [stored] = [item for key, (item, _) in here.records._kept.items() if key.partition.startswith("message#")]
        message, [row] = await here.messages.with_deliveries(here.server, stored["id"])  # type: ignore[misc, arg-type]
        assert {"claims", "failures", "next_at", "hold_until", "released", "tag"}.isdisjoint(stored)
        assert (message.status, message.attempt, message.claims, message.fence) == (Status.SENT, 2, 0, 1)
        assert row.evidence.conversation == CASES["gmail"]


class TestItemSize:
    def test_the_documented_rules(self) -> None:
        """AWS Developer Guide, "DynamoDB item sizes and formats"."""
        assert item_bytes({"ä": "é"}) == 4
        assert item_bytes({"n": 0}) == 2
        assert item_bytes({"n": 1000}) == 3
        assert item_bytes({"n": -123456}) == 6
        assert item_bytes({"a": None, "b": True}) == 4
        assert item_bytes({"l": ["ab", 1]}) == 1 + 3 + (1 + 2) + (1 + 2)
        assert item_bytes({"m": {"k": "v"}}) == 1 + 3 + 1 + 1 + 1

    def test_the_wire_form_counts_the_same(self) -> None:
        """What the meter sees on the wire is the same item."""
        plain = {"s": "text", "n": 42, "l": ["a", 7], "m": {"k": False}, "z": None}
        wire = {
            "s": {"S": "text"},
            "n": {"N": "42"},
            "l": {"L": [{"S": "a"}, {"N": "7"}]},
            "m": {"M": {"k": {"BOOL": False}}},
            "z": {"NULL": True},
        }

        assert wire_bytes(wire) == item_bytes(plain)
