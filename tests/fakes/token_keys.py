"""Token keys in memory."""


class FakeTokenKeys:
    """``TokenKeyStore`` over one text."""

    def __init__(self, text: str | None = None) -> None:
        self.text = text
        self.reads = 0

    def read(self) -> str | None:
        """Return the text."""
        self.reads += 1
        return self.text

    def write(self, text: str, *, instead_of: str | None) -> bool:
        """Replace the text if it is what the caller thinks."""
        if self.text != instead_of:
            return False
        self.text = text
        return True
