"""The things of Edgepost as documents, in the words that ``--json`` keeps stable."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.domain.credentials import use_of
from shared.domain.dns_check import DNSCheck, Finding, Record
from shared.domain.dns_records import records_to_publish
from shared.domain.message import Delivery, Message
from shared.domain.reports.sums import By
from shared.domain.suppression import Suppression
from shared.domain.tenancy import Credential, Domain, Organization, Server
from shared.domain.tracking import TrackDomain
from shared.flow.read_reports import Summary
from shared.flow.track_domains import track_records
from shared.settings import Settings


def organization_document(organization: Organization) -> dict[str, Any]:
    """Return an organization."""
    return {
        "id": organization.id,
        "name": organization.name,
        "permalink": organization.permalink,
        "created_at": _at(organization.created_at),
        "suspended_at": _at(organization.suspended_at),
        "suspension_reason": organization.suspension_reason or None,
    }


def server_document(server: Server, organization: Organization) -> dict[str, Any]:
    """Return a server with its organization's permalink."""
    return {
        "id": server.id,
        "name": server.name,
        "permalink": server.permalink,
        "organization": organization.permalink,
        "mode": server.mode.value,
        "token": server.token,
        "allow_sender": server.allow_sender,
        "privacy_mode": server.privacy_mode,
        "ip_pool": server.ip_pool,
        "shared_tracking": server.shared_tracking,
        "spam_threshold": server.spam_threshold,
        "spam_failure_threshold": server.spam_failure_threshold,
        "outbound_spam_threshold": server.outbound_spam_threshold,
        "shards": server.shards[-1].count if server.shards else 1,
        "created_at": _at(server.created_at),
        "suspended_at": _at(server.suspended_at),
        "suspension_reason": server.suspension_reason or None,
    }


def domain_document(domain: Domain, settings: Settings) -> dict[str, Any]:
    """Return a domain, every record that must be published for it, and its last check if there was one."""
    records = records_to_publish(domain, hostname=settings.hostname, return_path_domain=settings.return_path_domain)
    return {
        "domain": domain.name,
        "records": [
            {"type": each.type, "name": each.name, "value": each.value, "purpose": each.purpose} for each in records
        ],
    } | ({"check": check_document(domain.check)} if domain.check else {})


def check_document(check: DNSCheck) -> dict[str, Any]:
    """Return what is known of a domain's DNS records; null for one of which nothing is known."""
    return {
        "ok": check.ok,
        "checked_at": _at(check.at),
        **{record.value: _finding(check.summary(record)) for record in Record},
        "keys": [
            {"selector": each.selector, "status": each.status.value, "error": each.error or None}
            for each in check.findings
            if each.record is Record.DKIM
        ],
    }


def _finding(found: Finding | None) -> dict[str, Any] | None:
    return None if found is None else {"status": found.status.value, "error": found.error or None}


def domain_row(domain: Domain, owner: Server | Organization) -> dict[str, Any]:
    """Return a domain as a list shows it."""
    return {
        "domain": domain.name,
        "owner": "server" if isinstance(owner, Server) else "organization",
        "permalink": owner.permalink,
        "verified_at": _at(domain.verified_at),
        "trusted": domain.trusted,
        "dns_ok": domain.check.ok if domain.check else None,
        "checked_at": _at(domain.check.at if domain.check else None),
    }


def track_domain_document(domain: TrackDomain, settings: Settings) -> dict[str, Any]:
    """Return a tracking domain and the record that must be published for it."""
    return {
        "domain": domain.name,
        "sending_domain": domain.sending_domain or None,
        "verified_at": _at(domain.verified_at),
        "trusted": domain.trusted,
        "dns_status": domain.check.status.value if domain.check else None,
        "dns_error": domain.check.error or None if domain.check else None,
        "checked_at": _at(domain.check.at if domain.check else None),
        "opens": domain.opens,
        "clicks": domain.clicks,
        "excluded": list(domain.excluded),
        "records": [
            {"type": each.type, "name": each.name, "value": each.value, "purpose": each.purpose}
            for each in track_records(domain, settings)
        ],
    }


def credential_document(credential: Credential, now: datetime) -> dict[str, Any]:
    """Return a credential without its key, which nobody knows any more."""
    return {
        "id": credential.id,
        "type": credential.type.value,
        "name": credential.name,
        "network": credential.network or None,
        "hold": credential.hold,
        "use": use_of(credential.last_used_at, now).value,
        "last_used_at": _at(credential.last_used_at),
        "created_at": _at(credential.created_at),
    }


def message_row(message: Message) -> dict[str, Any]:
    """Return a message as a list shows it."""
    return {
        "id": message.id,
        "rcpt_to": message.rcpt_to,
        "mail_from": message.mail_from,
        "subject": message.subject,
        "accepted_at": _at(message.accepted_at),
        "hold_expires_at": _at(message.hold_expires_at),
    }


def message_document(message: Message, deliveries: Sequence[Delivery]) -> dict[str, Any]:
    """Return a message with its history, oldest delivery first."""
    return {
        "id": message.id,
        "token": message.token,
        "status": message.status.value,
        "direction": message.direction.value,
        "rcpt_to": message.rcpt_to,
        "mail_from": message.mail_from,
        "subject": message.subject,
        "message_id": message.message_id,
        "tag": message.tag or None,
        "metadata": dict(message.metadata),
        "size_bytes": message.size_bytes,
        "accepted_at": _at(message.accepted_at),
        "inspection": {
            "inspected": message.inspected,
            "spam_status": message.spam_status.value,
            "spam_score": message.spam_score,
            "threat": message.threat or None,
        },
        "attempt": message.attempt,
        "next_attempt_at": _at(message.next_attempt_at),
        "hold_expires_at": _at(message.hold_expires_at),
        "deliveries": [delivery_document(each) for each in deliveries],
    }


def delivery_document(delivery: Delivery) -> dict[str, Any]:
    """Return one row of a message's history."""
    return {
        "at": _at(delivery.at),
        "status": delivery.status.value,
        "details": delivery.details,
        "output": delivery.output or None,
        "mx": delivery.evidence.mx or None,
        "tls": delivery.evidence.tls or None,
    }


def _at(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def suppression_row(entry: Suppression) -> dict[str, Any]:
    """Return a suppression as a list shows it."""
    return {
        "address": entry.address,
        "scope": entry.scope.name,
        "stream": entry.scope.stream or None,
        "reason": entry.reason.value,
        "detail": entry.detail or None,
        "added_at": _at(entry.added_at),
        "until": _at(entry.until),
    }


def suppression_document(entry: Suppression) -> dict[str, Any]:
    """Return a suppression with its history."""
    return {
        **suppression_row(entry),
        "active": entry.active,
        "source": entry.source,
        "history": [
            {
                "at": _at(each.at),
                "change": "added" if each.added else "removed",
                "reason": each.reason.value,
                "source": each.source,
                "detail": each.detail or None,
            }
            for each in entry.history
        ],
    }


def report_document(found: Summary, by: By) -> dict[str, Any]:
    """Return what was reported of a domain."""
    return {
        "domain": found.domain,
        "kind": found.kind.value,
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "reports": found.reports,
        "total": dict(found.total),
        "complete": found.complete,
        "rows": [{by.value: name, **counts} for name, counts in found.rows],
    }
