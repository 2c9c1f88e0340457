"""ModelScope's SDK as the last source, against a server on 127.0.0.1 that speaks its protocol.

Where the SDK itself is installed it is used; elsewhere a module of its name and signature that makes
the same two requests stands in for it. Nothing of the kit is replaced.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from loopback_hub import LoopbackHub
from tiny_hub import DATA, LOCATE, ROOT, SHA256, WEIGHTS, fetch, start, use_empty_caches

INSTALLED = importlib.util.find_spec("modelscope") is not None

PIECE_BYTES = 300_000
# For a request on this machine, however busy; the thirty seconds are for the world's networks.
STALL_SECONDS = 3.0
SHORT_STALL = f"from kit.weights import progress; progress.STALL_SECONDS = {STALL_SECONDS}\n"

STAND_IN = """
import json, os, urllib.request
from pathlib import Path

def snapshot_download(model_id, revision=None, cache_dir=None, *, allow_patterns=None):
    base = os.environ["MODELSCOPE_ENDPOINT"] + "/api/v1/models/" + model_id
    def get(rest):
        return urllib.request.urlopen(base + rest)
    listed = json.load(get(f"/repo/files?Revision={revision}&Recursive=True"))
    folder = Path(cache_dir or os.environ["MODELSCOPE_CACHE"]) / "models"
    folder = folder / model_id.replace("/", "--") / "snapshots" / revision
    for name in [file["Path"] for file in listed["Data"]["Files"]]:
        if name in allow_patterns:
            answer = get(f"/repo?Revision={revision}&FilePath={name}")
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = folder / (name + ".incomplete")
            with unfinished.open("wb", buffering=0) as file:
                while chunk := answer.read1(1 << 16):
                    file.write(chunk)
            unfinished.replace(folder / name)
    return str(folder)
"""


class _Handler(BaseHTTPRequestHandler):
    """A repository's list of files and their bytes. `server.hangs` says which path has no answer,
    `server.stalls_at` after which byte no more come, `server.pause` how many seconds after a piece."""

    server: Any

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""

    def answer(self) -> None:
        self.server.paths.append(self.path)
        query = parse_qs(urlsplit(self.path).query)
        if self.server.hangs is not None and self.server.hangs in self.path:
            self.server.closing.wait()
        body = b"{}"
        if "/repo/files" in self.path:
            file = {"Path": WEIGHTS, "Name": WEIGHTS, "Type": "blob", "Size": len(DATA)}
            files = [{**file, "Sha256": SHA256, "Revision": "a" * 40}]
            body = json.dumps({"Code": 200, "Success": True, "Data": {"Files": files}}).encode()
        elif query.get("FilePath") == [WEIGHTS]:
            body = self.server.data
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            for at in range(0, len(body), PIECE_BYTES):
                if at == self.server.stalls_at:
                    self.server.closing.wait()
                self.wfile.write(body[at : at + PIECE_BYTES])
                self.server.closing.wait(self.server.pause)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are the point of some tests: say nothing."""


@pytest.fixture
def modelscope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The server, and an environment without a hub in which the SDK is there."""
    use_empty_caches(monkeypatch, tmp_path)
    server: Any = _Server(("127.0.0.1", 0), _Handler)
    server.paths, server.status, server.data = [], 200, DATA
    server.hangs, server.stalls_at, server.pause = None, None, 0.0
    server.closing = threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)  # it is no model hub, and that is seen at once
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", address)
    monkeypatch.setenv("HOME", str(tmp_path))
    if not INSTALLED:
        package = tmp_path / "sdk" / "modelscope"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(STAND_IN)
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


def locate(tmp_path: Path, timeout: float = 60, waits: str = "") -> subprocess.Popen[str]:
    """The chain in a process of its own, which finds the SDK on its path."""
    path = os.pathsep.join([str(tmp_path / "sdk"), str(ROOT), str(ROOT / "tests"), *sys.path])
    return start(waits + LOCATE, timeout=timeout, PYTHONPATH=path)


def ended(process: subprocess.Popen[str]) -> Any:
    return json.loads(process.communicate(timeout=90)[0])


def test_modelscope_is_asked_last_and_its_file_is_verified(modelscope: Any, tmp_path: Path) -> None:
    answer = ended(locate(tmp_path))
    assert [source for source, *_ in answer["attempts"]][-2:] == ["hub", "modelscope"]
    assert answer["attempts"][-1][1:3] == ["found", "sha256 published"]
    assert Path(answer["found"]).read_bytes() == DATA and answer["downloaded"]
    asked = len(modelscope.paths)
    again = ended(locate(tmp_path))
    assert again["attempts"][-1][0] == "modelscope-cache" and not again["downloaded"]
    assert len(modelscope.paths) == asked


def test_other_bytes_than_were_published_are_not_taken(modelscope: Any, tmp_path: Path) -> None:
    modelscope.data = DATA[:-1] + bytes([DATA[-1] ^ 1])
    answer = ended(locate(tmp_path))
    assert answer["found"] is False
    source, outcome, reason, _ = answer["attempts"][-1]
    # The SDK may find them wrong itself, with the hash that its own listing gave it.
    assert (source, outcome) in {("modelscope", "refused"), ("modelscope", "failed")}
    assert "is not the published" in reason or "SDK failed" in reason


def test_an_error_of_the_sdk_is_a_reason_without_paths(modelscope: Any, tmp_path: Path) -> None:
    modelscope.status = 404
    source, outcome, reason, _ = ended(locate(tmp_path))["attempts"][-1]
    assert (source, outcome) == ("modelscope", "failed")
    assert "ModelScope's SDK failed (HTTPError: " in reason and "404" in reason
    assert "/" not in reason


@pytest.mark.parametrize(("hangs", "words"), [("/repo", "SDK was done"), ("", "did not answer")])
def test_a_host_that_hangs_is_left_in_time(
    hangs: str,
    words: str,
    modelscope: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modelscope.hangs = hangs
    with LoopbackHub({}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        attempts = ended(locate(tmp_path, timeout=4))["attempts"]
    assert attempts[-1][:2] == ["modelscope", "failed"] and words in attempts[-1][2]
    assert sum(seconds for *_, seconds in attempts) <= 4 + 3


def test_a_server_that_stalls_is_left_long_before_the_deadline(
    modelscope: Any, tmp_path: Path
) -> None:
    modelscope.stalls_at = 2 * PIECE_BYTES
    attempt = ended(locate(tmp_path, timeout=60, waits=SHORT_STALL))["attempts"][-1]
    assert attempt[:2] == ["modelscope", "failed"]
    assert "stalled: no byte for 3 s; run it again" in attempt[2]
    assert attempt[3] < 30
    files = [path for path in (tmp_path / "modelscope").rglob("*") if path.is_file()]
    assert 2 * PIECE_BYTES in [path.stat().st_size for path in files]


def test_a_download_that_grows_slowly_has_not_stalled(modelscope: Any, tmp_path: Path) -> None:
    modelscope.pause = STALL_SECONDS / 4
    answer = ended(locate(tmp_path, waits=SHORT_STALL))
    assert answer["attempts"][-1][1] == "found", answer
    assert len(DATA) > 4 * PIECE_BYTES and answer["attempts"][-1][3] > STALL_SECONDS


def test_the_sdks_process_ends_with_a_run_that_is_killed(modelscope: Any, tmp_path: Path) -> None:
    modelscope.hangs = "/repo"
    process = locate(tmp_path)
    while not any("/repo" in path for path in modelscope.paths):
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    process.kill()
    process.communicate()
    give_up = time.monotonic() + 20
    while alive(int(children[0])) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not alive(int(children[0]))


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and that nobody has collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(INSTALLED, reason="the SDK is installed")
def test_without_the_sdk_the_record_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_empty_caches(monkeypatch, tmp_path)
    with LoopbackHub({}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        attempt = fetch().attempts[-1]
    assert (attempt.source, attempt.outcome) == ("modelscope", "skipped")
    assert "pip install modelscope" in attempt.line
