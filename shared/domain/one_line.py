"""Words of strangers, as logs, tables and files can hold them."""


def one_line(text: str, longest: int) -> str:
    """Return the text as one line, cut, with a space for what is no character: it may steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text[:longest]).strip()
