"""What the end of a try means: for the next host, and for the message.

================================  ===========  ==========================
end of the try                    next host?   outcome
================================  ===========  ==========================
accepted                          no           Sent
5yz to MAIL, RCPT, DATA, dot      no           HardFail
4yz to MAIL, RCPT, DATA           yes          SoftFail
4yz to the final dot              no           SoftFail
lost after the final dot          no           SoftFail, maybe sent
lost before it                    yes          SoftFail
size or SMTPUTF8 missing          no           HardFail
claim lost                        no           Postponed
no connection, greeting, TLS …    yes          SoftFail
================================  ===========  ==========================

Sentences are Postal's (app/senders/smtp_sender.rb).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias, assert_never

from shared.domain.message import Evidence
from shared.domain.outcome import HardFail, Outcome, Postponed, Sent, SoftFail
from shared.domain.replies import Reply, Stage
from shared.domain.retry import hinted_wait
from smtp_node.deliver.connection import Peer
from smtp_node.deliver.transaction import Accepted, Declined, Ended, Lost, Unfit, Withdrawn

MAX_DETAILS = 250
"""As ``Delivery.details`` holds."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A host that was not there, or took no mail at all."""

    reason: str
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """One host tried, and how it ended."""

    peer: Peer
    ended: Ended | Unavailable
    source_address: str = ""
    tls: str = ""


Tried: TypeAlias = Sequence[Try]


def is_stale(ended: Ended) -> bool:
    """Return whether a kept connection failed in a way that a new one may not.

    Hosts close connections that idle, and limit messages on one connection with
    any reply they like; nothing has been sent, so trying again is safe.
    """
    match ended:
        case Lost(after_dot=False) | Declined(stage=Stage.RSET | Stage.MAIL):
            return True
        case Declined(stage=stage, reply=reply):
            return reply.closing and stage is not Stage.DOT
    return False


def ends_attempt(ended: Ended | Unavailable) -> bool:
    """Return whether the other hosts are left alone, by the table above."""
    match ended:
        case Unavailable():
            return False
        case Lost(after_dot=after_dot):
            return after_dot
        case Declined(stage=stage, permanent=permanent):
            return permanent or stage is Stage.DOT
        case Accepted() | Unfit() | Withdrawn():
            return True
    assert_never(ended)


def conclude(tried: Tried, *, rcpt_to: str, destination: str, conversation: str, now: datetime) -> Outcome:
    """Return the outcome of the whole attempt.

    The last try counts, but a host that spoke of the message tells more than a later
    one that was not there.

    Args:
        tried: in order; at least one.
        rcpt_to: for the sentence.
        destination: the domain or host of the plan.
        conversation: the record of all tries.
        now: when it may be tried again, if the claim was lost.
    """
    spoke = [each for each in tried if not isinstance(each.ended, Unavailable)]
    telling = spoke[-1] if spoke else tried[-1]
    peer, ended = telling.peer, telling.ended
    evidence = Evidence(peer.host, peer.address, telling.source_address, tls=telling.tls, conversation=conversation)
    where = f"{peer.host}:{peer.port}"
    temporary = f"Temporary SMTP delivery error when sending to {where}"
    permanent = f"Permanent SMTP delivery error when sending to {where}"
    match ended:
        case Accepted(reply):
            source = f" (from {telling.source_address})" if telling.source_address else ""
            details = f"Message for {rcpt_to} accepted by {peer.address}:{peer.port} ({peer.host}){source}"
            return Sent(details[:MAX_DETAILS], str(reply), _with(evidence, reply))
        case Declined(reply=reply, permanent=True):
            return HardFail(permanent, str(reply), _with(evidence, reply))
        case Declined(reply=reply):
            return SoftFail(temporary, str(reply), _with(evidence, reply), hinted_wait(reply.text))
        case Lost(reason=reason, after_dot=maybe_sent):
            details = f"{temporary}; it may have been sent" if maybe_sent else temporary
            return SoftFail(details, reason, evidence, maybe_sent=maybe_sent)
        case Unfit(enhanced_code, sentence):
            return HardFail(permanent, sentence, replace(evidence, enhanced_code=enhanced_code))
        case Withdrawn():
            return Postponed(now, "the claim was lost before the final dot")
        case Unavailable(reason, reply):
            nobody = f"No SMTP servers were available for {destination}. Tried {_listed(tried)}."[:MAX_DETAILS]
            said = f"{reason}: {reply}" if reply else reason
            evidence = _with(evidence, reply) if reply else evidence
            return SoftFail(nobody, said, evidence, hinted_wait(reply.text) if reply else None)
    assert_never(ended)


def _listed(tried: Tried) -> str:
    names = list(dict.fromkeys(each.peer.host for each in tried))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _with(evidence: Evidence, reply: Reply) -> Evidence:
    return replace(evidence, smtp_code=reply.code, enhanced_code=reply.enhanced_code)
