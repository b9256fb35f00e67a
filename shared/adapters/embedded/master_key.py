"""The file in the data directory that holds standalone's master key."""

import base64
import os
import secrets
from pathlib import Path

from shared.adapters.keyring import KEY_BYTES, decoded_master_key
from shared.domain.errors import InvalidValue


def load_master_key(settings_key: str, file: Path, *, create: bool = True) -> bytes:
    """Return the master key: the one in the settings, else the file's, else a new one in the file.

    Of several processes that start at once, one makes the file and all read it.

    Args:
        settings_key: 32 bytes in base64; empty to use the file.
        file: holds the key in base64; made readable by its owner only.
        create: whether a missing file is made.

    Raises:
        InvalidValue: the key is no base64 of 32 bytes, or the file cannot be read or made.
    """
    if settings_key:
        return decoded_master_key(settings_key, "the master key in the settings")
    try:
        if create and not file.exists():
            _create(file)
        text = file.read_text(encoding="ascii", errors="replace")
    except OSError as exc:
        raise InvalidValue(f"the master key file {file} cannot be read or made: {exc.strerror}") from exc
    return decoded_master_key(text.strip(), f"the master key in {file}")


def _create(file: Path) -> None:
    """Make the file with a new key unless another process does; it appears with all of its text."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            opened.flush()
            # A key that is lost after it wrapped something cannot be made again.
            os.fsync(opened.fileno())
        # Unlike rename, link never replaces a key that is already there.
        os.link(draft, file)
        _sync_directory(file.parent)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
