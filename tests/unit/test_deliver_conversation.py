from shared.domain.replies import Reply
from smtp_node.deliver.conversation import Conversation


class TestConversation:
    def test_reads_like_the_wire(self) -> None:
        """Whoever asks why a message failed reads what was said."""
        conversation = Conversation()
        conversation.note("connecting")
        conversation.reply(Reply(220, "mx"))
        conversation.command("EHLO me")
        conversation.reply(Reply(250, "mx\nSIZE 1"))

        assert str(conversation) == "* connecting\nS: 220 mx\nC: EHLO me\nS: 250-mx\nS: 250 SIZE 1"

    def test_keeps_start_and_end(self) -> None:
        """A talkative host must not push out the reply that explains the failure."""
        conversation = Conversation()
        for number in range(2000):
            conversation.reply(Reply(250, f"line {number} ü"))
        conversation.reply(Reply(550, "x" * 5000))

        shown = str(conversation)
        assert shown.startswith("S: 250 line 0 ü\n")
        assert shown.splitlines()[-1].startswith("S: 550 xxx")
        assert "\n* …\n" in shown
        assert len(shown.encode()) <= 8192
