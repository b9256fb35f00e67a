"""Checks of DKIM signatures, with dkimpy, against records from a table instead of the DNS."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dkim


@dataclass(frozen=True, slots=True)
class Signature:
    """One DKIM-Signature field of a mail and whether it verifies (RFC 6376 §6)."""

    algorithm: str
    domain: str
    selector: str
    verified: bool
    problem: str = ""


def signatures(raw: bytes, published: Mapping[str, str]) -> Sequence[Signature]:
    """Return the signatures of a mail, first to last.

    Args:
        raw: the mail as received, CRLF.
        published: TXT records by lower-case name without final dot.
    """

    def look_up(name: bytes, timeout: int = 5) -> bytes:  # noqa: ARG001  # dkimpy's signature
        return published.get(name.decode("ascii").rstrip(".").lower(), "").encode()

    found = []
    signed = dkim.DKIM(raw)
    count = sum(name.lower() == b"dkim-signature" for name, _ in signed.headers)
    for number in range(count):
        problem = ""
        try:
            verified = bool(signed.verify(idx=number, dnsfunc=look_up))
        except dkim.DKIMException as exc:
            verified, problem = False, str(exc)
        tags = _tags(raw, number)
        found.append(Signature(tags.get("a", ""), tags.get("d", ""), tags.get("s", ""), verified, problem))
    return found


def _tags(raw: bytes, number: int) -> Mapping[str, str]:
    fields = [value for name, value in dkim.DKIM(raw).headers if name.lower() == b"dkim-signature"]
    value = "".join(fields[number].decode("ascii", "replace").split())
    return dict(tag.split("=", 1) for tag in value.split(";") if "=" in tag)
