"""What a DNS look-up can end in, besides an answer."""

from shared.domain.errors import Unavailable


class LookupFailed(Unavailable):
    """The DNS gave no answer: timeout, SERVFAIL, or no server reached.

    Not knowing is temporary: mail is tried again, never failed for this
    (RFC 5321 §5.1).  A domain that does not exist is an answer, not this.
    """
