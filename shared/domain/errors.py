"""Errors that cross a layer: who has to act, the caller or we.

Expected results are values; these are for "you may not" and "not now"::

    MailError
    ├── Refused                     the caller must change something
    │   ├── BadCredentials          no such key, or of another type
    │   ├── ServerSuspended         the server or its organization may not send
    │   ├── SenderNotAllowed        a From or Sender address is not the server's
    │   ├── NoRecipients            nobody to send to
    │   ├── TooManyRecipients       more than one submission may name
    │   ├── MessageTooLarge         over the size limit
    │   ├── MalformedMessage        bytes that no two parsers read alike
    │   ├── IdempotencyKeyReused    same key, another request
    │   ├── NotFound                no such thing, or not the caller's
    │   ├── NameTaken               a name that must be unique is in use
    │   ├── InvalidValue            a value out of its range or form
    │   ├── NotPermitted            the caller's scope does not reach
    │   ├── EnoughReported          more mail about one message than is kept
    │   └── WrongState              the thing cannot do this now (release of a sent message)
    └── Unavailable                 the caller may repeat the same request
        ├── StorageUnavailable      records, queue or bodies did not answer
        └── StillInProgress         the same idempotency key is being worked on
"""


class MailError(Exception):
    """Base of all errors that a door must translate into a reply."""


class Refused(MailError):
    """The request cannot succeed as it is; repeating it is useless."""


class BadCredentials(Refused):
    """The key is unknown, of another type, or its server is gone."""


class ServerSuspended(Refused):
    """The server or its organization has been suspended."""


class SenderNotAllowed(Refused):
    """A From or Sender address belongs to no verified domain of the server."""


class NoRecipients(Refused):
    """The submission names no recipient."""


class TooManyRecipients(Refused):
    """The submission names more recipients than one submission may."""


class MessageTooLarge(Refused):
    """The message is over ``max_message_bytes``."""


class MalformedMessage(Refused):
    """The message holds bytes that parsers read differently (RFC 5322 §2.3)."""


class IdempotencyKeyReused(Refused):
    """The key was used before, for a different request."""


class NotFound(Refused):
    """There is no such thing, or it belongs to somebody else: both look the same."""


class NameTaken(Refused):
    """Another organization, server, domain or network already has this name."""


class InvalidValue(Refused):
    """A value is out of range or malformed; the text says which and why."""


class NotPermitted(Refused):
    """The caller's scope does not allow this, for example trusting a domain unchecked."""


class EnoughReported(Refused):
    """So much mail has come about one message that no more of it is kept."""


class WrongState(Refused):
    """The thing is in a state in which this makes no sense."""


class Unavailable(MailError):
    """Nothing was decided; the same request may be repeated."""


class StorageUnavailable(Unavailable):
    """A store did not answer, or did not say whether it did the work."""


class StillInProgress(Unavailable):
    """The first request with this idempotency key has not finished yet."""
