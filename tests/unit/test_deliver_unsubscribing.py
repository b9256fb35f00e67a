"""List-Unsubscribe and Feedback-ID stand in a message that asks for them, and in no other."""

from shared.tokens import UNSUBSCRIBE, Named, Tokens, rotated
from smtp_node.deliver.unsubscribing import Unsubscribing, feedback_id, with_unsubscribing

TOKENS = Tokens(rotated(None, lambda size: bytes(range(size))))
NAMED = Named(7, 4096)
HOW = Unsubscribing(TOKENS, NAMED, "t.example.com", "https://t.example.com", "abc@rp.test", "all:main:acme:edgepost")
ASKING = b"From: a@x.test\r\nX-Edgepost-List-Unsubscribe: yes\r\nSubject: Hi\r\n\r\nX-Edgepost-List-Unsubscribe: no\r\n"
BARE = b"From: a@x.test\r\nSubject: Hi\r\n\r\nX-Edgepost-List-Unsubscribe: no\r\n"


class TestWithUnsubscribing:
    def test_both_ways_are_given(self) -> None:
        """RFC 8058 §3.1 and RFC 2369 §3.2; the link is one that the unsubscribe function takes."""
        raw = with_unsubscribing(ASKING, HOW)

        added = raw.removesuffix(BARE).decode()
        url = added.partition("<")[2].partition(">")[0]
        assert raw.endswith(BARE)
        assert TOKENS.read(UNSUBSCRIBE, "t.example.com", url.rpartition("/u/")[2]) == NAMED
        assert "<mailto:unsubscribe+abc@rp.test?subject=unsubscribe>" in added
        assert "\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in added
        assert "Feedback-ID: all:main:acme:edgepost\r\n" in added

    def test_without_a_host_there_is_the_address(self) -> None:
        """A link to nowhere would be worse than none."""
        how = Unsubscribing(TOKENS, NAMED, "", "", "abc@rp.test", "f")

        raw = with_unsubscribing(ASKING, how)

        assert raw.startswith(
            b"List-Unsubscribe: <mailto:unsubscribe+abc@rp.test?subject=unsubscribe>\r\nFeedback-ID: f\r\n"
        )

    def test_what_the_customer_wrote_wins(self) -> None:
        """Two fields would be read as one or the other."""
        own = b"List-Unsubscribe: <https://x.test/u>\r\nfeedback-id: mine\r\n"

        assert with_unsubscribing(own + ASKING, HOW) == own + BARE

    def test_other_messages_stay_as_they_are(self) -> None:
        """Also those that quote the field in their body, and those that say no."""
        assert with_unsubscribing(BARE, HOW) is BARE
        assert with_unsubscribing(ASKING.replace(b"yes", b"no", 1), HOW) == BARE
        assert with_unsubscribing(ASKING, None) == BARE


class TestFeedbackId:
    def test_a_tag_cannot_forge_its_neighbours(self) -> None:
        """Colons part the fields, and line ends a header."""
        assert feedback_id("a:b\r\nBcc: c", "main", "acme") == "abBccc:main:acme:edgepost"
        assert feedback_id("", "main", "acme") == "all:main:acme:edgepost"
