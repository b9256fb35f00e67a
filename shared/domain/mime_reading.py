"""A message taken apart for showing: never fails, never takes long, whatever it holds.

Python's parser takes seconds to minutes for some messages of under a megabyte and
dies of 300 nested multiparts.  This one walks the bytes once per level without
recursion, and stops at the limits below: what lies beyond them is left out.
"""

from binascii import a2b_qp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.domain.headers import MAX_FIELDS, MAX_HEAD_BYTES, decoded
from shared.domain.mime_encoding import lenient_base64
from shared.domain.mime_parameters import parse, text_of

MAX_DEPTH = 20
MAX_PARTS = 500
MAX_DELIMITERS = 5000
"""Lines looked at that begin like a boundary, in the whole message."""

MAX_PART_HEAD_BYTES = 64 * 1024
MAX_BOUNDARY = 200
"""RFC 2046 §5.1.1 allows 70."""


@dataclass(frozen=True, slots=True)
class ReadAttachment:
    """A part with a file name, or marked as an attachment."""

    filename: str
    content_type: str
    content: bytes
    """Decoded."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a person sees of a message: the first text of each kind, and the files."""

    plain: str | None
    """With LF line ends, as Postal gives it."""

    html: str | None
    attachments: Sequence[ReadAttachment]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part that is no multipart, and where it stands in the message."""

    content_type: str
    parameters: Mapping[str, str]
    """Of Content-Type."""

    filename: str
    attached: bool
    encoding: str
    """Content-Transfer-Encoding in lower case; empty if there is none."""

    head_at: int
    start: int
    """Of the body; the head and its empty line lie between."""

    end: int

    @property
    def charset(self) -> str:
        """As the part names it; empty if it does not."""
        return self.parameters.get("charset", "")

    def content(self, raw: bytes) -> bytes:
        """Return the part's bytes, decoded."""
        body = raw[self.start : self.end]
        match self.encoding:
            case "base64":
                return lenient_base64(body.decode("latin-1"))
            case "quoted-printable":
                return a2b_qp(body)
            case _:
                return body

    def text(self, raw: bytes) -> str:
        """Return the part as text with LF line ends."""
        text = text_of(self.content(raw), self.charset)
        return text.replace("\r\n", "\n").replace("\r", "\n")


def contents(raw: bytes) -> Contents:
    """Return the texts and attachments of a message.

    As Postal's (Mail::Message#text_part): the first text/plain and text/html that
    are no attachments; None where there is none.  A forwarded message
    (message/rfc822) is one attachment.
    """
    found = list(leaves(raw))
    return Contents(
        plain=_first_text(found, raw, "text/plain"),
        html=_first_text(found, raw, "text/html"),
        attachments=[
            ReadAttachment(leaf.filename, leaf.content_type, leaf.content(raw)) for leaf in found if leaf.attached
        ],
    )


def header_texts(raw: bytes) -> Mapping[str, Sequence[str]]:
    """Return all header values, decoded, under their lower-case names, in order."""
    head_end, _ = _head(raw, 0, len(raw), MAX_HEAD_BYTES)
    found: dict[str, list[str]] = {}
    for name, value in _fields(raw[:head_end]):
        found.setdefault(name, []).append(decoded(value))
    return found


def _first_text(found: Sequence[Leaf], raw: bytes, content_type: str) -> str | None:
    return next((leaf.text(raw) for leaf in found if leaf.content_type == content_type and not leaf.attached), None)


def leaves(raw: bytes, *, sealed: frozenset[str] = frozenset()) -> Iterator[Leaf]:
    """Yield the parts that are no multiparts, in the order of the message.

    Args:
        raw: the whole message.
        sealed: multipart types that are left out with all that is in them.
    """
    waiting = [(0, len(raw), 0, "text/plain")]
    budget = _Budget()
    while waiting:
        start, end, depth, default_type = waiting.pop()
        budget.parts += 1
        if budget.parts > MAX_PARTS:
            return
        head_end, body_at = _head(raw, start, end, MAX_PART_HEAD_BYTES if depth else MAX_HEAD_BYTES)
        fields = dict(reversed([*_fields(raw[start:head_end])]))
        content_type, parameters = parse(fields.get("content-type", b""))
        content_type = content_type if "/" in content_type else default_type
        boundary = parameters.get("boundary", "")
        if content_type.startswith("multipart/") and boundary:
            if depth < MAX_DEPTH and content_type not in sealed:
                # RFC 2046 §5.1.5: parts of a digest are messages unless they say otherwise.
                inner = "message/rfc822" if content_type == "multipart/digest" else "text/plain"
                spans = list(_spans(raw, body_at, end, boundary, budget))
                waiting.extend((part, part_end, depth + 1, inner) for part, part_end in reversed(spans))
            continue
        disposition, named = parse(fields.get("content-disposition", b""))
        filename = named.get("filename") or parameters.get("name") or ""
        yield Leaf(
            content_type=content_type,
            parameters=parameters,
            filename=filename,
            attached=bool(filename) or disposition == "attachment" or content_type.startswith("message/"),
            encoding=fields.get("content-transfer-encoding", b"").strip().lower().decode("ascii", "replace"),
            head_at=start,
            start=body_at,
            end=end,
        )


@dataclass(slots=True)
class _Budget:
    parts: int = 0
    delimiters: int = 0


def _spans(raw: bytes, start: int, end: int, boundary: str, budget: _Budget) -> Iterator[tuple[int, int]]:
    """Yield where each part of a multipart body begins and ends (RFC 2046 §5.1.1)."""
    delimiter = b"\r\n--" + boundary.encode("utf-8", "replace")[:MAX_BOUNDARY]
    part_at: int | None = None
    # The empty line before the body is the line end before a first delimiter.
    at = raw.find(delimiter, max(0, start - 2), end)
    while at >= 0 and budget.delimiters < MAX_DELIMITERS:
        budget.delimiters += 1
        after = at + len(delimiter)
        line_end = raw.find(b"\r\n", after, min(after + 100, end))
        rest = raw[after : line_end if line_end >= 0 else min(after + 100, end)]
        last = rest.startswith(b"--")
        if last or not rest.strip(b" \t"):
            if part_at is not None:
                yield part_at, max(part_at, at)
            part_at = line_end + 2 if line_end >= 0 and not last else None
            if part_at is None:
                return
            # Two delimiters may share a line end: then the part between them is empty.
            after = part_at - 2
        at = raw.find(delimiter, after, end)
    if part_at is not None:
        yield part_at, end


def _head(raw: bytes, start: int, end: int, limit: int) -> tuple[int, int]:
    """Return where the header ends and where the body begins."""
    if raw.startswith(b"\r\n", start):
        return start, min(start + 2, end)
    found = raw.find(b"\r\n\r\n", start, min(end, start + limit))
    return (found + 2, found + 4) if found >= 0 else (min(end, start + limit), end)


def _fields(head: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield lower-case names and unfolded values; a line that is no field is skipped."""
    name, lines, count = b"", [b""], 0
    for line in head.split(b"\r\n"):
        if line[:1] in (b" ", b"\t"):
            lines.append(line)
            continue
        if name:
            yield name.decode("latin-1"), b"".join(lines).strip(b" \t")
        count += 1
        if count > MAX_FIELDS:
            return
        start, colon, value = line.partition(b":")
        name = start.strip(b" \t").lower() if colon else b""
        lines = [value]
    if name:
        yield name.decode("latin-1"), b"".join(lines).strip(b" \t")
