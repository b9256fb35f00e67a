"""Batches of a queue: each record fails alone while it is read, all together while they are done."""

import logging
from collections.abc import Sequence

import pytest

from functions.batch import in_one_go
from shared.domain.errors import StorageUnavailable


def sqs(*bodies: str) -> dict[str, object]:
    """Return an event with records named 1, 2, ..."""
    return {
        "Records": [
            {"messageId": str(number), "receiptHandle": "r", "body": body, "eventSource": "aws:sqs"}
            for number, body in enumerate(bodies, 1)
        ]
    }


def failures(answer: dict[str, object]) -> list[str]:
    """Return the names of the records that failed."""
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


class TestInOneGo:
    def test_does_all_records_together_and_in_order(self) -> None:
        """One write for a hundred events costs less than a hundred writes."""
        calls: list[Sequence[int]] = []

        answer = in_one_go(sqs("1", "2", "3"), read=int, do=calls.append)

        assert calls == [[1, 2, 3]]
        assert failures(answer) == []

    def test_a_record_that_cannot_be_read_fails_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        """A poisonous record must not keep its neighbours from being recorded, and somebody must see why."""
        calls: list[Sequence[int]] = []

        answer = in_one_go(sqs("1", "two", "3"), read=int, do=calls.append)

        assert calls == [[1, 3]]
        assert failures(answer) == ["2"]
        assert [(each.message, each.record, each.levelno) for each in caplog.records] == [
            ("record_unreadable", "2", logging.ERROR)
        ]

    def test_all_fail_when_the_storage_does_not_answer(self) -> None:
        """What was not durably done must come again, all of it."""

        def do(_: Sequence[int]) -> None:
            raise StorageUnavailable("no answer")

        answer = in_one_go(sqs("1", "two", "3"), read=int, do=do)

        assert sorted(failures(answer)) == ["1", "2", "3"]

    def test_those_fail_that_the_work_names(self) -> None:
        """What was done does not come again because something else was not."""
        answer = in_one_go(sqs("1", "two", "3", "4"), read=int, do=lambda _: [0, 2])

        assert sorted(failures(answer)) == ["1", "2", "4"]

    def test_an_unexpected_error_is_raised(self) -> None:
        """Lambda then repeats the whole batch: nothing is reported as done that may not be."""

        def do(_: Sequence[int]) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            in_one_go(sqs("1"), read=int, do=do)

    def test_a_batch_in_which_nothing_can_be_read_is_reported_whole(self) -> None:
        """Powertools would raise for it by default, and Lambda would then repeat good records too."""
        assert failures(in_one_go(sqs("one", "two"), read=int, do=lambda _: None)) == ["1", "2"]

    def test_the_same_batch_twice_is_done_twice(self) -> None:
        """Nothing is remembered between batches: a second delivery is the consumer's to recognize."""
        calls: list[Sequence[int]] = []

        for _ in range(2):
            in_one_go(sqs("1", "x"), read=int, do=calls.append)

        assert calls == [[1], [1]]
