"""Write docs/settings.md from the declarations in shared/settings.py: ``python docs/make_settings.py``."""

import sys
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that the script runs without an installed project

from shared.settings import Settings, variable  # noqa: E402  # after the path is known

SECTIONS = {
    "data_dir": "Where things are kept",
    "http_host": "HTTP",
    "smtp_host": "SMTP in",
    "hostname": "Names",
    "dns_servers": "Delivery",
    "rspamd_url": "Scanning for spam and viruses",
    "log_level": "Running it",
}
"""Headings by the first setting below each."""

HEAD = """\
# Settings

Edgepost reads its settings once, at start, from the environment; the command line reads the same. An empty
variable counts as unset. If anything is wrong, an unknown `EDGEPOST_` name included, it does not start and lists
every problem; values are never printed.

This page is made from `shared/settings.py` by `make docs`.
"""


def settings_page() -> str:
    """Return the whole page: one table for each section, in the order of declaration."""
    lines = [HEAD.rstrip("\n")]
    for each in fields(Settings):
        if each.name in SECTIONS:
            lines += ["", f"## {SECTIONS[each.name]}", ""]
            lines += ["| setting | default | value | meaning |", "| --- | --- | --- | --- |"]
        default = f"`{each.metadata['default']}`" if each.metadata["default"] else "–"
        lines.append(f"| `{variable(each)}` | {default} | {each.metadata['form'].expects} | {each.metadata['doc']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    page = ROOT / "docs" / "settings.md"
    page.write_text(settings_page(), encoding="utf-8")
    print(f"wrote {page.relative_to(ROOT)}")
