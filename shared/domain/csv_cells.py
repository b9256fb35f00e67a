"""Cells of CSV files that hold what strangers wrote."""

_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Tabs and ends of lines are left out by some spreadsheets, and full-width signs taken for the plain ones (OWASP)."""


def inert(text: str) -> str:
    """Return the text as no spreadsheet takes it for a formula."""
    return f"'{text}" if _is_formula(text) else text


def plain(text: str) -> str:
    """Return what ``inert`` was given, without spaces around it."""
    text = text.strip()
    return text[1:] if text.startswith("'") and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    # One that has quotes in front already gets another: else it would come back without its own.
    return text.lstrip("'").startswith(_FORMULAS)
