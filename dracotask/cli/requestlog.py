"""What the servers of ours tell of each request: no link that signs somebody in, for a log has many readers."""

from __future__ import annotations

from werkzeug.serving import WSGIRequestHandler

from ..console.signin import SIGN_IN


class RequestLog(WSGIRequestHandler):
    """Tells of each request on stderr, of a sign-in without its token."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        whole = getattr(self, "path", "")  # there is none where the first line made no sense
        address, _, query = whole.partition("?")
        if query and address.rstrip("/").endswith(f"/{SIGN_IN}"):
            self.path = f"{address}?..."
        super().log_request(code, size)
        if whole:
            self.path = whole


class NoRequestLog(WSGIRequestHandler):
    """Tells of errors only: a page that asks for news every two seconds would fill the terminal."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass
