"""ARC chains of incoming mail (RFC 8617 §5.2): what hosts on the way saw, each sealing all before it.

| step | what is checked |
| --- | --- |
| 1 | sets 1 to N are whole: one of each of the three fields |
| 2 | the seal of set 1 says ``cv=none``, all others ``cv=pass`` |
| 3 | the newest ARC-Message-Signature is of this mail |
| 4 | every seal is of the sets up to its own |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.domain.dns import LookupFailed
from shared.domain.headers import Head, HeaderField
from smtp_node.authentication.digests import RELAXED, Digests, canonical, unsigned
from smtp_node.authentication.lookups import Lookups
from smtp_node.authentication.public_keys import ALGORITHMS, find_key
from smtp_node.authentication.results import ARCResult, Verdict
from smtp_node.authentication.tags import BadTags, compact, decoded, read_tags
from smtp_node.authentication.verify import read_signature

RESULTS = b"ARC-Authentication-Results"
SIGNATURE = b"ARC-Message-Signature"
SEAL = b"ARC-Seal"

MAX_SETS = 10
"""RFC 8617 §4.2.1 allows 50; each costs a look-up and a verification."""


@dataclass(frozen=True, slots=True)
class _Set:
    """The three fields that one host added."""

    results: HeaderField
    signature: HeaderField
    seal: HeaderField
    seal_tags: Mapping[str, str]


def check_chain(head: Head, digests: Digests, lookups: Lookups) -> ARCResult:
    """Return whether the chain is whole; call it from a thread."""
    count = max(len(head.named(name)) for name in (RESULTS, SIGNATURE, SEAL))
    if not count:
        return ARCResult(Verdict.NONE)
    domain = ""
    try:
        sets = _sets(head)
        domain = compact(sets[-1].seal_tags.get("d", ""))[:253].lower()
        _check_states(sets)
        _check_newest(sets[-1], digests, lookups)
        for number in range(len(sets), 0, -1):
            _check_seal(sets[:number], lookups)
    except (BadTags, LookupFailed):
        # RFC 8617 §5.2 knows no temporary result: a chain that cannot be verified has not passed.
        return ARCResult(Verdict.FAIL, domain, count)
    return ARCResult(Verdict.PASS, domain, count)


def _sets(head: Head) -> Sequence[_Set]:
    if len(head.named(SEAL)) > MAX_SETS:
        raise BadTags(f"the chain has more than {MAX_SETS} sets")
    found: list[dict[int, HeaderField]] = []
    for name in (RESULTS, SIGNATURE, SEAL):
        by_number: dict[int, HeaderField] = {}
        for field in head.named(name)[: MAX_SETS + 1]:
            number = instance(field.value)
            if number in by_number:
                raise BadTags("a set is there twice")
            by_number[number] = field
        found.append(by_number)
    numbers = list(range(1, len(found[2]) + 1))
    if not numbers or any(sorted(each) != numbers for each in found):
        raise BadTags("a set is not whole")
    return [_Set(found[0][n], found[1][n], found[2][n], read_tags(found[2][n].value)) for n in numbers]


def instance(value: bytes) -> int:
    """Return the number of a field's set.

    Raises:
        BadTags: it has none.
    """
    # In all three fields i= comes first (RFC 8617 §4.1); ARC-Authentication-Results is no tag list otherwise.
    name, _, number = value.partition(b";")[0].partition(b"=")
    text = number.strip()
    if name.strip() != b"i" or not text.isdigit() or len(text) > 2:
        first = read_tags(value).get("i", "") if value.count(b"=") > 1 else ""
        if not (first.isascii() and first.isdigit() and len(first) <= 2):
            raise BadTags("a field of the chain has no number")
        return int(first)
    return int(text)


def _check_states(sets: Sequence[_Set]) -> None:
    for number, each in enumerate(sets, 1):
        if each.seal_tags.get("cv", "").lower() != ("none" if number == 1 else "pass"):
            raise BadTags("a seal says that the chain was broken before")


def _check_newest(newest: _Set, digests: Digests, lookups: Lookups) -> None:
    tags = read_tags(newest.signature.value)
    signature = read_signature(newest.signature, tags, default_form=RELAXED)
    names = [name.lower() for name in signature.names]
    if "arc-seal" in names or "from" not in names:
        raise BadTags("the signature covers what it may not, or not the author")
    if digests.body_hash(signature.body_form, signature.length) != decoded(tags["bh"]):
        raise BadTags("the body was changed")
    key = find_key(tags["s"], tags["d"], signature.algorithm, lookups)
    signed = digests.signed_header(signature.header_form, signature.names, signature.field)
    if signature.length is not None or not key.verifies(decoded(tags["b"]), signed):
        raise BadTags("the signature does not verify")


def _check_seal(sets: Sequence[_Set], lookups: Lookups) -> None:
    own = sets[-1]
    tags = own.seal_tags
    algorithm = tags.get("a", "").lower()
    if algorithm not in ALGORITHMS or "h" in tags or not all(tags.get(name) for name in ("b", "d", "s")):
        raise BadTags("the seal has wrong tags")
    parts = [canonical(field, RELAXED) for each in sets for field in (each.results, each.signature, each.seal)]
    signed = b"".join(parts[:-1]) + unsigned(own.seal, RELAXED)
    if not find_key(tags["s"], tags["d"], algorithm, lookups).verifies(decoded(tags["b"]), signed):
        raise BadTags("a seal does not verify")
