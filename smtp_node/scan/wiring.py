"""Builds the scanners that the settings name."""

from shared.settings import Settings
from smtp_node.scan.clamd import Clamd
from smtp_node.scan.scanner import Scanner
from smtp_node.scan.scanning import Scanning
from smtp_node.scan.spamd import Spamd


def build_scanning(settings: Settings) -> Scanning:
    """Return the scanners; rspamd wins over spamd, as in Postal."""
    virus = Clamd(settings.clamd, settings.virus_timeout) if settings.clamd else None
    return Scanning(_spam_filter(settings), virus)


def _spam_filter(settings: Settings) -> Scanner | None:
    if settings.rspamd_url:
        # Imported here: a node without rspamd needs no HTTP client.
        from smtp_node.scan.rspamd import Rspamd

        return Rspamd(settings.rspamd_url, settings.spam_timeout, settings.rspamd_password)
    return Spamd(settings.spamd, settings.spam_timeout) if settings.spamd else None
