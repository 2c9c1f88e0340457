"""A model larger than this machine ends in a line, before a byte of it is read."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
from conftest import SMALL, Kit
from loopback_hub import Fault, LoopbackHub
from tiny_hub import FILES, WEIGHTS, info, shorten_waits, use_empty_caches

from kit.errors import CannotRunError
from kit.machine.memory import available_bytes
from kit.models.derived import from_folder
from kit.weights.load import load_weights
from kit.weights.sources import locate

SIZE = 10**13  # ten terabytes: no machine of ours


def huge(path: Path, size: int = SIZE, name: str = "w") -> Path:
    """A sound safetensors file with a hole in the place of its tensors."""
    header = json.dumps({name: {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    try:
        os.truncate(path, 8 + len(header) + size)
    except OSError:
        pytest.skip("the disk has no files with holes of this size")
    return path


def test_the_line_names_the_bytes_needed_and_free(kit: Kit, tmp_path: Path) -> None:
    path = huge(tmp_path / WEIGHTS)
    result = kit.infer(*SMALL, "--weights", path)
    assert result.code == 3
    assert f"{path.stat().st_size:,} bytes of memory are needed" in result.error
    assert "are free" in result.error
    assert kit.summary["status"] == "FAILED"


def test_a_config_larger_than_the_machine_is_told_the_same(tmp_path: Path) -> None:
    """Whether the system refuses a tensor while the model is built, or the sum does not fit afterwards."""
    known = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 100_000}
    for width in (8192, 2**20):
        shape = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": 100}
        heads = {"num_attention_heads": 64, "num_key_value_heads": 8}
        (tmp_path / "config.json").write_text(json.dumps(known | shape | heads))
        adapter = from_folder(tmp_path)
        with pytest.raises(CannotRunError, match=r"[\d,]{9,} bytes of memory.* are free; "):
            load_weights(adapter, adapter.build(), [], seed=0)


def test_a_folder_of_shards_is_counted_together(tmp_path: Path) -> None:
    """Each of three would do alone."""
    free = available_bytes()
    assert free is not None
    names = {f"w{part}": f"model-{part}.safetensors" for part in range(3)}
    for tensor, name in names.items():
        huge(tmp_path / name, free // 8 * 4, tensor)
    (tmp_path / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(CannotRunError, match="bytes of memory are needed"):
        locate(info(published={}), path=tmp_path, to_load=True, log=lambda line: None)


def test_nothing_is_fetched_of_it_but_a_host_may_be_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_empty_caches(monkeypatch, tmp_path)
    shorten_waits(monkeypatch)
    large = Fault(methods=("HEAD",), file=WEIGHTS, fields={"Content-Length": str(SIZE)})
    with LoopbackHub(FILES, faults=(large,)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(CannotRunError, match=f"{SIZE:,} bytes of memory are needed"):
            locate(info(), to_load=True, log=lambda line: None)
        located = locate(info(), log=lambda line: None)  # as python -m kit fetch: the disk decides
        assert any("do not fit the disk" in each.reason for each in located.attempts)
        assert not hub.gets(WEIGHTS)
