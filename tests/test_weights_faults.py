"""Every fault of network and disk x what the cache holds already; kills; a hub that hangs.

The complete matrix is marked full; every fifth case of it runs by default. Here the waits are short
and the chain runs in this process; tests/test_fetch.py goes through the command with the real ones.
"""

from __future__ import annotations

import ctypes
import json
import random
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from conftest import Kit
from loopback_hub import COMMIT, Fault, LoopbackHub
from test_hub_download import PASSING, STAYING
from tiny_hub import (
    DATA,
    FILES,
    LOCATE,
    SHA256,
    WEIGHTS,
    assert_sound,
    fetch,
    shorten_waits,
    start,
    use_empty_caches,
)

from kit.weights.sources import Located

FAULTS = {f"{name}, passing": fault for name, fault in PASSING.items()}
FAULTS |= {name: fault for name, (fault, _, _) in STAYING.items()}
STATES = ("nothing", "partly", "cached")
KEPT_BYTES = 500_000
FULL_AT_BYTES = 600_000
DEADLINE_SECONDS = 4.0


@contextmanager
def disk_full(_: Path) -> Iterator[None]:
    """No file grows beyond FULL_AT_BYTES: the kernel refuses in the middle of a write, as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_AT_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(cache: Path) -> Iterator[None]:
    """Nothing in the cache can be written: by its modes, which this thread obeys even where it is root."""
    cache.mkdir(exist_ok=True)
    paths = [path for path in (cache, *cache.rglob("*")) if not path.is_symlink()]
    modes = {path: path.stat().st_mode for path in paths}
    libc = ctypes.CDLL(None)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # capabilities(7)
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] &= ~(1 << 1)  # CAP_DAC_OVERRIDE
    try:
        for path in paths:
            path.chmod(modes[path] & 0o555)
        assert libc.capset(header, sets) == 0
        yield
    finally:
        for path in paths:
            path.chmod(modes[path])
        sets[0] = effective
        assert libc.capset(header, sets) == 0


# The network is sound, the disk is not.
DISK_FAULTS = {"disk-full": disk_full, "read-only-cache": read_only}


def matrix() -> list[Any]:
    """All cases; of those of the network, four of five only in the full run."""
    assert len(FAULTS) >= 25
    cases = [(fault, state) for fault in (*FAULTS, *DISK_FAULTS) for state in STATES]
    return [
        pytest.param(
            *case, marks=() if number % 5 == 0 or case[0] in DISK_FAULTS else pytest.mark.full
        )
        for number, case in enumerate(cases)
    ]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_empty_caches(monkeypatch, tmp_path)


def part_of(cache: Path) -> Path:
    return cache / "models--org--tiny" / "blobs" / f"{SHA256}.kit.part"


def kept_bytes(cache: Path) -> int:
    return part_of(cache).stat().st_size if part_of(cache).exists() else 0


def prepare(cache: Path, state: str) -> None:
    """Give the cache what an earlier run left in it."""
    if state == "partly":
        part_of(cache).parent.mkdir(parents=True)
        part_of(cache).write_bytes(DATA[:KEPT_BYTES])
        lock = cache / ".locks" / "models--org--tiny" / f"{SHA256}.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
    elif state == "cached":
        with LoopbackHub(FILES) as hub, pytest.MonkeyPatch.context() as patch:
            patch.setenv("HF_ENDPOINT", hub.url)
            assert fetch().downloaded


def assert_honest(located: Located, *, state: str, hub: LoopbackHub) -> None:
    """What the record will say is what happened."""
    last_of_the_hub = [a for a in located.attempts if a.source in ("hub", "hf-cache")][-1]
    if located.file is None:
        assert located.pretrained_used is False
        assert last_of_the_hub.outcome in ("failed", "refused", "absent")
        assert last_of_the_hub.reason in located.pretrained_reason
    else:
        assert located.file.path.read_bytes() == DATA
        assert located.pretrained_used is True and located.file.sha256 == SHA256
        assert last_of_the_hub.outcome == "found"
        assert located.downloaded is (state != "cached")
    assert state != "cached" or (located.file is not None and hub.requests == [])


@pytest.mark.parametrize(("fault", "state"), matrix())
def test_the_chain_ends_in_time_tells_the_truth_and_the_next_run_resumes(
    fault: str, state: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_waits(monkeypatch)
    prepare(cache, state)
    disk = DISK_FAULTS.get(fault, lambda _: nullcontext())
    with LoopbackHub(FILES, faults=(FAULTS.get(fault, Fault()),)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with disk(cache):
            located = fetch(timeout=DEADLINE_SECONDS)
        assert sum(attempt.seconds for attempt in located.attempts) <= DEADLINE_SECONDS + 3
        assert_honest(located, state=state, hub=hub)
        assert_sound(cache)
        begun = {"nothing": 0, "partly": KEPT_BYTES, "cached": len(DATA)}[state]
        if fault.endswith("passing"):
            assert located.file is not None and hub.sent(WEIGHTS) == len(DATA) - begun
        if fault in DISK_FAULTS and state != "cached":
            assert_disk_is_blamed(located, cache)
            assert kept_bytes(cache) == (FULL_AT_BYTES if fault == "disk-full" else begun)
            assert (hub.sent(WEIGHTS) > 0) is (fault == "disk-full")
        if located.file is None:
            assert_resumes(cache, hub)


def assert_disk_is_blamed(located: Located, cache: Path) -> None:
    """The reason says what the disk said and where else to write, but no path of this machine."""
    [reason] = [attempt.line for attempt in located.attempts if attempt.source == "hub"]
    assert re.search(r"cannot be written \(.+\); set HF_HOME", reason)
    assert str(cache.parent) not in reason


def assert_resumes(cache: Path, hub: LoopbackHub) -> None:
    """With the fault gone, the next run asks for exactly the bytes that are missing."""
    kept = kept_bytes(cache)
    hub.faults = ()
    hub.requests.clear()
    located = fetch()
    assert located.file is not None and located.file.path.read_bytes() == DATA
    assert hub.sent(WEIGHTS) == len(DATA) - kept
    if kept < len(DATA):
        assert [get.range for get in hub.gets(WEIGHTS)] == [f"bytes={kept}-" if kept else None]
    assert_sound(cache)


@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=pytest.mark.full)])
def test_killed_at_any_moment_the_cache_is_sound_and_the_next_run_resumes(
    kills: int, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL between the first request and somewhat after the last byte."""
    chance = random.Random(7)
    drip = Fault(methods=("GET",), file=WEIGHTS, bytes_per_second=5_000_000)
    for kill in range(kills):
        root = cache.with_name(f"hub{kill // 3}")  # three runs go on with what the others left
        monkeypatch.setenv("HF_HUB_CACHE", str(root))
        with LoopbackHub(FILES, faults=(drip,)) as hub:
            process = start(LOCATE, HF_ENDPOINT=hub.url)
            kill_during_download(process, hub, chance.uniform(0, 0.45))
        assert_sound(root)
        part = part_of(root)
        kept = part.stat().st_size if part.exists() else None
        assert kept is None or part.read_bytes() == DATA[:kept]
        if kill % 3 == 2:
            with LoopbackHub(FILES) as hub:
                process = start(LOCATE, HF_ENDPOINT=hub.url)
                assert json.loads(process.communicate(timeout=60)[0])["found"]
                assert kept is None or hub.sent(WEIGHTS) == len(DATA) - kept
            assert_sound(root)


def kill_during_download(
    process: subprocess.Popen[str], hub: LoopbackHub, seconds_after_request: float
) -> None:
    while not hub.requests and process.poll() is None:
        time.sleep(0.005)
    time.sleep(seconds_after_request)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_with_everything_cached_a_hub_that_hangs_is_not_even_asked(cache: Path) -> None:
    prepare(cache, "cached")
    with LoopbackHub(FILES, faults=(Fault(hang=True),)) as hub:
        answer = json.loads(start(LOCATE, HF_ENDPOINT=hub.url).communicate(timeout=60)[0])
        assert answer["found"] and not answer["downloaded"]
        assert [source for source, *_ in answer["attempts"]] == ["hf-cache"]
        assert sum(seconds for *_, seconds in answer["attempts"]) < 1
        assert hub.requests == []


# ---- through inference.py ----------------------------------------------------------------------

SMALL = ("--model", "vit_tiny_patch16_224", "--device", "cpu", "--warmup", 0, "--iterations", 1)
VIT_FILES = {"timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k": {WEIGHTS: DATA}}
VIT_COMMIT = "7d3afdd0cf93ad84d986eb2d6bcc5812ebd0b106"


@pytest.mark.parametrize(
    ("fault", "required", "code", "words"),
    [
        (Fault(status=401), True, 3, "set HF_TOKEN"),
        (Fault(), False, 0, "offers other bytes"),
        pytest.param(
            Fault(fields={"ETag": '"0123abcd"'}),
            False,
            0,
            "changed on the way",
            marks=pytest.mark.full,
        ),
    ],
)
def test_the_record_of_a_run_tells_why_there_are_no_pretrained_weights(
    kit: Kit, fault: Fault, required: bool, code: int, words: str
) -> None:
    arguments = (*SMALL, "--download-timeout", 30, *(["--require-pretrained"] if required else []))
    with LoopbackHub(VIT_FILES, commit=VIT_COMMIT, faults=(fault,)) as hub:
        result = kit.infer(*arguments, HF_ENDPOINT=hub.url)
    assert result.code == code
    assert words in (kit.logs / "pretrained_attempt.log").read_text("utf-8")
    if required:
        assert kit.summary["status"] == "FAILED" and words in kit.record["error"]["message"]
        return
    weights = kit.record["weights"]
    assert (weights["pretrained_used"], weights["fallback_used"]) == (False, True)
    assert weights["local_weight_used"] is False and words in weights["fallback_reason"]
    assert kit.summary["pretrained_used"] is False


@pytest.mark.full
def test_the_pinned_commit_is_the_only_one_taken(kit: Kit) -> None:
    with LoopbackHub(VIT_FILES, commit=COMMIT) as hub:
        result = kit.infer(*SMALL, "--require-pretrained", HF_ENDPOINT=hub.url)
    assert result.code == 3 and "RevisionNotFound" in result.error
