"""The listening sockets, opened once by the supervisor and inherited by its parts.

A part that crashes loses no connection attempt: the socket stays open, and
clients wait in the kernel's queue until the part is back.
"""

import errno
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from shared.settings import Settings
from standalone.starting import CannotStart

Listening = Mapping[str, Sequence[socket.socket]]
"""The sockets of each door: ``http``, ``smtp``, ``submission`` and ``submissions``."""

BACKLOG = 1024
"""Connections the kernel keeps for a part that is busy or being restarted."""

PRIVILEGED_BELOW = 1024

BUSY_TRIES = 10
BUSY_PAUSE_S = 0.1
"""The parts of a supervisor that was killed need a moment to let go of its ports."""


def open_all(settings: Settings, *, pause: Callable[[float], None] = time.sleep) -> Listening:
    """Return listening sockets for every door.

    Raises:
        CannotStart: one of them cannot be opened; none stays open.
    """
    wanted = {
        "http": (settings.http_host, settings.http_port),
        "smtp": (settings.smtp_host, settings.smtp_port),
        "submission": (settings.smtp_host, settings.submission_port),
        "submissions": (settings.smtp_host, settings.submissions_port),
    }
    opened: dict[str, Sequence[socket.socket]] = {}
    try:
        for door, (host, port) in wanted.items():
            opened[door] = _open(door, host, port, pause=pause)
    except CannotStart:
        close_all(opened)
        raise
    return opened


def close_all(listening: Listening) -> None:
    """Close the sockets.  Twice: nothing more."""
    for each in _every(listening):
        each.close()


def inherited(descriptors: Iterable[str]) -> Listening:
    """Return the sockets that a part was started with, from ``door=descriptor`` texts."""
    found: dict[str, list[socket.socket]] = {}
    for each in descriptors:
        door, _, number = each.partition("=")
        found.setdefault(door, []).append(socket.socket(fileno=int(number)))
    return found


def ports_of(listening: Listening) -> dict[str, int]:
    """Return the port of each door, as the kernel chose it where 0 was asked."""
    return {door: int(sockets[0].getsockname()[1]) for door, sockets in listening.items()}


def write_ports(data_dir: Path, ports: Mapping[str, int]) -> None:
    """Note the ports in ``ports.json``, whole or not at all."""
    unfinished = data_dir / "ports.json.new"
    unfinished.write_text(json.dumps(ports) + "\n")
    unfinished.replace(data_dir / "ports.json")


def _every(listening: Listening) -> list[socket.socket]:
    return [each for sockets in listening.values() for each in sockets]


def _open(door: str, host: str, port: int, *, pause: Callable[[float], None]) -> list[socket.socket]:
    """Listen on every address of the host; those of a family this machine lacks are left out."""
    opened: list[socket.socket] = []
    problem: OSError | None = None
    for family, address in _addresses(door, host):
        chosen = opened[0].getsockname()[1] if opened else port
        try:
            opened.append(_listen_patiently(family, address, chosen, pause))
        except OSError as exc:
            problem = exc
            if exc.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
    if not opened or (problem and problem.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)):
        for each in opened:
            each.close()
        raise CannotStart(_sentence(door, host, port, problem)) from problem
    return opened


def _addresses(door: str, host: str) -> list[tuple[int, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as exc:
        raise CannotStart(f"Cannot listen for {door}: {_setting(door, 'HOST')}={host} is not a known name") from exc
    return list(dict.fromkeys((int(family), str(address[0])) for family, _, _, _, address in found))


def _listen_patiently(family: int, address: str, port: int, pause: Callable[[float], None]) -> socket.socket:
    for _ in range(BUSY_TRIES):
        try:
            return _listen(family, address, port)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
        pause(BUSY_PAUSE_S)
    return _listen(family, address, port)


def _listen(family: int, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "::" takes IPv4 too, as mapped addresses (RFC 4291 §2.5.5.2), whatever the system's default.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
        made.bind((address, port))
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _setting(door: str, what: str) -> str:
    return f"EDGEPOST_{'SMTP' if what == 'HOST' and door != 'http' else door.upper()}_{what}"


def _sentence(door: str, host: str, port: int, problem: OSError | None) -> str:
    setting = _setting(door, "PORT")
    where = f"{host} port {port}"
    match problem.errno if problem else None:
        case errno.EADDRINUSE:
            return (
                f"Cannot listen for {door} on {where}: another program uses it. "
                f"Find it with `ss -tlpn 'sport = :{port}'`, or choose another port with {setting}"
            )
        case errno.EACCES | errno.EPERM if port < PRIVILEGED_BELOW:
            return (
                f"Cannot listen for {door} on {where}: ports below 1024 need the right CAP_NET_BIND_SERVICE. "
                "Give it in the systemd unit (AmbientCapabilities=CAP_NET_BIND_SERVICE) or with "
                f"`setcap cap_net_bind_service=+ep` on the Python program, or choose another port with {setting}"
            )
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return (
                f"Cannot listen for {door} on {where}: this machine does not have that address; "
                f"see {_setting(door, 'HOST')}"
            )
        case number:
            return f"Cannot listen for {door} on {where}: {os.strerror(number or 0)}"
