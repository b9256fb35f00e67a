"""Feedback reports: RFC 5965's own example, hidden recipients, and what is no complaint."""

from shared.domain.bounce.reading import read_bounce
from shared.domain.bounce.report import Kind
from shared.domain.complaint import ComplaintType, read_complaint

ORIGINAL = (
    "From: Example App <app@example.com>\r\nTo: user@dest.test\r\nMessage-ID: <m1@app.example.com>\r\n"
    "X-Edgepost-Report: abcdefghijklmnop234567\r\nSubject: Your receipt\r\n\r\nThank you.\r\n"
)


def report(fields: str, *, original: str = ORIGINAL, kind: str = "message/rfc822") -> bytes:
    """Return a feedback report as RFC 5965 §2 forms it."""
    return (
        "From: Feedback <feedback@provider.test>\r\nTo: fbl@rp.example.net\r\nSubject: FW: Your receipt\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nThis is an email abuse report.\r\n"
        f"--b\r\nContent-Type: message/feedback-report\r\n\r\n{fields}"
        f"--b\r\nContent-Type: {kind}\r\n\r\n{original}--b--\r\n"
    ).encode()


ABUSE = "Feedback-Type: abuse\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1\r\n"


class TestReadComplaint:
    def test_reads_what_the_report_says(self) -> None:
        """RFC 5965 §3 and appendix B.2."""
        optional = (
            "Original-Mail-From: <rp@rp.example.net>\r\nOriginal-Rcpt-To: <user@dest.test>\r\n"
            "Arrival-Date: Thu, 1 Jan 2026 12:00:00 +0000\r\nSource-IP: 192.0.2.10\r\nIncidents: 1\r\n\r\n"
        )

        found = read_complaint(report(ABUSE + optional))

        assert found is not None
        assert (found.type, found.source, list(found.recipients)) == (
            ComplaintType.ABUSE,
            "provider.test",
            ["user@dest.test"],
        )
        assert found.source_ip == "192.0.2.10"
        assert found.arrived_at is not None
        assert found.is_against_us

    def test_a_hidden_recipient_is_found_by_our_token(self) -> None:
        """RFC 6590: reporters redact; the signed token in the returned header names the message."""
        hidden = report(ABUSE + "Original-Rcpt-To: <redacted@provider.test>\r\nOriginal-Rcpt-To: xxxxxxxx\r\n\r\n")

        found = read_complaint(hidden)

        assert found is not None
        assert found.recipients == []
        assert list(found.originals.report_tokens) == ["abcdefghijklmnop234567"]

    def test_headers_alone_suffice(self) -> None:
        """RFC 5965 §2 lets a reporter return text/rfc822-headers."""
        found = read_complaint(report(ABUSE + "\r\n", kind="text/rfc822-headers"))

        assert found is not None
        assert list(found.originals.message_ids) == ["m1@app.example.com"]

    def test_not_spam_and_failed_authentication_are_no_complaints(self) -> None:
        """RFC 6430 takes a complaint back; RFC 6591 is about forged mail: neither may suppress."""
        for kind in ("not-spam", "auth-failure"):
            found = read_complaint(report(ABUSE.replace("abuse", kind) + "\r\n"))

            assert found is not None
            assert not found.is_against_us

    def test_an_unknown_type_is_a_complaint_of_another_kind(self) -> None:
        """RFC 5965 §3.1."""
        found = read_complaint(report(ABUSE.replace("abuse", "grumble") + "\r\n"))

        assert found is not None
        assert found.type is ComplaintType.OTHER

    def test_microsofts_older_form(self) -> None:
        """JMRP sends the message itself, with the recipient in a header of its own."""
        raw = (
            "From: staff@hotmail.com\r\nSubject: complaint about message from 192.0.2.10\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
            f"X-HmXmrOriginalRecipient: user@hotmail.com\r\n{ORIGINAL}--b--\r\n"
        ).encode()

        found = read_complaint(raw)

        assert found is not None
        assert list(found.recipients) == ["user@hotmail.com"]
        assert list(found.originals.report_tokens) == ["abcdefghijklmnop234567"]

    def test_other_mail_is_none(self) -> None:
        """A person who forwards spam to us is no reporter."""
        assert read_complaint(b"From: a@b.test\r\nSubject: complaint\r\n\r\nStop it.\r\n") is None
        assert read_complaint(report("Version: 1\r\n\r\n")) is None

    def test_is_never_read_as_a_bounce(self) -> None:
        """Both come back with our message inside."""
        reading = read_bounce(report(ABUSE + "\r\n"))

        assert (reading.kind, reading.bounced) == (Kind.COMPLAINT, [])
