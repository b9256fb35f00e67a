"""Cells of CSV files that hold what strangers wrote."""

_FORMULAS = ("=", "+", "-", "@")


def inert(text: str) -> str:
    """Return the text as no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULAS) else text


def plain(text: str) -> str:
    """Return what ``inert`` was given."""
    text = text.strip()
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULAS) else text
