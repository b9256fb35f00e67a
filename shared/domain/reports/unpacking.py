"""The report inside a mail: plain, gzip or zip, never inflated beyond a bound.

Reporters are strangers, and 42 KB of zip can hold gigabytes.  One file counts; a zip
within a zip is none.
"""

import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO

from shared.domain.errors import InvalidValue
from shared.domain.mime_reading import leaves

MAX_PACKED_BYTES = 2 * 1024 * 1024
MAX_REPORT_BYTES = 16 * 1024 * 1024
MAX_DIRECTORY_BYTES = 16 * 1024
"""A zip's list of files; a report is one file."""

_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_END_OF_DIRECTORY = b"PK\x05\x06"
_READABLE = (b"<?xml", b"<feedback", b"{", b"\xef\xbb\xbf")


def unpacked_reports(raw: bytes) -> Iterator[bytes]:
    """Yield the reports that a mail carries, each as plain XML or JSON.

    Raises:
        InvalidValue: one is larger than it may be, or all together are, or its compression is damaged.
    """
    left = MAX_REPORT_BYTES
    for leaf in leaves(raw):
        if (leaf.end - leaf.start) > 2 * MAX_PACKED_BYTES and not leaf.content_type.startswith("text/"):
            raise InvalidValue("the attached report is too large")
        plain = unpacked(leaf.content(raw))
        left -= len(plain)
        if left < 0:
            raise InvalidValue("the attached reports are too large together")
        if plain.lstrip()[:9].startswith(_READABLE):
            yield plain


def unpacked(content: bytes) -> bytes:
    """Return the bytes without gzip or zip around them.

    Raises:
        InvalidValue: more than ``MAX_PACKED_BYTES`` packed or ``MAX_REPORT_BYTES`` plain, or damaged.
    """
    if content.startswith((_GZIP, _ZIP)) and len(content) > MAX_PACKED_BYTES:
        raise InvalidValue("the attached report is too large")
    if content.startswith(_GZIP):
        return _bounded(content)
    if content.startswith(_ZIP):
        return _first_file(content)
    if len(content) > MAX_REPORT_BYTES:
        raise InvalidValue("the attached report is too large")
    return content


def _bounded(content: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(content, MAX_REPORT_BYTES + 1)
    except zlib.error as exc:
        raise InvalidValue("the attached report is damaged") from exc
    if len(plain) > MAX_REPORT_BYTES:
        raise InvalidValue("the attached report is too large when unpacked")
    if not unpacker.eof:
        raise InvalidValue("the attached report is cut off")
    return plain


def _first_file(content: bytes) -> bytes:
    end = content.rfind(_END_OF_DIRECTORY)
    if end < 0 or int.from_bytes(content[end + 12 : end + 16], "little") > MAX_DIRECTORY_BYTES:
        raise InvalidValue("the attached report is no zip file with a single report")
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            names = [each for each in archive.infolist() if not each.is_dir()]
            if not names:
                raise InvalidValue("the attached zip file is empty")
            # What the directory says of sizes is not believed.
            with archive.open(names[0]) as packed:
                plain = packed.read(MAX_REPORT_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as exc:
        raise InvalidValue("the attached report is damaged") from exc
    if len(plain) > MAX_REPORT_BYTES:
        raise InvalidValue("the attached report is too large when unpacked")
    return plain
