"""Codes, words and originals: the rules that all bounce formats share."""

import pytest

from shared.domain.bounce.codes import CATEGORIES, code_for, enhanced_codes, reply_class, status_of, type_of
from shared.domain.bounce.diagnosis import diagnose, kept
from shared.domain.bounce.mailboxes import mailbox, mailboxes
from shared.domain.bounce.notice import split_notice
from shared.domain.bounce.originals import read_originals
from shared.domain.bounce.reading import read_bounce
from shared.domain.bounce.report import MAX_DIAGNOSTIC, BounceType, Category, Kind


class TestCodes:
    @pytest.mark.parametrize(
        ("text", "codes"),
        [
            ("550 5.1.1 no such user", ["5.1.1"]),
            ("550-5.7.26 x\n550 5.7.26 y", ["5.7.26", "5.7.26"]),
            ("host 192.5.1.10 said", []),
            ("from 5.1.1.9 and 10.5.2.2", []),
            ("(#5.4.4)", ["5.4.4"]),
            ("version 4.97.1", []),
            ("2.0.0 ok, then 4.2.2", ["2.0.0", "4.2.2"]),
        ],
    )
    def test_are_found_but_addresses_are_none(self, text: str, codes: list[str]) -> None:
        """An IP address read as a status would make a soft bounce hard."""
        assert enhanced_codes(text) == codes

    @pytest.mark.parametrize(
        ("value", "code"),
        [("5.1.1", "5.1.1"), (" 4.4.7 (expired)", "4.4.7"), ("5.01.001", "5.1.1"), ("9.1.1", ""), ("", "")],
    )
    def test_status_fields_are_read_leniently(self, value: str, code: str) -> None:
        """RFC 3464 §2.3.4 allows a comment; hosts pad with zeros."""
        assert status_of(value) == code

    @pytest.mark.parametrize(
        ("text", "its_class"), [("550 no", "5"), ("port 25; 421 busy", "4"), ("1550 x", ""), ("", "")]
    )
    def test_a_reply_code_gives_the_class(self, text: str, its_class: str) -> None:
        """Hosts without enhanced codes still say whether it is for ever."""
        assert reply_class(text) == its_class

    def test_every_detail_has_a_category_of_the_closed_list(self) -> None:
        """Webhook consumers switch over categories: a new one would fall through."""
        assert set(CATEGORIES.values()) <= set(Category)
        assert all(type_of("5.0.0", each) in BounceType for each in Category)

    @pytest.mark.parametrize("category", list(Category))
    def test_a_made_code_keeps_the_class_that_is_known(self, category: Category) -> None:
        """A host that said 450 must not become 5.1.1."""
        assert code_for(category, "4").startswith("4.")


class TestDiagnose:
    @pytest.mark.parametrize(
        ("words", "status", "code", "category", "kind"),
        [
            ("smtp; 550 5.1.1 unknown", "5.0.0", "5.1.1", "unknown_user", "hard"),
            ("550 5.2.2 over quota", "5.1.1", "5.1.1", "unknown_user", "hard"),
            ("mailbox is full", "5.0.0", "5.0.0", "mailbox_full", "soft"),
            ("450 4.2.0 Greylisted, try again later", "4.2.0", "4.2.0", "system", "soft"),
            ("550 <spam@spam.test>: no such user", "", "5.1.1", "unknown_user", "hard"),
            ("554 Your IP is on the Spamhaus block list", "", "5.7.1", "spam_block", "hard"),
            ("connect to mail.dest.test: Connection timed out", "4.4.1", "4.4.1", "connection", "soft"),
            ("", "5.7.1", "5.7.1", "policy", "hard"),
            ("", "", "", "other", "undetermined"),
            ("something else entirely", "", "", "other", "undetermined"),
        ],
    )
    def test_judges(self, words: str, status: str, code: str, category: str, kind: str) -> None:
        """A telling status wins, a generic one gives way to the host's words."""
        judged = diagnose(words, status=status)

        assert (judged.code, judged.category.value, judged.type.value) == (code, category, kind)

    def test_what_is_kept_is_one_bounded_line(self) -> None:
        """A diagnostic stands in events and pages; it comes from strangers."""
        assert kept("a\r\nb\x1b[2J" + "c" * 9000).startswith("a b [2Jc")
        assert len(kept("c" * 9000)) == MAX_DIAGNOSTIC


class TestMailboxes:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("<User@Dest.Test>", "User@dest.test"),
            ("smtp:user@dest.test", "user@dest.test"),
            ("dda:SMTP=user@dest.test;", "user@dest.test"),
            ("user@dest.test.", "user@dest.test"),
            ("MAILER-DAEMON@dest.test", ""),
            ("user@localhost", "user@localhost"),
            ("a@b@c.test", ""),
            ("<a\nb@c.test>", "b@c.test"),
            ("", ""),
        ],
    )
    def test_one(self, text: str, address: str) -> None:
        """What comes out must be safe to compare with the address we sent to."""
        assert mailbox(text) == address

    def test_all_of_a_line(self) -> None:
        """A list of failed recipients may stand on one line."""
        assert mailboxes("a@dest.test, <b@dest.test>; no@ @no") == ["a@dest.test", "b@dest.test"]


class TestOriginals:
    def test_only_the_head_of_the_returned_message_counts(self) -> None:
        """Postal takes any header quoted anywhere: whoever answers marks a message bounced."""
        returned = b"Message-ID: <one@app.test>\r\n\r\nMessage-ID: <two@app.test>\r\nX-Postal-MsgID: abc\r\n"

        found = read_originals([returned])

        assert (list(found.message_ids), list(found.tokens)) == (["one@app.test"], [])

    def test_an_answer_that_quotes_names_nothing(self) -> None:
        """The same, for the whole mail."""
        quoted = b"> Message-ID: <one@app.test>\r\n> X-Postal-MsgID: abc\r\n> To: x\r\n"
        raw = b"From: user@dest.test\r\nSubject: Re: hi\r\n\r\n" + quoted

        reading = read_bounce(raw)

        assert (reading.kind, reading.originals.message_ids, reading.originals.tokens) == (Kind.OTHER, (), ())


class TestSplitNotice:
    def test_addresses_of_the_returned_message_are_no_recipients(self) -> None:
        """Everybody in To and Cc of the original would otherwise have bounced."""
        notice = split_notice(["failed: a@dest.test", "", "From: x@app.test", "To: b@dest.test", "Cc: c@dest.test", ""])

        assert list(notice.lines) == ["failed: a@dest.test", ""]
        assert "b@dest.test" in notice.returned

    def test_one_labelled_line_is_no_returned_message(self) -> None:
        """Notices label lines too: ``To: user@…`` may be the failed recipient."""
        assert split_notice(["Could not deliver.", "To: a@dest.test", "Reason: full"]).returned == ""
