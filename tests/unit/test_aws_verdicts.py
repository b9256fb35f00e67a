"""What errors of the AWS SDK mean: whether the request may have been carried out."""

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    NoRegionError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError
from pynamodb.exceptions import VerboseClientError

from shared.adapters.aws.verdicts import SDKError, Verdict, code_of, verdict_on

URL = "https://dynamodb.us-east-1.amazonaws.com"


def refusal(code: str, status: int = 400) -> ClientError:
    """Return the error of an answer."""
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "UpdateItem")


class TestVerdictOn:
    @pytest.mark.parametrize(
        ("error", "verdict"),
        [
            (refusal("ProvisionedThroughputExceededException"), Verdict.NOT_DONE),
            (refusal("ThrottlingException"), Verdict.NOT_DONE),
            (refusal("TransactionInProgressException"), Verdict.NOT_DONE),
            (refusal("SlowDown", 503), Verdict.NOT_DONE),
            (refusal("InternalServerError", 500), Verdict.UNKNOWN),
            (refusal("ServiceUnavailable", 503), Verdict.UNKNOWN),
            (refusal("", 502), Verdict.UNKNOWN),
            (refusal("ResourceNotFoundException"), Verdict.HOPELESS),
            (refusal("AccessDeniedException"), Verdict.HOPELESS),
            (refusal("ExpiredTokenException", 403), Verdict.HOPELESS),
            (refusal("ValidationException"), Verdict.INVALID),
            (refusal("ConditionalCheckFailedException"), Verdict.CONDITION),
            (refusal("TransactionCanceledException"), Verdict.CANCELLED),
            (ConnectTimeoutError(endpoint_url=URL), Verdict.NOT_DONE),
            (EndpointConnectionError(endpoint_url=URL), Verdict.NOT_DONE),
            (ReadTimeoutError(endpoint_url=URL), Verdict.UNKNOWN),
            (ConnectionClosedError(endpoint_url=URL), Verdict.UNKNOWN),
            (IncompleteReadError(actual_bytes=1, expected_bytes=2), Verdict.UNKNOWN),
            (HTTPClientError(error=OSError()), Verdict.UNKNOWN),
            (ResponseParserError("cut off"), Verdict.UNKNOWN),
            (NoCredentialsError(), Verdict.NOT_DONE),
            (CredentialRetrievalError(provider="imds", error_msg=""), Verdict.NOT_DONE),
            (NoRegionError(), Verdict.HOPELESS),
            (BotoCoreError(), Verdict.UNKNOWN),
        ],
        ids=lambda value: code_of(value) if isinstance(value, Exception) else value.name,
    )
    def test_only_what_is_certain_counts_as_not_done(self, error: SDKError, verdict: Verdict) -> None:
        """A doubt costs a look; a wrong certainty costs a message."""
        assert verdict_on(error) is verdict

    def test_finds_the_status_behind_pynamodbs_error(self) -> None:
        """PynamoDB makes an error of its own that has lost it."""
        with pytest.raises(VerboseClientError) as caught:
            raise VerboseClientError({"Error": {"Code": "Odd"}}, "GetItem") from refusal("Odd", 404)

        assert verdict_on(caught.value) is Verdict.HOPELESS
