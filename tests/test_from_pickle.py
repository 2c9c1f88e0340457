"""A pickle is opened by one command, in a child process, and comes out as safetensors."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Kit, Result, ended
from loopback_hub import Fault, LoopbackHub
from safetensors import safe_open
from safetensors.torch import load_file

TINY = "org/tiny"
SHARED = torch.randn(4, 6)
TENSORS = {"a.weight": SHARED, "b.weight": SHARED, "c": torch.randn(6, 4).T, "n": torch.tensor(3)}


def pickled(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def convert(kit: Kit, model: object, *arguments: object, **environment: str) -> Result:
    return ended(kit.start("fetch", model, "--from-pickle", *arguments, **environment))


@pytest.mark.parametrize(
    "form",
    ["nested", *(pytest.param(form, marks=pytest.mark.full) for form in ("zip", "old"))],
)
def test_a_file_becomes_safetensors_with_both_hashes(kit: Kit, form: str) -> None:
    value = {"state_dict": TENSORS, "epoch": 3} if form == "nested" else TENSORS
    data = pickled(value, _use_new_zipfile_serialization=form != "old")
    path = kit.scratch / "weights.pth"
    path.write_bytes(data)
    result = convert(kit, path, "--to", kit.scratch / "to")
    assert result.code == 0, result.err
    [made] = (kit.scratch / "to").iterdir()
    found = load_file(made)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    digests = [hashlib.sha256(each).hexdigest() for each in (data, made.read_bytes())]
    assert all(digest in result.out for digest in digests)
    with safe_open(made, framework="pt") as file:
        origin = json.loads(file.metadata()["converted_from"])
    assert origin == {"name": "weights.pth", "sha256": digests[0]}


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return open, (str(self.mark), "w")


REFUSED: dict[str, Any] = {
    "code": lambda mark: pickled({"a": Evil(mark)}),
    "plain pickle": lambda mark: pickle.dumps({"a": Evil(mark)}),
    "cut": lambda mark: pickled(TENSORS)[:-200],
    "no tensors": lambda mark: pickled({"a": 1, "b": "text"}),
    "a module": lambda mark: pickled(torch.nn.Linear(2, 2)),
    "a list": lambda mark: pickled([torch.ones(2)]),
    "nothing": lambda mark: pickled({}),
    "a page": lambda mark: b"<!DOCTYPE html><title>Sign in",
    "safetensors": lambda mark: b"\x02\0\0\0\0\0\0\0{}",
}


@pytest.mark.parametrize(
    "what",
    [
        each if each in ("code", "a page") else pytest.param(each, marks=pytest.mark.full)
        for each in REFUSED
    ],
)
def test_what_is_not_tensors_alone_is_refused_and_no_code_runs(kit: Kit, what: str) -> None:
    mark, path, to = kit.scratch / "executed", kit.scratch / "weights.bin", kit.scratch / "to"
    path.write_bytes(REFUSED[what](mark))
    result = convert(kit, path, "--to", to)
    assert result.code == 2 and "weights.bin" in result.error
    # torch's own advice is to lift its restrictions.
    assert "weights_only" not in result.error and "safe_globals" not in result.error
    assert not mark.exists() and list(to.iterdir()) == []


def test_a_name_that_says_another_hash_is_refused(kit: Kit) -> None:
    path = kit.scratch / "net-0123abcd.pth"
    path.write_bytes(pickled(TENSORS))
    result = convert(kit, path, "--to", kit.scratch / "to")
    assert result.code == 2 and "its name says 0123abcd" in result.error


def test_a_pickle_of_the_hub_is_verified_converted_once_and_found_by_later_runs(kit: Kit) -> None:
    data = pickled(TENSORS)
    with LoopbackHub({TINY: {"pytorch_model.bin": data}}, storage=True) as hub:
        result = convert(kit, TINY, HF_ENDPOINT=hub.url)
        assert result.code == 0, result.err
        [made] = (kit.scratch / "home").rglob("model.safetensors")
        before = made.stat().st_mtime_ns
        assert convert(kit, TINY, HF_ENDPOINT=hub.url).code == 0
        assert made.stat().st_mtime_ns == before
    assert "snapshots" not in made.parts  # it is none of the hub's files
    later = kit.command("fetch", TINY, HF_HUB_OFFLINE="1")
    assert later.code == 0 and str(made) in later.out and "computed" in later.out


@pytest.mark.full
def test_a_damaged_conversion_is_made_again(kit: Kit) -> None:
    with LoopbackHub({TINY: {"pytorch_model.bin": pickled(TENSORS)}}, storage=True) as hub:
        assert convert(kit, TINY, HF_ENDPOINT=hub.url).code == 0
        [made] = (kit.scratch / "home").rglob("model.safetensors")
        made.write_bytes(made.read_bytes()[:-1])
        assert convert(kit, TINY, HF_ENDPOINT=hub.url).code == 0
    assert torch.equal(load_file(made)["c"], TENSORS["c"])


def test_a_pickle_that_changed_on_the_way_is_not_opened(kit: Kit) -> None:
    data = pickled(TENSORS)
    fault = Fault(methods=("GET",), file=".bin", flip_at=len(data) // 2)
    with LoopbackHub({TINY: {"pytorch_model.bin": data}}, faults=(fault,)) as hub:
        result = convert(kit, TINY, HF_ENDPOINT=hub.url)
    assert result.code == 3 and "changed on the way" in result.error
    assert not list((kit.scratch / "home").rglob("*.safetensors"))


def test_a_run_with_a_converted_file_says_so(kit: Kit) -> None:
    with LoopbackHub({TINY: {"pytorch_model.bin": pickled(TENSORS)}}) as hub:
        result = convert(kit, TINY, "--to", kit.scratch / "to", HF_ENDPOINT=hub.url)
    assert result.code == 0, result.err
    from tiny_hub import info

    from kit.weights.sources import locate

    path = kit.scratch / "to" / "model.safetensors"
    located = locate(info(published={}), path=path, log=lambda line: None)
    assert located.file is not None and located.file.converted_from is not None
    assert located.pretrained_used is None
    digest = hashlib.sha256(pickled(TENSORS)).hexdigest()
    assert located.file.converted_from.name == "pytorch_model.bin"
    assert len(digest) == len(located.file.converted_from.sha256)
    assert "converted from pytorch_model.bin, sha256" in located.pretrained_reason
