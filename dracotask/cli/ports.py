"""The ports that the commands which serve something listen on."""

from __future__ import annotations

import socket

from ..errors import DracotaskError


class PortTaken(DracotaskError):
    """Raised when another program listens on the port already."""


def shown_host(host: str) -> str:
    """Return a host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


def listen(host: str, port: int, verb: str = "serve") -> socket.socket:
    """Return a listening socket; port 0 is any that is free.

    :param verb: the command that a remedy speaks of.
    :raises PortTaken: by another program.
    :raises DracotaskError: it is not to be had, and why.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
    except (OSError, OverflowError, UnicodeError) as error:
        raise DracotaskError(f"{host} port {port} is no address to serve on: {error}.") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise _why_not(error, host, port, verb) from None
    return listening


def _why_not(error: OSError | OverflowError, host: str, port: int, verb: str) -> DracotaskError:
    import errno

    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return PortTaken(f"Port {port} of {host} is in use by another program. Take another: {verb} --port {port + 1}")
    if number == errno.EACCES:
        return DracotaskError(f"Port {port} is for root. Take one from 1024 on: {verb} --port 8000")
    return DracotaskError(f"Port {port} of {host} cannot be had: {getattr(error, 'strerror', None) or error}.")
