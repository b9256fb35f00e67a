"""DKIM signatures of incoming mail (RFC 6376 §6).

Everything here is the sender's: how many signatures there are, how large keys are,
which names are asked for.  So all of it is counted and measured.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.dns import LookupFailed
from shared.domain.headers import Head, HeaderField
from smtp_node.authentication.digests import RELAXED, SIMPLE, Digests
from smtp_node.authentication.lookups import Lookups
from smtp_node.authentication.public_keys import ALGORITHMS, find_key
from smtp_node.authentication.results import DKIMResult, Verdict
from smtp_node.authentication.tags import BadTags, compact, decoded, read_tags

MAX_SIGNATURES = 8
"""The first ones count: RFC 6376 §8.4 lets a verifier stop."""

MAX_NAMES = 300
MAX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Signature:
    """A DKIM-Signature or ARC-Message-Signature field, read and checked in form."""

    field: HeaderField
    tags: Mapping[str, str]
    header_form: str
    body_form: str
    names: tuple[str, ...]
    length: int | None
    """``l=``: so many bytes of the body are signed."""

    @property
    def algorithm(self) -> str:
        """``a=``."""
        return self.tags["a"].lower()


def check_signatures(head: Head, digests: Digests, lookups: Lookups) -> tuple[DKIMResult, ...]:
    """Return the result of each DKIM signature, at most ``MAX_SIGNATURES``; call it from a thread."""
    return tuple(_check(each, digests, lookups) for each in head.named(b"DKIM-Signature")[:MAX_SIGNATURES])


def _check(field: HeaderField, digests: Digests, lookups: Lookups) -> DKIMResult:
    tags: Mapping[str, str] = {}
    try:
        tags = read_tags(field.value)
        signature = read_signature(field, tags, default_form=SIMPLE)
        verdict, reason = verify(signature, digests, lookups)
    except BadTags as exc:
        verdict, reason = Verdict.PERMERROR, str(exc)
    except LookupFailed:
        verdict, reason = Verdict.TEMPERROR, "the key could not be looked up"
    return DKIMResult(
        verdict=verdict,
        domain=compact(tags.get("d", ""))[:253].lower(),
        selector=compact(tags.get("s", ""))[:253],
        algorithm=compact(tags.get("a", ""))[:40],
        signature=compact(tags.get("b", ""))[:8],
        reason=reason,
    )


def read_signature(field: HeaderField, tags: Mapping[str, str], *, default_form: str) -> Signature:
    """Return the signature, its form checked (RFC 6376 §6.1.1).

    Raises:
        BadTags: a tag is missing or has a value that it may not have.
    """
    missing = [name for name in ("a", "b", "bh", "d", "h", "s") if not tags.get(name)]
    if missing:
        raise BadTags(f"the signature has no tag {missing[0]}")
    if tags["a"].lower() not in ALGORITHMS:
        raise BadTags("the algorithm is not verified")
    header_form, _, body_form = compact(tags.get("c", f"{default_form}/{default_form}")).lower().partition("/")
    if header_form not in (SIMPLE, RELAXED) or body_form not in ("", SIMPLE, RELAXED):
        raise BadTags("the canonical form is unknown")
    names = tuple(compact(tags["h"]).split(":"))
    if len(names) > MAX_NAMES:
        raise BadTags(f"the signature names more than {MAX_NAMES} fields")
    if _number(tags, "x", default=2**40) < time.time():
        raise BadTags("the signature has expired")
    length = _number(tags, "l") if "l" in tags else None
    return Signature(field, tags, header_form, body_form or SIMPLE, names, length)


def verify(signature: Signature, digests: Digests, lookups: Lookups) -> tuple[Verdict, str]:
    """Return whether the signature is of this mail, and if not, why.

    Raises:
        BadTags: no key that may be used.
        LookupFailed: the DNS gave no answer.
    """
    tags = signature.tags
    if tags.get("v", "") != "1" or "from" not in [name.lower() for name in signature.names]:
        raise BadTags("the signature is of another version, or does not sign the author")
    identity = compact(tags.get("i", f"@{tags['d']}")).rpartition("@")[2].lower()
    domain = compact(tags["d"]).lower()
    if identity != domain and not identity.endswith(f".{domain}"):
        raise BadTags("the identity is not of the signing domain")
    if digests.body_hash(signature.body_form, signature.length) != decoded(tags["bh"]):
        return Verdict.FAIL, "the body was changed"
    key = find_key(tags["s"], tags["d"], signature.algorithm, lookups)
    if key.strict and identity != domain:
        raise BadTags("the key is for the domain itself only")
    # A field that is signed less often than it stands there could have been added: From must not be.
    names = (*signature.names, "from")
    signed = digests.signed_header(signature.header_form, names, signature.field)
    if not key.verifies(decoded(tags["b"]), signed):
        return Verdict.FAIL, "the signature does not verify"
    if signature.length is not None:
        # RFC 6376 §8.2: anybody may have appended to what is signed.
        return Verdict.POLICY, "only a part of the body is signed"
    return Verdict.PASS, ""


def _number(tags: Mapping[str, str], name: str, *, default: int = 0) -> int:
    text = tags.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise BadTags(f"the tag {name} is no number")
    return int(text)
