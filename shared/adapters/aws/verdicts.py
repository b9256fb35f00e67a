"""What an error of the AWS SDK means for the call that met it.

Everything depends on one question: may the request have been carried out although no answer
came?  Only what AWS documents as refused before any work counts as not done.
"""

import enum
from typing import TypeAlias

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)
from botocore.parsers import ResponseParserError

SDK_ERRORS = (BotoCoreError, ClientError, ResponseParserError)
"""All that a call may raise (botocore.exceptions; a parser error belongs to neither family)."""

SDKError: TypeAlias = BotoCoreError | ClientError | ResponseParserError


class Verdict(enum.Enum):
    """What became of a call."""

    NOT_DONE = "refused before any work; may be repeated"
    UNKNOWN = "perhaps carried out"
    HOPELESS = "not done, and a repetition would meet the same: no permission, no such table"
    INVALID = "not done, because the request itself is wrong"
    CONDITION = "not done, because a condition did not hold"
    CANCELLED = "a transaction that was not done; its reasons say why"


_BY_CODE = {
    "ConditionalCheckFailedException": Verdict.CONDITION,
    "TransactionCanceledException": Verdict.CANCELLED,
    "ValidationException": Verdict.INVALID,
    "SerializationException": Verdict.INVALID,
    "ItemCollectionSizeLimitExceededException": Verdict.INVALID,
    "ProvisionedThroughputExceededException": Verdict.NOT_DONE,
    "RequestLimitExceeded": Verdict.NOT_DONE,
    "ThrottlingException": Verdict.NOT_DONE,
    "Throttling": Verdict.NOT_DONE,
    "SlowDown": Verdict.NOT_DONE,
    "RequestThrottled": Verdict.NOT_DONE,
    "KmsThrottled": Verdict.NOT_DONE,
    "RequestTimeout": Verdict.UNKNOWN,
    "TransactionConflictException": Verdict.NOT_DONE,
    "TransactionInProgressException": Verdict.NOT_DONE,
    "ReplicatedWriteConflictException": Verdict.NOT_DONE,
}
"""Codes of "Error handling with DynamoDB" in its developer guide, and in the error lists of S3 and SQS."""


_NEVER_SENT = (ConnectTimeoutError, EndpointConnectionError, NoCredentialsError, CredentialRetrievalError)


def verdict_on(error: SDKError) -> Verdict:
    """Return what the error says about the call."""
    if isinstance(error, ClientError):
        code = code_of(error)
        if code in _BY_CODE:
            return _BY_CODE[code]
        # After a 500 or 503 the work may have been done (the same guide).
        return Verdict.HOPELESS if 400 <= _status(error) < 500 else Verdict.UNKNOWN
    if isinstance(error, _NEVER_SENT):
        return Verdict.NOT_DONE
    if isinstance(error, NoRegionError):
        return Verdict.HOPELESS
    return Verdict.UNKNOWN


def _status(error: ClientError) -> int:
    """Return the HTTP status; 0 if the error does not tell."""
    # PynamoDB's own error has lost it; it is still on botocore's, which caused it.
    origins = (error, error.__cause__)
    responses = [origin.response for origin in origins if isinstance(origin, ClientError)]
    return max(int(each.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) for each in responses)


def code_of(error: SDKError) -> str:
    """Return AWS's code of the error; the name of its class if the answer had none."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code") or "unknown")
    return type(error).__name__
