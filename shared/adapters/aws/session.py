"""How this program talks to AWS: one place for time limits, retries, connections and the name it goes by.

| service | tries | why |
| --- | --- | --- |
| DynamoDB, SQS, S3 | 1 here; ``calls`` repeats | a repetition must know whether an earlier try may have worked |
| SSM, CloudFormation | the SDK's ``standard`` mode | asked once, at start |

Credentials, region and endpoint are the SDK's own affair (AWS_ENDPOINT_URL for an emulator).  The SDK is botocore:
boto3 would put resources and a transfer manager on top, which nobody here uses, for 60 modules and 70 ms a cold start.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.exceptions import IncompleteReadError, NoCredentialsError
from botocore.session import Session

LONG_POLL_S = 20
"""SQS answers a receive after this long at the latest (WaitTimeSeconds, SQS API reference)."""

_SDK_TRIES = 3


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call may take, and when it is tried again; tests shrink it.

    A lease lasts 30 seconds: what is not done after 20 is better repeated by whoever asked.
    """

    connect: timedelta = timedelta(seconds=2)
    read: timedelta = timedelta(seconds=4)
    read_poll: timedelta = timedelta(seconds=LONG_POLL_S + 4)
    read_body: timedelta = timedelta(seconds=15)
    """For S3, whose answers may be 25 MB."""

    pauses: Sequence[timedelta] = field(
        default=(timedelta(milliseconds=50), timedelta(milliseconds=200), timedelta(milliseconds=600))
    )
    """Longest waits between tries; each is drawn anew from half of it upwards."""


class Clients:
    """One client for each service, made at first use: a function pays only for what it calls.

    Args:
        caller: the function or part of the node, as AWS's logs and a recording proxy see it.
        connections: kept to each service; as many as there are threads that call.
        patience: time limits.
    """

    def __init__(self, caller: str, connections: int, patience: Patience) -> None:
        self._caller = caller
        self._connections = connections
        self._patience = patience
        self._made: dict[tuple[str, str, timedelta], Any] = {}

    # Any: botocore makes its client classes at run time from service models.

    @property
    def dynamodb(self) -> Any:  # noqa: ANN401
        """The client below PynamoDB's connection."""
        return self._client("dynamodb", self._patience.read)

    @property
    def sqs(self) -> Any:  # noqa: ANN401
        """The client for all calls to a queue but receiving."""
        return self._client("sqs", self._patience.read)

    @property
    def sqs_polls(self) -> Any:  # noqa: ANN401
        """The client for receiving, which waits for a long poll."""
        return self._client("sqs", self._patience.read_poll)

    @property
    def s3(self) -> Any:  # noqa: ANN401
        """The client for large bodies."""
        return self._client("s3", self._patience.read_body)

    @property
    def s3_signing(self) -> Any:  # noqa: ANN401
        """The client that signs addresses of S3 for others.

        By default they would have the old signature, which covers no length, and the global
        host, whose redirects to other regions a client that PUTs does not follow.
        """
        amazon = re.search(r"\.amazonaws\.com(\.cn)?$", self.s3.meta.endpoint_url)
        style = {"addressing_style": "virtual" if amazon else "path"}
        return self._client("s3", self._patience.read_body, use="signing", signature_version="s3v4", s3=style)

    @property
    def ssm(self) -> Any:  # noqa: ANN401
        """The client for secrets."""
        return self._client("ssm", self._patience.read, tries=_SDK_TRIES)

    @property
    def cloudformation(self) -> Any:  # noqa: ANN401
        """The client for a stack's outputs."""
        return self._client("cloudformation", self._patience.read, tries=_SDK_TRIES)

    # Any: further options are those of botocore's Config.
    def _client(self, service: str, read: timedelta, *, tries: int = 1, use: str = "", **options: Any) -> Any:  # noqa: ANN401
        name = (service, use, read)
        if (made := self._made.get(name)) is not None:
            return made
        config = Config(
            user_agent_appid=f"edgepost-{self._caller}",
            connect_timeout=self._patience.connect.total_seconds(),
            read_timeout=read.total_seconds(),
            retries={"total_max_attempts": tries, "mode": "standard"},
            max_pool_connections=self._connections,
            tcp_keepalive=True,
            # What is sent is typed here; the SDK's check costs as much as signing.
            parameter_validation=False,
            **options,
        )
        # Making clients is not thread-safe, using them is (boto3 guide, "Multithreading").
        with _making:
            if name not in self._made:
                if _session().get_credentials() is None:
                    # A client made without any would never ask for them again.
                    raise NoCredentialsError
                made = _session().create_client(service, config=config)
                if service != "s3":
                    made.meta.events.register("before-parse", _check_whole)
                self._made[name] = made
        return self._made[name]


_making = threading.Lock()


@cache
def _session() -> Session:
    """Return the session of this process; all clients share what it loads from disk."""
    return Session()


def _check_whole(response_dict: Mapping[str, Any], **_: object) -> None:
    """Refuse an answer that was cut off: botocore would read half a JSON document as an empty answer.

    Raises:
        IncompleteReadError: fewer bytes came than the answer's head announced.
    """
    announced, body = response_dict["headers"].get("content-length"), response_dict["body"]
    if announced is not None and isinstance(body, bytes) and len(body) < int(announced):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(announced))
