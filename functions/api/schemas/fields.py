"""Values as a Ruby application reads them: what is blank, what is true, what is text.

Postal takes whatever JSON holds and never says that a type is wrong.  pydantic
would refuse at another place, in another order and in other words than Postal's
clients expect, so the v1 parameters are read by these few rules.
"""

from shared.domain.errors import InvalidValue


def is_blank(value: object) -> bool:
    """Whether Rails calls it blank: nothing, false, white space, an empty list or object."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or value is False or value in ([], {})


def is_true(value: object) -> bool:
    """Whether Postal takes it for true: what Ruby calls true, and its database does not give back as 0."""
    return value not in (None, False, "", "0", "false")  # 0 equals False


def text(value: object) -> str:
    """Return the value as text: strings and numbers as they are, everything else as none."""
    if isinstance(value, bool):
        return ""
    return str(value) if isinstance(value, (str, int, float)) else ""


def base64_or_bytes(value: object) -> str | bytes:
    """Return base64 as text, or the bytes it encoded if it was large (``functions.api.large_data``)."""
    return value if isinstance(value, bytes) else text(value)


def word(value: object) -> object:
    """Return a number or a truth value as the text that JSON has for it, anything else unchanged."""
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, (int, float)) else value


def switch(value: object) -> bool | None:
    """Return yes, no, or that nothing was said.

    Raises:
        InvalidValue: neither true nor false.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return value
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text(value).lower() not in known:
        raise InvalidValue("it must be true or false")
    return known[text(value).lower()]
