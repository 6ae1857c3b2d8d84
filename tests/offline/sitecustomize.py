"""Forbid every socket beyond loopback in this Python process, and log each attempt.

Python imports this module at start-up where its folder is on PYTHONPATH: child processes are held to it too.
"""

import ipaddress
import os
import sys
from pathlib import Path

ATTEMPTS = "AMPLITUNE_TEST_ATTEMPTS"
"""Environment variable that names the file in which forbidden attempts are logged."""


def _is_local(host: object) -> bool:
    if host is None or host == "" or host == b"" or str(host) == "localhost":
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        # Unix sockets have a path as their address.
        host = address[0] if isinstance(address, tuple) else None
    else:
        return
    if _is_local(host):
        return
    log = os.environ.get(ATTEMPTS)
    if log:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{event} {host!r}\n")
    raise PermissionError(f"the tests forbid the network, but something asked for {host!r}")


sys.addaudithook(_guard)
