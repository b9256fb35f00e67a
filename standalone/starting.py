"""What can be wrong at start, each as one sentence that says what to do."""


class CannotStart(Exception):
    """Edgepost cannot start as it is configured; the text is for the operator."""
