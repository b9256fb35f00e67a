"""How many copies of a large message each stage makes: counted by tracemalloc, its input not included."""

import base64
import gc
import json
import random
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functions.api.transport import json_parameters
from shared.adapters.body_codec import BodyCodec
from shared.domain.bounce.reading import read_bounce
from shared.domain.headers import split_head, with_crlf
from shared.domain.letter import read_letter
from shared.domain.mime import Attachment, build
from shared.flow.reserve_incoming import fingerprint
from smtp_node.authentication.digests import Digests
from smtp_node.authentication.sign import sign
from smtp_node.deliver.letter import letter, wire_blocks
from smtp_node.deliver.tracking.rewrite import rewritten
from smtp_node.receive.content import Content
from smtp_node.receive.gate import MemoryBudget
from smtp_node.receive.taking import digest_of
from tests.fakes.marking import marking
from tests.unit.test_dkim_sign import AT, KEYS

SIZE_BYTES = 10_000_000
NOISE = random.Random(3).randbytes(SIZE_BYTES * 3 // 4)
TEXT = base64.encodebytes(NOISE[: SIZE_BYTES * 57 // 78]).replace(b"\n", b"\r\n")
RAW = b"From: App <app@example.test>\r\nTo: user@dest.test\r\nSubject: Large\r\n\r\n" + TEXT
BCC = b"Bcc: a@dest.test\r\n" + RAW
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def copies(work: Callable[[], Any]) -> float:
    """Return the peak of what the work allocates, its result included, in messages."""
    gc.collect()
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1] / SIZE_BYTES
    finally:
        tracemalloc.stop()
        del result


def json_of(parameters: object) -> bytes:
    """Return a request's body."""
    return json.dumps(parameters).encode()


class TestAPI:
    def test_a_raw_message_is_decoded_in_place(self) -> None:
        """Body and message: nothing between them."""
        body = json_of({"rcpt_to": ["user@dest.test"], "data": base64.b64encode(RAW).decode()})

        assert copies(lambda: json_parameters(body)) < 1.1

    def test_base64_in_lines_is_too(self) -> None:
        """Ruby's encode64 breaks lines, PHP escapes slashes."""
        data = base64.encodebytes(RAW).decode()
        body = json_of({"rcpt_to": ["user@dest.test"], "data": data}).replace(b"/", b"\\/")

        assert copies(lambda: json_parameters(body)) < 2.1

    def test_attachments_are_decoded_in_place(self) -> None:
        """Three quarters of a copy are the files."""
        body = json_of({"attachments": [{"name": "a", "data": base64.b64encode(NOISE).decode()}]})

        assert copies(lambda: json_parameters(body)) < 0.85

    def test_line_ends_that_are_right_stay(self) -> None:
        """A message that is as it should be is not copied to find that out."""
        assert copies(lambda: with_crlf(RAW)) < 0.01

    def test_a_message_is_built_in_one_buffer(self) -> None:
        """It may grow by an eighth more than it needs."""
        attached = [Attachment("a", NOISE)]

        assert copies(lambda: build([], plain="x", html="", attachments=attached, rng=random.Random(1))) < 1.3


class TestAccept:
    @pytest.mark.parametrize("raw", [RAW, BCC], ids=["fields added", "fields taken out"])
    def test_a_changed_head_costs_one_copy(self, raw: bytes) -> None:
        """At most; a message with Date and Message-ID and nothing to hide is stored as it came."""
        complete = b"Date: x\r\nMessage-ID: <a@b>\r\n" + RAW

        assert copies(lambda: read_letter(raw, now=NOW, new_message_id="x@example.test")) < 1.1
        assert copies(lambda: read_letter(complete, now=NOW, new_message_id="x@example.test")) < 0.01

    def test_compressed_bytes_are_never_there_as_a_whole(self, tmp_path: Path) -> None:
        """They go to the file in blocks, and come from it likewise."""
        codec, path = BodyCodec(), tmp_path / "body"

        def stored() -> None:
            with path.open("wb", buffering=0) as file:
                file.writelines(codec.pack_in_blocks(RAW))

        def read() -> bytes:
            with path.open("rb", buffering=0) as file:
                return codec.unpack_file(file, len(RAW), codec.digest(RAW))

        assert copies(stored) < 0.2
        assert copies(read) < 1.2
        assert read() == RAW


class TestReceive:
    def test_a_message_is_gathered_and_taken_in_two_copies(self) -> None:
        """The buffer, and the bytes that come out of it."""

        def received() -> bytes:
            content = Content(SIZE_BYTES * 2, MemoryBudget(SIZE_BYTES * 2))
            for at in range(0, len(RAW), 65_536):
                content.feed(RAW[at : at + 65_536])
            content.feed(b".\r\n")
            return content.take()

        assert copies(received) < 2.2

    def test_hashing_copies_nothing(self) -> None:
        """The envelope is hashed first, then the message where it is."""
        assert copies(lambda: digest_of("a@example.test", ["b@dest.test"], RAW)) < 0.01

    @pytest.mark.parametrize("form", ["relaxed", "simple"])
    def test_checking_signatures_goes_over_blocks(self, form: str) -> None:
        """As signing does; the mail itself is there already."""
        assert copies(lambda: Digests(RAW, split_head(RAW)).body_hash(form, None)) < 0.2
        assert copies(lambda: Digests(RAW, split_head(RAW)).body_hash(form, 1000)) < 0.2

    def test_recognising_and_reading_copies_a_part(self) -> None:
        """A repeated mail is known by its hash; of a bounce the text is bounded."""
        assert copies(lambda: fingerprint(b"Message-ID: <a@b>\r\n" + RAW)) < 1.1
        assert copies(lambda: read_bounce(RAW)) < 0.2


class TestDeliver:
    def test_signing_goes_over_blocks(self) -> None:
        """The canonical form is only ever there for a block."""
        assert copies(lambda: sign(RAW, KEYS, at=AT)) < 0.2

    def test_tracking_makes_one_copy_of_what_it_changes(self) -> None:
        """And none of what it does not."""
        head, _, body = RAW.partition(b"\r\n\r\n")
        html = (
            head + b"\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
            b'Content-Type: text/html\r\n\r\n<a href="https://a.test/">a</a>\r\n--b\r\n'
            b"Content-Type: image/png\r\nContent-Disposition: attachment\r\n\r\n" + body + b"\r\n--b--\r\n"
        )

        assert rewritten(html, marking()) != html
        assert copies(lambda: rewritten(html, marking())) < 1.1
        assert copies(lambda: rewritten(RAW, marking())) < 0.1

    def test_writing_goes_over_blocks(self) -> None:
        """What was added to the message is not joined with it."""
        added = b"DKIM-Signature: x\r\n"

        def written() -> int:
            checked = letter("", "user@dest.test", RAW, added=added)
            return checked.size_bytes + sum(map(len, wire_blocks(checked.raw, added=checked.added)))

        assert copies(written) < 0.1
