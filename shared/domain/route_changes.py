"""What may be changed of a route, and the route after it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from shared.domain.errors import InvalidValue
from shared.domain.job import TLSMode
from shared.domain.routes import (
    Encoding,
    HTTPTarget,
    PayloadFormat,
    Route,
    RouteMode,
    SMTPTarget,
    SpamMode,
    Target,
    checked_targets,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """Options of endpoints; None leaves one as it is."""

    encoding: Encoding | None = None
    format: PayloadFormat | None = None
    attachments: bool | None = None
    strip_replies: bool | None = None
    timeout_s: int | None = None
    tls: TLSMode | None = None
    """Of SMTP endpoints; the others are of HTTP ones."""

    def of(self, target: Target) -> Target:
        """Return the target with these options, as far as its kind has them."""
        if isinstance(target, SMTPTarget):
            return target if self.tls is None else replace(target, tls=self.tls)
        if not isinstance(target, HTTPTarget):
            return target
        return HTTPTarget(
            target.url,
            _or(self.encoding, target.encoding),
            _or(self.format, target.format),
            attachments=_or(self.attachments, target.attachments),
            strip_replies=_or(self.strip_replies, target.strip_replies),
            timeout_s=_or(self.timeout_s, target.timeout_s),
        )

    def check(self, targets: Sequence[Target]) -> None:
        """Refuse options that no endpoint is there for: they would do nothing, and nobody would be told.

        Raises:
            InvalidValue: an option of HTTP endpoints without one, or of SMTP endpoints without one.
        """
        http = (self.encoding, self.format, self.attachments, self.strip_replies, self.timeout_s)
        if any(each is not None for each in http) and not any(isinstance(each, HTTPTarget) for each in targets):
            raise InvalidValue("encoding, format, attachments, replies and timeout are options of an HTTP endpoint")
        if self.tls is not None and not any(isinstance(each, SMTPTarget) for each in targets):
            raise InvalidValue("TLS is an option of an SMTP endpoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChanges:
    """What to change of a route; None leaves a thing as it is."""

    mode: RouteMode | None = None
    spam_mode: SpamMode | None = None
    targets: Sequence[Target] | None = None
    """In place of all there are."""

    options: TargetOptions = TargetOptions()
    """Of all endpoints, old and new."""


def changed(route: Route, changes: RouteChanges) -> Route:
    """Return the route as it is to be.

    Endpoints make its mode Endpoint; another mode takes its endpoints away.

    Raises:
        InvalidValue: a mode or endpoints that a route of this name may not have.
    """
    mode = changes.mode or (RouteMode.ENDPOINT if changes.targets else route.mode)
    targets = route.targets if changes.targets is None else changes.targets
    if changes.targets is None and mode is not RouteMode.ENDPOINT:
        targets = ()
    changes.options.check(targets)
    targets = [changes.options.of(each) for each in targets]
    return replace(
        route,
        mode=mode,
        spam_mode=changes.spam_mode or route.spam_mode,
        targets=tuple(checked_targets(route.name, mode, targets)),
    )


def _or(new: T | None, old: T) -> T:
    return old if new is None else new
