"""A model in three shards: by folder, by cache and by hub id; each shard pinned, hashed and proven."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SMALL, Kit
from loopback_hub import COMMIT, Fault, LoopbackHub
from safetensors.torch import load_file, save
from tiny_hub import info, shorten_waits, use_empty_caches

from kit.errors import UsageError
from kit.weights.sources import Located, check_explicit, locate

INDEX = "model.safetensors.index.json"
LATER = "5eed" * 10
HUB_ID = "org/tiny"


def sharded(tensors: dict[str, torch.Tensor], count: int = 3) -> dict[str, bytes]:
    """As save_pretrained writes it."""
    names = sorted(tensors)
    parts = [names[part::count] for part in range(count)]
    files = {
        f"model-{part + 1:05}-of-{count:05}.safetensors": {
            name: tensors[name] for name in part_names
        }
        for part, part_names in enumerate(parts)
    }
    weight_map = {name: file for file, part in files.items() for name in part}
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map})
    return {INDEX: index.encode()} | {name: save(part) for name, part in files.items()}


TENSORS = {f"layer.{number}.weight": torch.randn(40, 50) for number in range(9)}
FILES = sharded(TENSORS)
SHARDS = [name for name in FILES if name != INDEX]
MODEL = info(published={}, revision="main")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shorten_waits(monkeypatch)
    return use_empty_caches(monkeypatch, tmp_path)


@pytest.fixture
def serve(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., LoopbackHub]]:
    hubs: list[LoopbackHub] = []

    def start(files: dict[str, bytes], *faults: Fault) -> LoopbackHub:
        hub = LoopbackHub({HUB_ID: files}, faults=faults, storage=True)
        hubs.append(hub.__enter__())
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        return hub

    yield start
    for hub in hubs:
        hub.__exit__()


def found(**options: Any) -> Located:
    return locate(options.pop("model", MODEL), log=lambda line: None, **options)


def evidence(located: Located) -> list[tuple[Any, ...]]:
    assert located.file is not None
    return [(f.name, f.bytes, f.sha256, f.hash_origin, f.revision) for f in located.file.files]


def test_every_shard_is_fetched_at_one_commit_and_verified(
    serve: Callable[..., LoopbackHub],
) -> None:
    serve(FILES)
    located = found()
    assert located.file is not None and located.downloaded and located.pretrained_used is True
    assert [file.name for file in located.file.files] == [INDEX, *SHARDS]
    assert {f.name: f.path.read_bytes() for f in located.file.files} == FILES
    assert {f.revision for f in located.file.files} == {COMMIT}
    assert {f.hash_origin for f in located.file.files} == {"hub"}
    assert [f.sha256 for f in located.file.shards] == [
        hashlib.sha256(FILES[name]).hexdigest() for name in SHARDS
    ]


def test_a_rerun_needs_no_network_and_a_moved_main_changes_nothing(
    serve: Callable[..., LoopbackHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = serve(FILES)
    first = found()
    hub.move({HUB_ID: sharded({name: tensor + 1 for name, tensor in TENSORS.items()})}, LATER)
    asked = len(hub.requests)
    assert evidence(found()) == evidence(first)
    assert len(hub.requests) == asked
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    offline = found(offline=True)
    assert evidence(offline) == evidence(first) and not offline.downloaded


def test_main_that_moves_in_the_middle_gives_shards_of_one_commit(
    serve: Callable[..., LoopbackHub],
) -> None:
    hub = serve(FILES)
    own = hub.seen

    def moving(server: Any, handler: Any) -> Any:
        seen = own(server, handler)
        if seen.method == "GET" and seen.path.endswith(SHARDS[0]) and hub.commit == COMMIT:
            hub.move({HUB_ID: sharded({name: t + 1 for name, t in TENSORS.items()})}, LATER)
        return seen

    hub.seen = moving  # type: ignore[method-assign]
    located = found()
    assert located.file is not None
    assert {f.name: f.path.read_bytes() for f in located.file.files} == FILES


@pytest.mark.parametrize("where", ["network", "cache"])
def test_a_shard_with_a_flipped_byte_is_never_loaded(
    serve: Callable[..., LoopbackHub], where: str
) -> None:
    at = len(FILES[SHARDS[1]]) - 5
    if where == "network":
        serve(FILES, Fault(methods=("GET",), file=SHARDS[1], flip_at=at))
        located = found()
        assert located.file is None
        assert any("changed on the way" in each.reason for each in located.attempts)
        return
    serve(FILES)
    file = found().file
    assert file is not None
    blob = file.shards[1].path.resolve()
    data = bytearray(blob.read_bytes())
    data[at] ^= 0xFF
    blob.write_bytes(data)
    offline = found(offline=True)
    assert offline.file is None
    assert any(SHARDS[1] in each.reason and "hub's" in each.reason for each in offline.attempts)
    healed = found()
    assert healed.file is not None
    assert {f.name: f.path.read_bytes() for f in healed.file.files} == FILES
    assert evidence(found(offline=True)) == evidence(healed)


def test_a_cache_without_one_shard_fetches_that_one(serve: Callable[..., LoopbackHub]) -> None:
    hub = serve(FILES)
    file = found().file
    assert file is not None
    file.shards[2].path.resolve().unlink()
    offline = found(offline=True)
    assert offline.file is None
    assert any(f"its shard {SHARDS[2]} is not there" in each.reason for each in offline.attempts)
    before = hub.sent(SHARDS[0])
    assert found().file is not None
    assert hub.sent(SHARDS[0]) == before


# ---- a folder ----------------------------------------------------------------------------------


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def index_of(**changes: str) -> bytes:
    document = json.loads(FILES[INDEX])
    document["weight_map"] |= changes
    return json.dumps(document).encode()


WRONG: dict[str, tuple[dict[str, bytes | None], str]] = {
    "missing": ({SHARDS[1]: None}, rf"1 of 3 missing \({SHARDS[1]}\)"),
    "outside": ({INDEX: index_of(**{"layer.0.weight": "../secret.safetensors"})}, "secret"),
    "absolute": ({INDEX: index_of(**{"layer.0.weight": "/etc/x.safetensors"})}, "/etc/x"),
    "a pickle": ({INDEX: index_of(**{"layer.0.weight": "x.bin"})}, "x.bin"),
    "no map": ({INDEX: b"{}"}, "no index"),
    "no text": ({INDEX: b"\xff\xfe"}, "no index"),
    "deep": ({INDEX: b"[" * 100_000}, "no index"),
    "numbers": ({INDEX: b'{"weight_map": {"a": 1}}'}, "names 1"),
    "empty": ({INDEX: b'{"weight_map": {}}'}, "names no shard"),
    "cut": ({SHARDS[2]: FILES[SHARDS[2]][:-1]}, rf"shard {SHARDS[2]} is \d+ bytes long"),
    "a pointer": (
        {SHARDS[0]: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"},
        rf"shard {SHARDS[0]} is a Git LFS pointer.*git lfs pull",
    ),
    "another's": ({SHARDS[0]: FILES[SHARDS[1]]}, rf"shard {SHARDS[0]} lacks 3 of its tensors"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_folder_names_what_is_wrong(tmp_path: Path, kind: str) -> None:
    changes, told = WRONG[kind]
    files = {name: data for name, data in (FILES | changes).items() if data is not None}
    with pytest.raises(UsageError, match=told) as caught:
        check_explicit(write(tmp_path / "model", files), MODEL)
    assert INDEX in caught.value.message


def test_both_scripts_with_shards(
    kit: Kit, tmp_path: Path, weights_of: Callable[[str], Path]
) -> None:
    path = weights_of(SMALL[1])
    folder = write(tmp_path / "model", sharded(load_file(path)))
    result = kit.infer(*SMALL, "--weights", folder)
    assert result.code == 0, result.err
    whole = Kit(tmp_path / "whole")
    whole.scratch.mkdir()
    assert whole.infer(*SMALL, "--weights", path).code == 0
    weights, other = kit.record["weights"], whole.record["weights"]
    assert [file["name"] for file in weights["files"]] == [INDEX, *SHARDS]
    assert weights["fingerprint"] == other["fingerprint"]
    assert (weights["weight_path"], weights["pretrained_used"]) == (f"file:{INDEX}", None)
    result = kit.compare()
    assert result.code == 0, result.err
    shard = folder / SHARDS[1]
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    result = kit.compare()
    assert result.code == 3 and SHARDS[1] in result.error
