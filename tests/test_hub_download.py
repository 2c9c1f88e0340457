"""The download from the hub, against a real server on 127.0.0.1 that misbehaves in known ways."""

from __future__ import annotations

import io
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import COMMIT, Fault, LoopbackHub
from tiny_hub import (
    DATA,
    FILES,
    LOCATE,
    LOCATE_WITHOUT_DNS,
    SHA256,
    WEIGHTS,
    assert_sound,
    fetch,
    info,
    shorten_waits,
    start,
    use_empty_caches,
)

from kit.weights import progress
from kit.weights.sources import Attempt, Located


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_empty_caches(monkeypatch, tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_waits(monkeypatch)


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


def last_reason(located: Located) -> str:
    return last_hub_attempt(located).line


def last_hub_attempt(located: Located) -> Attempt:
    assert located.file is None
    return [attempt for attempt in located.attempts if attempt.source == "hub"][-1]


def reason_of_hub(answer: dict[str, Any]) -> str:
    """The hub's reason in what LOCATE printed."""
    reason: str = next(attempt[2] for attempt in answer["attempts"] if attempt[0] == "hub")
    return reason


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
    assert last_hub_attempt(located).outcome == outcome
    assert last_hub_attempt(located).seconds < 10
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
    assert sum(attempt.seconds for attempt in located.attempts) < 1.5 + 3
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
            "mirror": start(LOCATE, HF_ENDPOINT=hanging.url, KIT_MIRRORS=hanging.url + "/mirror"),
        }
        for name, process in processes.items():
            answer = json.loads(process.communicate(timeout=60)[0])
            assert process.returncode == 0
            assert answer["found"] is False, name
            # A mirror that somebody named has a turn of its own, which is shorter.
            limit = 15 if name == "mirror" else 10
            assert sum(attempt[3] for attempt in answer["attempts"]) < limit, name
            assert "HF_ENDPOINT" in reason_of_hub(answer), name
        for filler in fillers:
            filler.close()


# ---- processes ---------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("leads_to", "refused"),
    [(["8.8.4.4", "127.0.0.1"], False), (["127.0.0.1"], True), (["10.0.0.7"], True)],
)
def test_a_name_is_asked_once_where_it_leads_and_connected_to_only_there(
    leads_to: list[str],
    refused: bool,
    monkeypatch: pytest.MonkeyPatch,
    serve: Callable[..., LoopbackHub],
) -> None:
    """A public hub redirects to a name, which leads elsewhere when it is asked again."""
    hub = serve(storage=True)
    places = {"hub.example": ["8.8.8.8"], "storage.example": leads_to}
    look_up, connect, connected = socket.getaddrinfo, socket.create_connection, []

    def getaddrinfo(host: str, *rest: Any, **named: Any) -> Any:
        known = places.get(host)
        place = host if known is None else known[0] if len(known) == 1 else known.pop(0)
        return look_up(place, *rest, **named)

    def create_connection(address: tuple[str, int], *rest: Any) -> socket.socket:
        connected.append(address[0])
        return connect(("127.0.0.1", address[1]), *rest)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "create_connection", create_connection)
    assert hub.storage_url is not None
    away = hub.storage_url.replace("localhost", "storage.example")
    path = f"/org/tiny/resolve/{COMMIT}/{WEIGHTS}"
    hub.faults = (
        Fault(file=WEIGHTS, methods=GET, times=1, status=302, fields={"Location": f"{away}{path}"}),
    )
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("127.0.0.1", "hub.example"))
    located = fetch()
    if refused:
        assert "storage.example" in last_reason(located)
        assert "a private address, which is not followed" in last_reason(located)
        assert set(connected) == {"8.8.8.8"}
    else:
        assert located.file is not None and set(connected) == {"8.8.8.8", "8.8.4.4"}


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
