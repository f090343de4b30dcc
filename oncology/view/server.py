"""A server of one page on this computer, for those who know its address.

The address holds a random token: a request without it is refused, whatever else it asks for. The page holds all of its
data, so there is nothing else to serve, and nothing that a request could change.
"""

from __future__ import annotations

import gzip
import hmac
import html
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from oncology.errors import ConfigError, OutputError
from oncology.files import os_error_text

__all__ = ["PageServer", "doorway", "network_address", "new_token"]

USUAL_PORT = 8765  # where nothing else is asked for: the same tunnel serves every time
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def new_token() -> str:
    """Return 128 random bits, to be written in an address."""
    return secrets.token_urlsafe(16)


class PageServer(ThreadingHTTPServer):
    """Answers GET and HEAD of `/?token=TOKEN` with the page, and everything else with an error.

    Call `serve_forever`, and `server_close` at the end.

    Args:
        page: the page.
        token: what the address must hold.
        host: address to listen on.
        port: port; 0 takes a free one; None the usual one, or a free one where that is taken.

    Raises:
        ConfigError: host or port cannot be used.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, page: str, token: str, host: str = "127.0.0.1", port: int | None = None) -> None:
        self.page = page.encode()
        self.packed = gzip.compress(self.page, 1)
        self.token = token
        try:
            self._listen(host, USUAL_PORT if port is None else port)
        except ConfigError:
            if port is not None:
                raise
            self._listen(host, 0)

    def _listen(self, host: str, port: int) -> None:
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"--host {host} --port {port}: {reason}: give another --port, or leave it out") from error

    @property
    def address(self) -> str:
        """Where a browser finds the page: from elsewhere too, where the server listens on more than this computer."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_port}/?token={self.token}"

    @property
    def host(self) -> str:
        """Name to reach the server by: the network address of this computer, where it listens on all of them."""
        host = str(self.server_address[0])
        return network_address() if host in ("0.0.0.0", "", "::") else host


def network_address() -> str:
    """Return the address of this computer that its network sees: that of the interface which leads outside.

    A datagram socket that is connected to an address for documentation (RFC 5737) sends nothing; it is only told which
    address would be its own. The name of the computer where there is no network.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found = str(probe.getsockname()[0])
        except OSError:
            found = ""
    return found if found not in ("", "0.0.0.0", "127.0.0.1") else socket.gethostname()


@contextmanager
def doorway(address: str) -> Iterator[Path]:
    """Give a file that leads a browser to an address, readable by its owner alone, and remove it at the end.

    Every user of a computer can read the command line of a browser, and with it an address that it is started with.

    Args:
        address: with its token.

    Raises:
        OutputError: there is no folder for temporary files.
    """
    page = (
        '<!DOCTYPE html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>oncology view</title>'
        f'<meta http-equiv="refresh" content="0; url={html.escape(address)}">'
        f'<p><a href="{html.escape(address)}">The page of oncology view</a></p>'
    )
    try:
        folder = Path(tempfile.mkdtemp(prefix="oncology-view-"))  # for its owner alone
    except OSError as error:
        raise OutputError(os_error_text(error)) from error
    try:
        path = folder / "open.html"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(page)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version = "oncology"
    sys_version = ""
    timeout = 60.0

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the log would hold the token."""

    def _answer(self, body: bool) -> None:
        asked = urlsplit(self.path)
        given = parse_qs(asked.query).get("token", [""])[0]
        if not hmac.compare_digest(given.encode(), self.server.token.encode()):
            text = b"Refused: open the whole address that oncology view printed, with its token.\n"
            self._send(HTTPStatus.FORBIDDEN, "text/plain; charset=utf-8", text, body)
        elif asked.path != "/":
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"There is nothing else here.\n", body)
        else:
            packed = "gzip" in self.headers.get("Accept-Encoding", "")
            content = self.server.packed if packed else self.server.page
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", content, body, packed)

    def _send(self, status: HTTPStatus, kind: str, content: bytes, body: bool, packed: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if packed:
            self.send_header("Content-Encoding", "gzip")
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)
