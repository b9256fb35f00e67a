"""Message-IDs that name their message."""

import uuid

import pytest

from shared.domain.ids import MAX_MESSAGE_ID, MessageId
from shared.domain.message_names import named_by_message_id, new_message_id

UNIQUE = uuid.UUID("52c1ba27-9d6f-4a0e-8d0e-6a2f3a1c9b77")


class TestNewMessageId:
    @pytest.mark.parametrize("number", [1, 0x0F3C1A5E2B41, MAX_MESSAGE_ID - 1])
    def test_names_the_message_of_the_one_recipient(self, number: int) -> None:
        """What is written can be read again."""
        name = new_message_id(UNIQUE, [MessageId(number)], "rp.test")

        assert name.startswith(f"{UNIQUE}.")
        assert name.endswith("@rp.test")
        assert named_by_message_id(name) == number

    def test_names_none_of_several(self) -> None:
        """All of them see it, and none may speak for another."""
        name = new_message_id(UNIQUE, [MessageId(5), MessageId(6)], "rp.test")

        assert name == f"{UNIQUE}@rp.test"
        assert named_by_message_id(name) is None


class TestNamedByMessageId:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "order-1@shop.test",
            f"{UNIQUE}.@rp.test",
            f"{UNIQUE}.00000000000000@rp.test",
            f"{UNIQUE}.ffffffffffffff@rp.test",
            f"{UNIQUE}.0000f3c1a5e2b41@rp.test",
            f"x{UNIQUE}.000f3c1a5e2b41@rp.test",
        ],
    )
    def test_others_name_nothing(self, text: str) -> None:
        """A customer's own, and what is no number of a message."""
        assert named_by_message_id(text) is None
