"""An HTTP proxy on 127.0.0.1: it passes plain requests on to one host, whichever was asked for, or refuses.

with LoopbackProxy(to=hub.url) as proxy:
    os.environ["HTTP_PROXY"] = proxy.url
"""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import urlsplit


class LoopbackProxy:
    """`status` is the answer to everything, CONNECT included; without it, requests go `to` a host."""

    def __init__(self, *, to: str | None = None, status: int | None = None) -> None:
        self.to, self.status = to, status
        self.asked: list[str] = []
        self._server = _Server(self)

    @property
    def url(self) -> str:
        """Its address, with a user and a password that nobody may ever see."""
        return f"http://me:s3cret@127.0.0.1:{self._server.server_port}"

    @property
    def shown(self) -> str:
        """Its address without them."""
        return self.url.replace("me:s3cret@", "")

    def __enter__(self) -> LoopbackProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, proxy: LoopbackProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are the point of some tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._pass_on()

    def do_GET(self) -> None:
        self._pass_on()

    def do_CONNECT(self) -> None:
        self._pass_on()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""

    def _pass_on(self) -> None:
        self.close_connection = True
        proxy = cast(_Server, self.server).proxy
        proxy.asked.append(self.path)
        if proxy.to is None:
            self.send_response(proxy.status or 502)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        onward = HTTPConnection(urlsplit(proxy.to).netloc)
        onward.request(self.command, urlsplit(self.path).path, headers=dict(self.headers.items()))
        answer = onward.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
