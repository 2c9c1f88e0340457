"""A repository's small files at one commit: pinned, verified, and the same without a network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import COMMIT, Fault, LoopbackHub
from tiny_hub import shorten_waits, use_empty_caches

from kit.errors import CannotRunError, UsageError
from kit.weights.repository import PinnedRepository, pin

TINY = "org/tiny"
NAMES = ("tokenizer.json", "preprocessor_config.json")
CONFIG = json.dumps({"architectures": ["BertModel"], "hidden_size": 8}).encode()
FILES = {TINY: {"config.json": CONFIG, "tokenizer.json": b'{"tokens": []}'}}
MOVED = {TINY: {"config.json": CONFIG.replace(b"8", b"16"), "tokenizer.json": b"{}"}}
LATER = "5eed" * 10


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shorten_waits(monkeypatch)
    return use_empty_caches(monkeypatch, tmp_path)


def pinned(hub: LoopbackHub | None, monkeypatch: Any, **options: Any) -> PinnedRepository:
    monkeypatch.setenv("HF_ENDPOINT", hub.url if hub else "http://127.0.0.1:9")
    return pin(TINY, NAMES, log=options.pop("log", lambda line: None), **options)


def evidence(found: PinnedRepository) -> dict[str, Any]:
    """What a record would say of it."""
    files = [(f.name, f.bytes, f.sha256, f.hash_origin, f.revision) for f in found.files.values()]
    return {"commit": found.commit, "revision": found.revision, "files": sorted(files)}


def test_every_file_is_of_one_commit_and_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackHub(FILES) as hub:
        found = pinned(hub, monkeypatch)
    assert found.commit == COMMIT and found.downloaded and found.moved_from is None
    assert {f.name: f.path.read_bytes() for f in found.files.values()} == FILES[TINY]
    assert {f.sha256 for f in found.files.values()} == {
        hashlib.sha256(data).hexdigest() for data in FILES[TINY].values()
    }
    assert {f.hash_origin for f in found.files.values()} == {"hub"}


def test_a_rerun_without_a_network_gives_the_same_and_asks_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with LoopbackHub(FILES) as hub:
        first = pinned(hub, monkeypatch)
        asked = len(hub.requests)
        online = pinned(hub, monkeypatch)
        assert len(hub.requests) == asked  # not even for the file that does not exist
    offline = pinned(None, monkeypatch, offline=True)
    assert evidence(first) == evidence(online) == evidence(offline)
    assert not offline.downloaded


def test_a_moved_main_is_the_pinned_commit_until_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    with LoopbackHub(FILES) as hub:
        first = pinned(hub, monkeypatch)
        hub.move(MOVED, LATER)
        assert evidence(pinned(hub, monkeypatch)) == evidence(first)
        renewed = pinned(hub, monkeypatch, renew=True, log=said.append)
        assert (renewed.commit, renewed.moved_from) == (LATER, COMMIT)
        assert any("has moved" in line and COMMIT in line and LATER in line for line in said)
        assert renewed.files["config.json"].path.read_bytes() == MOVED[TINY]["config.json"]
        old = pinned(hub, monkeypatch, revision=COMMIT)
        assert old.files == first.files
    assert pinned(None, monkeypatch, offline=True).commit == LATER


def test_main_that_moves_between_two_files_gives_files_of_one_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Moving(LoopbackHub):
        def seen(self, server: Any, handler: Any) -> Any:
            seen = super().seen(server, handler)
            if seen.method == "GET" and self.commit == COMMIT:
                self.move(MOVED, LATER)
            return seen

    with Moving(FILES) as hub:
        found = pinned(hub, monkeypatch)
    assert {f.name: f.path.read_bytes() for f in found.files.values()} == FILES[TINY]


@pytest.mark.parametrize("damage", [b"flip", b""])
def test_a_damaged_file_of_the_cache_is_not_read(
    damage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackHub(FILES) as hub:
        path = pinned(hub, monkeypatch).files["tokenizer.json"].path.resolve()
        path.write_bytes(path.read_bytes().replace(b"t", b"T") if damage else b"")
        offline = pinned(hub, monkeypatch, offline=True)
        assert list(offline.files) == ["config.json"]
        assert any("the hub gave the hash" in each.reason for each in offline.attempts)
        again = pinned(hub, monkeypatch)
        assert again.files["tokenizer.json"].path.read_bytes() == FILES[TINY]["tokenizer.json"]
    healed = pinned(None, monkeypatch, offline=True)
    assert evidence(healed) == evidence(again)


def test_a_byte_that_changed_on_the_way_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    flipped = Fault(methods=("GET",), file="config.json", flip_at=5)
    with LoopbackHub(FILES, faults=(flipped,)) as hub, pytest.raises(CannotRunError, match="chang"):
        pinned(hub, monkeypatch)


def test_a_link_out_of_the_cache_is_not_followed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside.json"
    outside.write_bytes(CONFIG)
    folder = cache / "models--org--tiny" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "config.json").symlink_to(outside)
    with pytest.raises(CannotRunError, match="leads out of the cache"):
        pinned(None, monkeypatch, revision=COMMIT, offline=True)


def test_a_mirror_holds_the_same_commit_and_vouches_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with LoopbackHub(FILES) as mirror:
        found = pinned(None, monkeypatch, mirrors=(mirror.url,))
    assert {f.hash_origin for f in found.files.values()} == {"computed"}


@pytest.mark.parametrize(
    "wrong", [{"revision": "../../x"}, {"revision": "refs\nmain"}, {"revision": "/etc"}]
)
def test_no_revision_leads_out_of_the_cache(
    wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError):
        pinned(None, monkeypatch, **wrong)


@pytest.mark.parametrize("revision", ["0" * 40, "v9"])
def test_an_unknown_revision_says_what_was_asked(
    revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackHub(FILES) as hub, pytest.raises(CannotRunError, match="404") as caught:
        pinned(hub, monkeypatch, revision=revision)
    assert revision in caught.value.message
