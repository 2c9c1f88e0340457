"""A model hub on 127.0.0.1 that speaks the Hugging Face hub's protocol over real sockets.

It answers HEAD and GET of /OWNER/NAME/resolve/REVISION/FILE; with `storage=True` a large file is
redirected (302, X-Linked-Etag) to a second port, as the hub does to its storage hosts. `token` is the only
one it accepts; where it is `public`, it answers whoever asks without one, too. `Fault` makes it
misbehave. Every request is kept in `requests` with the body bytes sent.

    with LoopbackHub({"org/tiny": {"model.safetensors": data}}) as hub:
        os.environ["HF_ENDPOINT"] = hub.url
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

COMMIT = "c0ffee00" * 5


def safetensors_bytes(size: int) -> bytes:
    """A sound safetensors file with one tensor of `size` random bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    return struct.pack("<Q", len(header)) + header.encode() + os.urandom(size)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fault:
    """One way to misbehave, for requests of `methods` whose file name ends with `file`.

    It strikes the first `times` matching requests; None strikes all of them. Byte positions count
    in the file, not in the response, so that a resumed download meets them at the same place.
    """

    file: str = ""
    methods: tuple[str, ...] = ("HEAD", "GET")
    times: int | None = None
    status: int | None = None  # answer with this status and no body
    fields: Mapping[str, str] = field(default_factory=dict)  # set or replace these fields
    without: tuple[str, ...] = ()  # leave these fields out
    hang: bool = False  # read the request and never answer
    garbage: bool = False  # answer bytes that are no HTTP
    stall_at: int | None = None  # stop sending at this byte, keep the connection
    close_at: int | None = None  # close the connection cleanly at this byte
    reset_at: int | None = None  # RST at this byte
    flip_at: int | None = None  # invert the byte at this position
    bytes_per_second: float | None = None  # drip
    ignore_range: bool = False  # answer 200 with the whole file
    length_off_by: int = 0  # announce a wrong Content-Length
    extra_bytes: int = 0  # send more than announced


@dataclass(kw_only=True)
class Seen:
    """One request as it arrived; `sent` grows with every body byte that left."""

    method: str
    path: str
    range: str | None
    authorization: str | None
    names: tuple[str, ...]  # of all its fields, in small letters
    on_storage: bool
    sent: int = 0


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file's bytes and what the hub says of them."""

    data: bytes
    large: bool

    @cached_property
    def etag(self) -> str:
        """The sha256 of a large file, the git blob hash of a small one."""
        if self.large:
            return hashlib.sha256(self.data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()


def _files(models: Mapping[str, Mapping[str, bytes]]) -> dict[tuple[str, str], _File]:
    return {
        (model, name): _File(data=data, large=name.endswith((".safetensors", ".bin")))
        for model, files in models.items()
        for name, data in files.items()
    }


class LoopbackHub:
    """The hub: `models` maps an id to its files' bytes. Files ending in .safetensors or .bin are large."""

    def __init__(
        self,
        models: Mapping[str, Mapping[str, bytes]],
        *,
        commit: str = COMMIT,
        storage: bool = False,
        token: str | None = None,
        public: bool = False,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        self.commit, self.token, self.public = commit, token, public
        self.faults = faults
        self.requests: list[Seen] = []
        self._struck: dict[Fault, int] = {}
        self._guard = threading.Lock()
        self.closing = threading.Event()
        self.files = _files(models)
        self._earlier: dict[str, dict[tuple[str, str], _File]] = {}
        self._main = _Server(self)
        self._storage = _Server(self) if storage else None

    @property
    def url(self) -> str:
        """The endpoint, for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._main.server_port}"

    @property
    def storage_url(self) -> str | None:
        """Where large files are redirected to, or None."""
        return f"http://localhost:{self._storage.server_port}" if self._storage else None

    def __enter__(self) -> LoopbackHub:
        for server in filter(None, (self._main, self._storage)):
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for server in filter(None, (self._main, self._storage)):
            server.shutdown()
            server.server_close()

    def move(self, models: Mapping[str, Mapping[str, bytes]], commit: str) -> None:
        """Let main be another commit with other files; the earlier commit is still served."""
        self._earlier[self.commit] = self.files
        self.files, self.commit = _files(models), commit

    def at(self, revision: str) -> tuple[str, Mapping[tuple[str, str], _File]] | None:
        """The commit and the files that a revision names."""
        if revision in ("main", self.commit):
            return self.commit, self.files
        return (revision, self._earlier[revision]) if revision in self._earlier else None

    def seen(self, server: _Server, handler: BaseHTTPRequestHandler) -> Seen:
        """Keep a request."""
        request = Seen(
            method=handler.command,
            path=handler.path,
            range=handler.headers.get("Range"),
            authorization=handler.headers.get("Authorization"),
            names=tuple(name.lower() for name in handler.headers),
            on_storage=server is self._storage,
        )
        with self._guard:
            self.requests.append(request)
        return request

    def fault_for(self, request: Seen) -> Fault:
        """The first fault that strikes this request, else one that does nothing."""
        with self._guard:
            for fault in self.faults:
                count = self._struck.get(fault, 0)
                over = fault.times is not None and count >= fault.times
                if (
                    request.method in fault.methods
                    and request.path.endswith(fault.file)
                    and not over
                ):
                    self._struck[fault] = count + 1
                    return fault
        return Fault()

    def gets(self, name: str) -> list[Seen]:
        """The GET requests for a file that may have sent a body (not the redirecting ones)."""
        wanted = [r for r in self.requests if r.method == "GET" and r.path.endswith(name)]
        return [r for r in wanted if r.on_storage or not self._storage]

    def sent(self, name: str) -> int:
        """Body bytes sent of a file, in all requests together."""
        return sum(request.sent for request in self.gets(name))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, hub: LoopbackHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are the point of many tests: say nothing."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""

    def _answer(self) -> None:
        self.close_connection = True
        server = cast(_Server, self.server)
        hub = server.hub
        request = hub.seen(server, self)
        fault = hub.fault_for(request)
        if fault.hang:
            hub.closing.wait()
        elif fault.garbage:
            self.wfile.write(b"\x00\x01\x02 not http\r\n\r\n")
        elif fault.status is not None:
            self._say(fault.status, {}, fault)
        elif (
            hub.token and not request.on_storage and request.authorization != f"Bearer {hub.token}"
        ) and not (hub.public and request.authorization is None):
            self._say(401, {"X-Error-Code": "GatedRepo"}, fault)
        elif request.path.startswith("/api/models/"):
            self._say_model(hub, fault)
        else:
            self._say_file(hub, request, fault)

    def _say(self, status: int, fields: Mapping[str, str], fault: Fault) -> None:
        """The head of an answer; `fault` has the last word on its fields."""
        self.send_response(status)
        for name, value in {"Content-Length": "0", **fields, **fault.fields}.items():
            if name not in fault.without:
                self.send_header(name, value)
        # A connection serves one request; a client that pools connections must be told.
        self.send_header("Connection", "close")
        self.end_headers()

    def _say_model(self, hub: LoopbackHub, fault: Fault) -> None:
        model = re.sub(r"^/api/models/|/(revision|tree)/.*$", "", self.path)
        siblings = [{"rfilename": name} for owner, name in hub.files if owner == model]
        body = json.dumps({"id": model, "sha": hub.commit, "siblings": siblings}).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self._say(200 if siblings else 404, fields, fault)
        if self.command == "GET":
            self.wfile.write(body)

    def _say_file(self, hub: LoopbackHub, request: Seen, fault: Fault) -> None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        known = {model for model, _ in hub.files}
        if not match or match[1] not in known:
            self._say(404, {"X-Error-Code": "RepoNotFound"}, fault)
            return
        if (found := hub.at(match[2])) is None:
            self._say(404, {"X-Error-Code": "RevisionNotFound"}, fault)
            return
        commit, files = found
        if (file := files.get((match[1], match[3]))) is None:
            self._say(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, fault)
            return
        if file.large and hub.storage_url and not request.on_storage:
            linked = {
                "Location": f"{hub.storage_url}{self.path}",
                "X-Linked-Etag": f'"{file.etag}"',
                "X-Linked-Size": str(len(file.data)),
                "X-Repo-Commit": commit,
            }
            self._say(302, linked, fault)
            return
        self._send_file(file, commit, request, fault)

    def _send_file(self, file: _File, commit: str, request: Seen, fault: Fault) -> None:
        total = len(file.data)
        match = re.fullmatch(r"bytes=(\d+)-", request.range or "")
        start = int(match[1]) if match and not fault.ignore_range else 0
        if start >= total > 0:
            self._say(416, {"Content-Range": f"bytes */{total}"}, fault)
            return
        fields = {
            "X-Repo-Commit": commit,
            "ETag": f'"{file.etag}"',
            "Accept-Ranges": "bytes",
            "Content-Length": str(total - start + fault.length_off_by),
        }
        if start:
            fields["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        self._say(206 if start else 200, fields, fault)
        if self.command == "GET":
            self._send_body(file.data, start, request, fault)

    def _send_body(self, data: bytes, start: int, request: Seen, fault: Fault) -> None:
        hub = cast(_Server, self.server).hub
        end = len(data)
        if fault.flip_at is not None:
            flipped = bytes([data[fault.flip_at] ^ 0xFF])
            data = data[: fault.flip_at] + flipped + data[fault.flip_at + 1 :]
        stops = [at for at in (fault.stall_at, fault.close_at, fault.reset_at) if at is not None]
        stop = min([end, *stops])
        step = (
            1 << 16 if fault.bytes_per_second is None else max(1, int(fault.bytes_per_second / 10))
        )
        for at in range(start, stop, step):
            piece = data[at : min(at + step, stop)]
            self.wfile.write(piece)
            request.sent += len(piece)
            if fault.bytes_per_second is not None and hub.closing.wait(0.1):
                return
        self.wfile.write(b"\0" * fault.extra_bytes)
        if fault.stall_at is not None and stop < end:
            hub.closing.wait()
        if fault.reset_at is not None and stop < end:
            # Let what was sent arrive: an RST overtakes bytes that still wait in the kernel.
            time.sleep(0.1)
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
