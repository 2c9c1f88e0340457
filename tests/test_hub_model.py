"""A model that only a hub has, in three shards, by its id through both scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from conftest import NO_HUB, QUICK, Kit
from loopback_hub import COMMIT, Fault, LoopbackHub
from safetensors.torch import load_file
from small_transformers import save_small
from test_sharded import INDEX, sharded

HUB_ID = "org/electra"
LATER = "5eed" * 10
MODEL = ("--model", HUB_ID, *QUICK[1:])
Files = Mapping[str, bytes]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, Files]:
    """The repository's files at COMMIT, and those at LATER, whose weights are others."""
    folder = tmp_path_factory.mktemp("saved")
    save_small("electra", folder)
    tensors = load_file(folder / "model.safetensors")
    config = {"config.json": (folder / "config.json").read_bytes()}
    later = {name: tensor * 0.5 for name, tensor in tensors.items()}
    return config | sharded(tensors), config | sharded(later)


@pytest.fixture
def hub(published: tuple[Files, Files]) -> Iterator[LoopbackHub]:
    with LoopbackHub({HUB_ID: published[0]}, storage=True) as hub:
        yield hub


def evidence(kit: Kit) -> dict[str, Any]:
    """What the record says of the model and its weights, but for how they came here."""
    weights = kit.record["weights"]
    kept = ("files", "fingerprint", "pretrained_used", "weight_path")
    return {"model": kit.record["model"], **{name: weights[name] for name in kept}}


def ran(kit: Kit, url: str, *options: str) -> dict[str, Any]:
    result = kit.infer(*MODEL, "--require-pretrained", *options, HF_ENDPOINT=url)
    assert result.code == 0, result.err
    return evidence(kit)


def test_the_commit_that_was_pinned_stays_whatever_the_hub_does(
    npu: Kit, hub: LoopbackHub, published: tuple[Files, Files]
) -> None:
    first = ran(npu, hub.url)
    assert first["model"]["revision"] == COMMIT and first["pretrained_used"] is True
    assert first["files"][0]["name"] == INDEX and len(first["files"]) == 4
    assert {file["hash_origin"] for file in first["files"]} == {"hub"}
    assert {file["revision"] for file in first["files"]} == {COMMIT}
    assert npu.record["weights"]["local_weight_used"] is False
    result = npu.compare()
    assert result.code == 0, result.err
    assert npu.summary["verdict"] == "PASS" and npu.summary["revision"] == COMMIT

    hub.move({HUB_ID: published[1]}, LATER)
    asked = len(hub.requests)
    assert ran(npu, hub.url) == first
    assert len(hub.requests) == asked
    assert ran(npu, NO_HUB) == first
    assert ran(npu, NO_HUB, "--offline") == first
    assert npu.record["weights"]["local_weight_used"] is True

    moved = ran(npu, hub.url, "--revision", LATER)
    assert moved["model"]["revision"] == LATER == npu.record["arguments"]["revision"]
    assert moved["fingerprint"] != first["fingerprint"]
    assert ran(npu, hub.url, "--revision", COMMIT) == first
    assert ran(npu, hub.url, "--revision", "main") == first
    unknown = npu.infer(*MODEL, "--revision", "v9", HF_ENDPOINT=hub.url)
    assert unknown.code == 3 and "v9" in unknown.error and "404" in unknown.error


def test_a_flipped_byte_in_a_shard_is_never_loaded(kit: Kit, published: Any) -> None:
    shard = sorted(published[0])[2]
    at = len(published[0][shard]) - 5
    fault = Fault(methods=("GET",), file=shard, flip_at=at)
    with LoopbackHub({HUB_ID: published[0]}, faults=(fault,)) as hub:
        result = kit.infer(*MODEL, "--require-pretrained", HF_ENDPOINT=hub.url)
        assert result.code == 3 and "changed on the way" in result.error
        random = kit.infer(*MODEL, HF_ENDPOINT=hub.url)
        assert random.code == 0 and "RANDOM WEIGHTS" in random.err
        assert kit.record["weights"]["files"] == []
        hub.faults = ()
        ran(kit, hub.url)
    cache = kit.scratch / "home" / ".cache" / "huggingface" / "hub"
    [blob] = {path.resolve() for path in cache.rglob(shard)}
    data = bytearray(blob.read_bytes())
    data[at] ^= 0xFF
    blob.write_bytes(data)
    result = kit.infer(*MODEL, "--offline", "--require-pretrained")
    assert result.code == 3 and shard in result.error and "hub's" in result.error


def test_a_revision_of_what_is_in_no_repository(kit: Kit, published: Any) -> None:
    (kit.scratch / "config.json").write_bytes(published[0]["config.json"])
    result = kit.infer("--model", kit.scratch, "--revision", COMMIT, *QUICK)
    assert result.code == 2 and "is in no repository" in result.error


def test_a_declared_model_at_another_commit_is_what_that_commit_says(kit: Kit) -> None:
    from kit.models.known import load_adapter

    declared = load_adapter("vit_tiny_patch16_224")
    config = json.loads(declared.files["config.json"]) | {"num_classes": 7}
    files = {"config.json": json.dumps(config).encode()}
    with LoopbackHub({declared.info.hub_id: files}) as hub:
        result = kit.infer(
            *("--model", "vit_tiny_patch16_224", "--revision", "main", *QUICK[1:]),
            HF_ENDPOINT=hub.url,
        )
    assert result.code == 0, result.err
    assert kit.record["model"]["revision"] == COMMIT
    assert kit.record["model"]["adapter"] is None
    assert kit.record["outputs"]["logits"]["shape"] == [1, 7]
