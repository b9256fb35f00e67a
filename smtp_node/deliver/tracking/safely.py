"""Tracking that cannot stop mail: what goes wrong while links are rewritten costs the tracking, never the message."""

import logging
from collections.abc import Callable

from shared.domain.message import Message
from smtp_node.deliver.tracking.rewrite import Marking, rewritten

log = logging.getLogger(__name__)


def tracked(
    message: Message,
    raw: bytes,
    marking: Marking | None,
    *,
    rewrite: Callable[[bytes, Marking | None], bytes] = rewritten,
) -> bytes:
    """Return the message with its links and pixel; if they cannot be put in, with its marks taken out at least.

    Mail has forms that nobody thought of.  A mistake of ours in reading one would fail the
    same way at each attempt, until the message is given up.

    Args:
        message: the record, for the log.
        raw: as it is stored.
        marking: how it is tracked; None: only ``+notrack`` marks are taken out.
        rewrite: does it.
    """
    for how in (marking, None) if marking is not None else (None,):
        try:
            return rewrite(raw, how)
        except Exception:  # whatever it is, the message goes out
            log.exception("tracking_failed", extra={"message_id": message.id, "server_id": message.server_id})
    return raw
