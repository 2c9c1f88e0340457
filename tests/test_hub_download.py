"""The download from the hub, against a real server on 127.0.0.1 that misbehaves in known ways."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import COMMIT, Fault, LoopbackHub, safetensors_bytes

from kit.adapter import ModelInfo
from kit.weights import progress
from kit.weights.sources import Located, locate

ROOT = Path(__file__).resolve().parent.parent
DATA = safetensors_bytes(1_500_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
WEIGHTS = "model.safetensors"
FILES = {"org/tiny": {WEIGHTS: DATA, "tokenizer.json": b'{"tokens": []}'}}

# Another process's `locate`: prints what it found as JSON; argv is the published sha256, timeout.
LOCATE = """
import json, sys
from kit.weights.sources import locate
from test_hub_download import info
located = locate(info(), timeout=float(sys.argv[1]), log=lambda line: None)
print(json.dumps({
    "found": located.file is not None and str(located.file.path),
    "downloaded": located.downloaded,
    "attempts": [[a.source, a.outcome, a.reason, a.seconds] for a in located.attempts],
}))
"""
# The same where names never resolve: a resolver that hangs, as with dropped packets on port 53.
LOCATE_WITHOUT_DNS = "import socket, time; socket.getaddrinfo = lambda *a, **k: time.sleep(60)\n"


def info(**changes: Any) -> ModelInfo:
    """The tiny model of the loopback hub."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "hub_id": "org/tiny",
        "revision": COMMIT,
        "vendor": "org",
        "task": "test",
        "pipeline_tag": "test",
        "library": "none",
        "license": "none",
        "architecture": "none",
        "parameters": 1,
        "tensors": 1,
        # DATA is random: another process is told the hash instead.
        "published": {WEIGHTS: os.environ.get("TEST_SHA256", SHA256)},
    }
    return ModelInfo(**{**fields, **changes})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches and a clean environment; the Hugging Face cache's root."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING", "KIT_", "MODELSCOPE")) or "proxy" in name.lower():
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    return tmp_path / "hub"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits, so that faults which are waited out do not make the suite long."""
    monkeypatch.setattr(progress, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(progress, "STALL_SECONDS", 0.4)
    monkeypatch.setattr(progress, "TRY_SECONDS", 0.5)
    monkeypatch.setattr(progress, "ANSWER_SECONDS", 0.8)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., LoopbackHub]]:
    """Start a hub with these faults and make it the endpoint."""
    hubs: list[LoopbackHub] = []

    def start(*faults: Fault, **options: Any) -> LoopbackHub:
        hub = LoopbackHub(FILES, faults=faults, **options)
        hubs.append(hub.__enter__())
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        return hub

    yield start
    for hub in hubs:
        hub.__exit__()


def fetch(**options: Any) -> Located:
    """`locate` with a log that nobody reads."""
    model = options.pop("info", None) or info()
    return locate(model, log=options.pop("log", lambda line: None), **options)


def assert_sound(cache: Path) -> None:
    """Every file with a final name is whole; only the kit's own parts are partial."""
    files = [path for path in cache.rglob("*") if path.is_file() and ".locks" not in path.parts]
    for path in files:
        assert (
            path.name.endswith(".kit.part")
            or path.read_bytes() in FILES["org/tiny"].values()
            or path.parent.name == "refs"
        )


def last_reason(located: Located) -> str:
    assert located.file is None
    assert located.attempts[-1].source == "hub"
    return located.attempts[-1].reason


def start(script: str, *, timeout: float = 60, **environment: str) -> subprocess.Popen[str]:
    """Run `script` in another process with this environment and these caches."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), *sys.path])
    changes = {"PYTHONPATH": paths, "TEST_SHA256": SHA256, **environment}
    return subprocess.Popen(
        [sys.executable, "-c", script, str(timeout)],
        env={**os.environ, **changes},
        stdout=subprocess.PIPE,
        text=True,
    )


# ---- what works --------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", [False, True])
def test_the_library_finds_what_the_kit_downloaded(
    cache: Path, serve: Callable[..., LoopbackHub], storage: bool
) -> None:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    hub = serve(storage=storage)
    located = fetch(info=info(companions=("tokenizer.json",)))
    assert located.file is not None
    assert located.file.path.read_bytes() == DATA
    assert (located.file.sha256, located.file.hash_origin) == (SHA256, "published")
    assert located.label == f"hf-cache:models--org--tiny/snapshots/{COMMIT}/{WEIGHTS}"
    assert located.downloaded and located.pretrained_used is True
    assert located.companions["tokenizer.json"].read_bytes() == b'{"tokens": []}'
    assert hub.sent(WEIGHTS) == len(DATA)
    for name in (WEIGHTS, "tokenizer.json"):
        wanted: dict[str, Any] = {"repo_id": "org/tiny", "filename": name, "cache_dir": cache}
        path = str(located.file.path.parent / name)
        assert try_to_load_from_cache(**wanted, revision=COMMIT) == path
        assert hf_hub_download(**wanted, revision=COMMIT, local_files_only=True) == path
    assert located.file.path.readlink() == Path(f"../../blobs/{SHA256}")
    count = len(hub.requests)
    again = fetch(info=info(companions=("tokenizer.json",)))
    assert again.file == located.file and not again.downloaded
    assert len(hub.requests) == count, "a good local copy costs no request"


def test_a_branch_is_recorded_so_that_the_library_finds_it(
    cache: Path, serve: Callable[..., LoopbackHub]
) -> None:
    from huggingface_hub import try_to_load_from_cache

    serve()
    located = fetch(info=info(revision="main", published={}))
    assert located.file is not None and located.file.hash_origin == "hub"
    assert located.file.revision == COMMIT
    assert try_to_load_from_cache("org/tiny", WEIGHTS, cache_dir=cache) == str(located.file.path)
    again = fetch(info=info(revision="main", published={}), offline=True)
    assert again.file is not None and again.file.hash_origin == "hub"


def test_the_kit_finds_what_the_library_downloaded(
    cache: Path, serve: Callable[..., LoopbackHub]
) -> None:
    hub = serve()
    script = (
        "from huggingface_hub import hf_hub_download\n"
        f"hf_hub_download('org/tiny', '{WEIGHTS}', revision='{COMMIT}')"
    )
    assert start(script, HF_ENDPOINT=hub.url).wait(60) == 0
    located = fetch(offline=True)
    assert located.file is not None and located.file.hash_origin == "published"


# ---- faults that pass --------------------------------------------------------------------------

GET = ("GET",)
PASSING = {
    "reset": Fault(methods=GET, file=WEIGHTS, reset_at=700_001, times=1),
    "closed": Fault(methods=GET, file=WEIGHTS, close_at=700_001, times=1),
    "stalled": Fault(methods=GET, file=WEIGHTS, stall_at=700_001, times=1),
    "closed-three-times": Fault(methods=GET, file=WEIGHTS, close_at=700_001, times=3),
    "503-head": Fault(methods=("HEAD",), status=503, times=2),
    "503-get": Fault(methods=GET, status=503, times=2),
    "429-retry-after": Fault(status=429, fields={"Retry-After": "1"}, times=1),
    "no-http": Fault(garbage=True, times=1),
    "hung-once": Fault(hang=True, times=1),
    "hung-get-once": Fault(methods=GET, hang=True, times=1),
    "more-than-announced": Fault(methods=GET, extra_bytes=100),
    "chunk-without-length": Fault(methods=GET, without=("Content-Length",)),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_costs_no_byte_twice(
    name: str, cache: Path, serve: Callable[..., LoopbackHub]
) -> None:
    hub = serve(PASSING[name])
    located = fetch()
    assert located.file is not None, located.pretrained_reason
    assert located.file.path.read_bytes() == DATA
    assert hub.sent(WEIGHTS) == len(DATA)
    assert_sound(cache)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", [1, -1])
def test_a_wrong_length_is_not_believed_once(
    error: int, cache: Path, serve: Callable[..., LoopbackHub]
) -> None:
    hub = serve(Fault(methods=GET, file=WEIGHTS, length_off_by=error, times=1))
    located = fetch()
    assert located.file is not None and located.file.path.read_bytes() == DATA
    assert [request.range for request in hub.gets(WEIGHTS)] == [None, None]
    assert_sound(cache)


@pytest.mark.usefixtures("quick")
def test_a_host_that_cannot_resume_is_asked_for_the_whole(
    serve: Callable[..., LoopbackHub],
) -> None:
    hub = serve(
        Fault(methods=GET, file=WEIGHTS, close_at=700_001, times=1),
        Fault(methods=GET, file=WEIGHTS, ignore_range=True),
    )
    located = fetch()
    assert located.file is not None and located.file.path.read_bytes() == DATA
    assert hub.sent(WEIGHTS) == len(DATA) + 700_001


# ---- faults that stay --------------------------------------------------------------------------

STAYING = {
    "reset": (Fault(methods=GET, reset_at=700_001), "failed", r"next run goes on at byte 700001"),
    "stalled": (Fault(methods=GET, stall_at=700_001), "failed", r"stalled .*HF_ENDPOINT"),
    "503": (Fault(status=503), "failed", r"HTTP 503 \(tries in a row: 4\); set HF_ENDPOINT"),
    "503-get": (Fault(methods=GET, status=503), "failed", r"HTTP 503"),
    "429-for-an-hour": (
        Fault(status=429, fields={"Retry-After": "3600"}),
        "failed",
        r"alone for 3600 s \(tries in a row: 1\)",
    ),
    "401": (Fault(status=401, fields={"X-Error-Code": "GatedRepo"}), "refused", r"set HF_TOKEN"),
    "403": (Fault(status=403), "refused", r"accept the terms at .*HF_TOKEN"),
    "404": (Fault(status=404, fields={"X-Error-Code": "EntryNotFound"}), "absent", r"EntryNotF"),
    "418": (Fault(status=418), "failed", r"HTTP 418.*--weights PATH"),
    "416": (Fault(methods=GET, status=416), "failed", r"HTTP 416"),
    "flipped": (Fault(methods=GET, flip_at=900_000), "refused", r"changed on the way"),
    "too-long": (Fault(methods=GET, length_off_by=5), "failed", r"announces 1500\d+ bytes where"),
    "other-size": (Fault(methods=("HEAD",), length_off_by=-9), "failed", r"announces"),
    "no-http": (Fault(garbage=True), "failed", r"no sound HTTP"),
    "hung": (Fault(hang=True), "failed", r"did not answer for .*HF_ENDPOINT"),
    "hung-get": (Fault(methods=GET, hang=True), "failed", r"did not answer for"),
    "no-etag": (Fault(without=("ETag",)), "failed", r"does not answer like a model hub"),
    "no-length": (Fault(without=("Content-Length",)), "failed", r"not answer like a model hub"),
    "path-as-etag": (Fault(fields={"ETag": '"../../../evil-etag"'}), "failed", r"not answer like"),
    "other-commit": (Fault(fields={"X-Repo-Commit": "d" * 40}), "failed", r"the commit asked for"),
    "other-bytes": (Fault(fields={"ETag": f'"{"d" * 64}"'}), "refused", r"offers other bytes"),
    "login-page": (Fault(status=302, fields={"Location": "http://localhost:9/"}), "failed", "hub"),
    "loop": (Fault(status=302, fields={"Location": "/again"}), "failed", r"not answer like"),
    "ftp": (
        Fault(status=302, fields={"Location": "ftp://localhost/"}),
        "failed",
        r"--weights PATH",
    ),
    "disk": (Fault(fields={"Content-Length": str(10**14)}), "failed", r"\d+\.\d MB are missing"),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", STAYING)
def test_a_fault_that_stays_is_a_reason_with_a_cure(
    name: str, cache: Path, serve: Callable[..., LoopbackHub]
) -> None:
    fault, outcome, words = STAYING[name]
    serve(fault)
    located = fetch(timeout=20)
    assert re.search(words, last_reason(located))
    assert located.attempts[-1].outcome == outcome
    assert located.attempts[-1].seconds < 10
    assert located.pretrained_used is False
    assert not [path for path in cache.rglob("blobs/*") if path.suffix != ".part"]
    assert not list(cache.rglob(f"snapshots/*/{WEIGHTS}"))


@pytest.mark.usefixtures("quick")
def test_the_deadline_ends_a_trickle_and_the_next_run_resumes_at_its_byte(
    serve: Callable[..., LoopbackHub],
) -> None:
    hub = serve(Fault(methods=GET, file=WEIGHTS, bytes_per_second=20_000, times=1))
    located = fetch(timeout=1.5)
    reason = last_reason(located)
    assert re.search(r"the deadline of 1.5 s ended .*--download-timeout", reason)
    assert located.downloaded
    assert located.attempts[-1].seconds < 1.5 + 3
    stopped = re.search(r"goes on at byte (\d+)", reason)
    assert stopped and 0 < int(stopped[1]) < 100_000
    assert fetch().file is not None
    second = hub.gets(WEIGHTS)[-1]
    assert second.range == f"bytes={stopped[1]}-"
    assert second.sent == len(DATA) - int(stopped[1])


@pytest.mark.usefixtures("quick")
def test_a_damaged_part_of_an_earlier_run_is_begun_again(
    cache: Path, serve: Callable[..., LoopbackHub]
) -> None:
    part = cache / "models--org--tiny" / "blobs" / f"{SHA256}.kit.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    hub = serve()
    located = fetch()
    assert located.file is not None and located.file.path.read_bytes() == DATA
    assert hub.sent(WEIGHTS) == 2 * len(DATA) - 1000
    assert not part.exists()


def test_a_complete_part_of_an_earlier_run_is_only_verified(
    cache: Path, serve: Callable[..., LoopbackHub]
) -> None:
    part = cache / "models--org--tiny" / "blobs" / f"{SHA256}.kit.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA)
    hub = serve()
    located = fetch()
    assert located.file is not None and not located.downloaded
    assert hub.gets(WEIGHTS) == []


def test_no_network_in_every_form_is_left_within_ten_seconds(cache: Path) -> None:
    """Refused, accept-and-hang, dropped packets, no such name, a resolver that hangs: at once."""
    with socket.socket() as refused, socket.socket() as dropping, LoopbackHub({}) as hanging:
        refused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        dropping.bind(("127.0.0.1", 0))
        dropping.listen(0)  # a full backlog drops the SYN of whoever comes next
        fillers = [socket.socket() for _ in range(2)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(dropping.getsockname())
        hanging.faults = (Fault(hang=True),)
        processes = {
            "refused": start(LOCATE, HF_ENDPOINT=f"http://127.0.0.1:{refused.getsockname()[1]}"),
            "hanging": start(LOCATE, HF_ENDPOINT=hanging.url),
            "dropped": start(LOCATE, HF_ENDPOINT=f"http://127.0.0.1:{dropping.getsockname()[1]}"),
            "name": start(LOCATE, HF_ENDPOINT="http://no-such-host.invalid"),
            "resolver": start(LOCATE_WITHOUT_DNS + LOCATE, HF_ENDPOINT="http://slow.invalid"),
        }
        for name, process in processes.items():
            answer = json.loads(process.communicate(timeout=60)[0])
            assert process.returncode == 0
            assert answer["found"] is False, name
            assert sum(attempt[3] for attempt in answer["attempts"]) < 10, name
            assert "HF_ENDPOINT" in answer["attempts"][-1][2], name
        for filler in fillers:
            filler.close()


# ---- processes ---------------------------------------------------------------------------------


def test_killed_at_any_moment_the_cache_is_sound_and_the_next_run_resumes(
    cache: Path, serve: Callable[..., LoopbackHub]
) -> None:
    hub = serve(Fault(methods=GET, file=WEIGHTS, bytes_per_second=1_000_000))
    part = cache / "models--org--tiny" / "blobs" / f"{SHA256}.kit.part"
    chance = random.Random(7)
    for _ in range(4):
        before = part.stat().st_size if part.exists() else 0
        process = start(LOCATE)
        while not (part.exists() and part.stat().st_size > before) and process.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert_sound(cache)
        if not part.exists():
            break
        kept = part.stat().st_size
        assert part.read_bytes() == DATA[:kept]
    process = start(LOCATE)
    assert json.loads(process.communicate(timeout=60)[0])["found"]
    assert hub.gets(WEIGHTS)[-1].range == f"bytes={kept}-"
    assert_sound(cache)


def test_two_processes_at_once_make_one_download(
    cache: Path, serve: Callable[..., LoopbackHub]
) -> None:
    hub = serve(Fault(methods=GET, file=WEIGHTS, bytes_per_second=2_000_000))
    processes = [start(LOCATE) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert all(answer["found"] for answer in answers)
    assert sorted(answer["downloaded"] for answer in answers) == [False, True]
    assert hub.sent(WEIGHTS) == len(DATA)
    assert_sound(cache)


def test_a_download_that_another_process_holds_is_waited_for_within_the_deadline(
    cache: Path, serve: Callable[..., LoopbackHub]
) -> None:
    from filelock import FileLock

    serve()
    lock = cache / ".locks" / "models--org--tiny" / f"{SHA256}.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        assert "another process held" in last_reason(fetch(timeout=0.5))


# ---- disk --------------------------------------------------------------------------------------


def test_a_cache_that_cannot_be_written_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, serve: Callable[..., LoopbackHub]
) -> None:
    hub = serve()
    (tmp_path / "file").touch()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    reason = last_reason(fetch())
    assert re.search(r"cannot be written \(.*\); set HF_HOME", reason)
    assert str(tmp_path) not in reason
    assert hub.sent(WEIGHTS) == 0


def test_a_write_that_fails_keeps_what_was_written(
    cache: Path, serve: Callable[..., LoopbackHub]
) -> None:
    hub = serve()
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))\n"
    answer = json.loads(start(limit + LOCATE).communicate(timeout=60)[0])
    assert "cannot be written" in answer["attempts"][-1][2]
    assert_sound(cache)
    assert fetch().file is not None
    assert hub.gets(WEIGHTS)[-1].range == "bytes=600000-"


# ---- credentials -------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", [False, True])
def test_the_token_goes_to_the_endpoint_and_never_along_a_redirect(
    storage: bool, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., LoopbackHub]
) -> None:
    hub = serve(storage=storage, token="hf_secret")
    located = fetch()
    assert "HF_TOKEN" in last_reason(located)
    monkeypatch.delenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.requests.clear()
    located = fetch()
    assert located.file is not None
    assert any(request.on_storage for request in hub.requests) is storage
    for request in hub.requests:
        assert request.authorization == (None if request.on_storage else "Bearer hf_secret")
    assert "secret" not in repr(located)


@pytest.mark.usefixtures("quick")
def test_credentials_in_the_endpoint_are_used_and_never_recorded(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[..., LoopbackHub]
) -> None:
    hub = serve(Fault(status=503))
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("http://", "http://me:s3cret@"))
    lines: list[str] = []
    located = fetch(log=lines.append)
    assert hub.requests[0].authorization == "Basic bWU6czNjcmV0"
    assert "s3cret" not in repr(located) + repr(lines)


@pytest.mark.parametrize(
    "value", ["hf-mirror.com", "ftp://localhost", "http://", "http://[", "x:y"]
)
def test_an_endpoint_that_is_no_address_is_a_reason(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", value)
    assert "HF_ENDPOINT is no http(s) address" in last_reason(fetch())


# ---- what people see ---------------------------------------------------------------------------


def test_plain_lines_tell_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[..., LoopbackHub]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    serve(Fault(methods=GET, file=WEIGHTS, bytes_per_second=3_000_000))
    lines: list[str] = []
    fetch(log=lines.append)
    pattern = r"model.safetensors: \d\.\d MB of 1\.5 MB, \d+\.\d\d MB/s, \d+ s left"
    assert any(re.fullmatch(pattern, line) for line in lines)


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[..., LoopbackHub]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    serve(Fault(methods=GET, file=WEIGHTS, bytes_per_second=3_000_000))
    fetch()
    assert re.search(r"model.safetensors: +\d+%.*B/s", screen.getvalue())
