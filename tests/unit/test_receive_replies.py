"""The table of replies."""

import re

import pytest

from shared.domain import errors
from shared.domain.dns import LookupFailed
from shared.domain.errors import MailError, Refused, StorageUnavailable, Unavailable
from smtp_node.receive import replies
from smtp_node.receive.replies import OF_ERRORS, Reply, queued, reply_to, too_large


def leaves() -> list[type[MailError]]:
    """Return every error class of the domain that has no subclass there."""
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, MailError)]
    return [each for each in found if not any(other is not each and issubclass(other, each) for other in found)]


EVERY_REPLY = dict.fromkeys(
    [*(each for each in vars(replies).values() if isinstance(each, Reply)), *OF_ERRORS.values()]
)


class TestReplyTo:
    @pytest.mark.parametrize("kind", [*leaves(), LookupFailed], ids=lambda kind: kind.__name__)
    def test_every_error_has_its_own_reply(self, kind: type[MailError]) -> None:
        """An error nobody thought of here would be answered with the wrong words."""
        assert kind in OF_ERRORS

    @pytest.mark.parametrize("kind", leaves(), ids=lambda kind: kind.__name__)
    def test_what_may_be_repeated_is_temporary(self, kind: type[MailError]) -> None:
        """A wrong 5yz loses mail; a wrong 4yz repeats what can never work."""
        temporary = issubclass(kind, Unavailable) or kind is errors.TooManyRecipients

        assert (reply_to(kind("why")).code < 500) is temporary

    def test_unexpected_errors_are_temporary_and_say_nothing(self) -> None:
        """Not knowing is temporary, and internals are nobody's business."""
        assert reply_to(RuntimeError("secret")) == Reply(451, "4.3.0", "Temporary failure, please try again")

    def test_a_new_refusal_is_still_a_refusal(self) -> None:
        """A subclass made later gets the reply of its parent."""

        class NewRefusal(Refused):
            pass

        class NewOutage(StorageUnavailable):
            pass

        assert reply_to(NewRefusal("x")).code == 554
        assert reply_to(NewOutage("x")).code == 451


class TestReply:
    @pytest.mark.parametrize("reply", EVERY_REPLY, ids=lambda each: f"{each.code} {each.enhanced} {each.text}")
    def test_enhanced_code_fits_the_code(self, reply: Reply) -> None:
        """RFC 2034 §4: every 2yz, 4yz and 5yz has one, and its class is the code's first digit."""
        if reply.code in {334, 354}:
            assert reply.enhanced == ""
        else:
            assert re.fullmatch(rf"{reply.code // 100}\.\d\.\d{{1,2}}", reply.enhanced)

    @pytest.mark.parametrize("reply", EVERY_REPLY, ids=lambda each: f"{each.code} {each.enhanced} {each.text}")
    def test_is_one_line_of_legal_length(self, reply: Reply) -> None:
        """RFC 5321 §4.5.3.1.5: 512 bytes, CRLF at the end and nowhere else."""
        assert reply.raw.endswith(b"\r\n")
        assert reply.raw.count(b"\n") == 1
        assert len(reply.raw) <= 512

    @pytest.mark.parametrize(
        ("reply", "raw"),
        [
            (replies.OK, b"250 2.0.0 OK\r\n"),
            (replies.GO_AHEAD, b"354 Go ahead\r\n"),
            (replies.SUSPENDED, b"535 5.7.1 Mail server has been suspended\r\n"),
            (too_large(26214400), b"552 5.3.4 Message too large (maximum size 25MB)\r\n"),
            (queued(42), b"250 2.0.0 OK queued as 42\r\n"),
        ],
    )
    def test_keeps_postal_words(self, reply: Reply, raw: bytes) -> None:
        """Clients of Postal search replies for them."""
        assert reply.raw == raw
