"""python -m kit judge: wrong outputs that must not pass, harmless ones that must, and its exit codes."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Kit, Result
from safetensors.torch import save_file

from kit.errors import KitError
from kit.evidence.judge import main

Pairs = dict[str, tuple[torch.Tensor, torch.Tensor]]


@dataclass
class Said:
    """What the command ends with, in this process: as a process of its own it takes seconds."""

    code: int
    out: str
    error: str


def judge_here(caplog: pytest.LogCaptureFixture, *arguments: object) -> Said:
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="kit"):
        try:
            code, error = main([str(each) for each in arguments]), ""
        except KitError as failed:
            code, error = failed.exit_code, failed.message
    return Said(code, "".join(f"{record.getMessage()}\n" for record in caplog.records), error)


def judge(kit: Kit, *arguments: object) -> Result:
    return kit.command("judge", *arguments)


def saved(folder: Path, pairs: Pairs) -> tuple[Path, Path]:
    paths = folder / "reference.safetensors", folder / "device.safetensors"
    for side, path in enumerate(paths):
        save_file({name: pair[side].contiguous().clone() for name, pair in pairs.items()}, path)
    return paths


def where(tensor: torch.Tensor, at: object, value: float) -> torch.Tensor:
    changed = tensor.clone()
    changed[at] = value
    return changed


def rounded(tensor: torch.Tensor, bits: int) -> torch.Tensor:
    """To `bits` explicit mantissa bits, as HF32 (11) and TF32 (10) do before a product."""
    mantissa, exponent = torch.frexp(tensor)
    return torch.ldexp((mantissa * 2 ** (bits + 1)).round() / 2 ** (bits + 1), exponent)


def traps() -> Pairs:
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    base, logits = normal(8, 500), normal(64, 1000) * 4
    small, steps = base * 1e-5, torch.arange(4000.0).reshape(8, 500)
    dominant, few = where(normal(1000), 7, 1e6), normal(1000)
    few[:5] = torch.tensor([1e4, 2e4, -3e4, 1e4, 5e4])
    offset, flat = 1000 + normal(8, 500), normal(4, 1000) * 1e-3
    top2 = flat.topk(2).indices
    swapped = flat.clone()
    for row, (first, second) in enumerate(top2.tolist()):
        swapped[row, [first, second]] = flat[row, [second, first]]
    quiet = logits.clone()
    quiet[3] /= 1000
    largest = base.flatten().abs().argmax()
    relu = base.clamp(min=0)
    ids, mask = torch.arange(40).reshape(2, 20), base > 0
    waves = torch.complex(normal(100), normal(100))
    return {
        "all zero": (base, base * 0),
        "scaled by two": (base, base * 2),
        "scaled by 1.02": (base, base * 1.02),
        "a constant added": (base, base + 0.1),
        "negated": (base, -base),
        "3% noise": (base, base + 0.03 * normal(8, 500)),
        "one NaN": (base, where(base, (3, 4), math.nan)),
        "one infinity": (base, where(base, (3, 4), math.inf)),
        "a finite value for an infinity": (where(base, (3, 4), -math.inf), base),
        "the other infinity": (where(base, (3, 4), math.inf), where(base, (3, 4), -math.inf)),
        "all NaN": (base, base * math.nan),
        "NaN on both sides": (where(base, (3, 4), math.nan), where(base, (3, 4), math.nan)),
        "shuffled": (base, base.flatten()[torch.randperm(4000, generator=random)].view(8, 500)),
        "one row of another": (base, torch.cat([base[:7], base[:1]])),
        "rows shifted by one": (base, base.roll(1, 0)),
        "columns shifted by one": (base, base.roll(1, 1)),
        "not written to its end": (base, torch.cat([base[:4], base[4:] * 0])),
        "the first row everywhere": (base, base[:1].expand(8, 500)),
        "saturated": (steps, steps.clamp(max=3000)),
        "absolute instead of signed": (base, base.abs()),
        "the sign of the largest value": (
            base,
            where(base.flatten(), largest, -float(base.flatten()[largest])).view(8, 500),
        ),
        "small values replaced by zero": (small, small * 0),
        "small values with 10% noise": (small, small * (1 + 0.1 * normal(8, 500))),
        "noise behind one dominant value": (dominant, where(normal(1000), 7, 1e6)),
        "noise behind a few": (few, torch.cat([few[:5], normal(995)])),
        "noise behind a constant": (offset, 1000 + normal(8, 500)),
        "noise where a ReLU is off": (relu, relu + 0.05 * normal(8, 500).abs()),
        "logits: top 1 and 2 swapped where the softmax is flat": (flat, swapped),
        "logits: another class first": (logits, where(logits, (5, 17), 40.0)),
        "logits: one row of garbage": (logits, torch.cat([normal(1, 1000) * 4, logits[1:]])),
        "logits: a quiet row of garbage": (
            quiet,
            torch.cat([quiet[:3], normal(1, 1000) * 0.004, quiet[4:]]),
        ),
        "logits: classes reversed": (logits, logits.flip(-1)),
        "one id": (ids, where(ids, (1, 3), 99)),
        "one bit of a mask": (mask, where(mask, (1, 3), not bool(mask[1, 3]))),
        "ids as floats": (ids, ids.float()),
        "conjugated": (waves, waves.conj().resolve_conj()),
        "another shape of the same values": (base, base.reshape(500, 8)),
        "one dimension more": (base, base[None]),
        "empty": (base[:0], base[:0]),
        "a constant reference": (torch.full((9,), 3.0), torch.full((9,), 3.0)),
        "a reference of zeros": (torch.zeros(9), torch.zeros(9)),
    }


def harmless() -> Pairs:
    random = torch.Generator().manual_seed(1)
    inputs, weight = (torch.randn(256, 256, generator=random) for _ in range(2))
    exact = inputs @ weight
    halves = inputs.half().double() @ weight.half().double()
    logits = torch.randn(4, 1000, generator=random) * 4
    near = where(logits, (0, 1), 30.0)
    near[0, 2] = 30.0 - 1e-5
    noise = 1e-3 * torch.randn(4, 1000, generator=random)
    flipped = near + noise
    flipped[0, 1], flipped[0, 2] = 29.9999, 30.0
    masked = where(logits, (slice(None), slice(0, 9)), -math.inf)
    massive = where(torch.randn(1000, generator=random), 7, 3000.0)
    ids = torch.arange(40).reshape(2, 20)
    return {
        "equal": (exact, exact.clone()),
        "summed in another order": (exact, (inputs.flip(1) @ weight.flip(0))),
        "fp64 instead of fp32": (exact, (inputs.double() @ weight.double()).float()),
        "HF32 products": (exact, rounded(inputs, 11) @ rounded(weight, 11)),
        "TF32 products": (exact, rounded(inputs, 10) @ rounded(weight, 10)),
        "fp16 products": (exact, halves.float()),
        "an fp16 result": (exact, halves.half()),
        "a bf16 result": (exact, exact.bfloat16()),
        "an fp8 reference": (exact.clamp(-240, 240).to(torch.float8_e4m3fn),) * 2,
        "logits: a tie decided the other way": (near, flipped),
        "logits: masked classes": (masked, masked + noise),
        "logits: probabilities of another precision": (
            logits.softmax(-1),
            logits.double().softmax(-1).half().float(),
        ),
        "fp16 rounding beside a massive activation": (massive, massive.half().float()),
        "a constant and fp32 rounding": (1000 + inputs, (1000.0 + inputs.double()).float()),
        "one value": (torch.tensor([2.5]), torch.tensor([2.501])),
        "ids": (ids, ids.clone()),
        "a mask": (ids > 9, ids > 9),
        "complex rounding": (
            torch.fft.fft(inputs),
            torch.fft.fft(inputs.double()).to(torch.cfloat),
        ),
    }


def test_no_wrong_output_passes(kit: Kit) -> None:
    pairs = traps()
    assert len(pairs) >= 30
    ranked = [part for name in pairs if name.startswith("logits") for part in ("--logits", name)]
    result = judge(kit, *saved(kit.scratch, pairs), *ranked, "--json")
    assert result.code == 4
    found = json.loads(result.out)
    assert found["outputs"].keys() == pairs.keys()
    assert [name for name, output in found["outputs"].items() if output["verdict"] == "PASS"] == []
    assert all(output["reasons"] for output in found["outputs"].values())


def test_every_harmless_output_passes(kit: Kit) -> None:
    pairs = harmless()
    assert len(pairs) >= 10
    result = judge(kit, *saved(kit.scratch, pairs), "--json")
    wrong = {
        name: output["reasons"]
        for name, output in json.loads(result.out)["outputs"].items()
        if output["verdict"] != "PASS"
    }
    assert wrong == {}
    assert result.code == 0


BASE = torch.linspace(-3, 5, 64)


@pytest.mark.parametrize(
    ("reference", "device", "code", "said"),
    [
        ({"x": BASE}, {"x": BASE * (1 + 1e-6)}, 0, "verdict PASS"),
        ({"x": BASE}, {"x": BASE * (1 + 0.05 * (torch.arange(64) == 30))}, 0, "not within 1%"),
        ({"x": BASE}, {"x": BASE * 1.1}, 1, "relative L2 0.1 > 1%"),
        ({"x": BASE, "y": BASE}, {"x": BASE}, 4, "the device has no output y"),
        ({"x": BASE}, {"x": BASE, "y": BASE}, 4, "the reference has no output y"),
        ({}, {}, 4, "there is no output in either file"),
        ({"x": BASE}, {"x": BASE.long()}, 4, "do not compare"),
        ({"x": BASE * 0}, {"x": BASE}, 4, "all zero"),
    ],
)
def test_exit_codes(kit: Kit, reference: Any, device: Any, code: int, said: str) -> None:
    paths = kit.scratch / "a.safetensors", kit.scratch / "b.safetensors"
    for tensors, path in zip((reference, device), paths, strict=True):
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, path)
    result = judge(kit, *paths)
    assert (result.code, said in result.out) == (code, True), result.out


def test_golden_and_a_second_run_of_the_device(kit: Kit) -> None:
    exact = torch.randn(500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    files = {
        "golden": exact,
        "reference": exact.float(),
        "device": (exact * (1 + 1e-4)).float(),
        "other": (exact + 0.01 * exact.flip(0)).float(),
    }
    for name, tensor in files.items():
        save_file({"x": tensor}, kit.scratch / f"{name}.safetensors")
    paths = {name: kit.scratch / f"{name}.safetensors" for name in files}
    pair = paths["reference"], paths["device"]
    result = judge(kit, *pair, "--golden", paths["golden"], "--again", paths["device"], "--json")
    assert result.code == 0
    errors = json.loads(result.out)["outputs"]["x"]["truth"]
    assert errors["device"]["relative_l2"] == pytest.approx(1e-4, rel=0.01)
    assert 1e-9 < errors["reference"]["relative_l2"] < 1e-7
    assert errors["ratio"] > 1000
    result = judge(kit, *pair, "--again", paths["other"])
    assert result.code == 4
    assert "not repeatable" in result.out


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


NOT_SAFETENSORS = {
    "none": (None, "no such file"),
    "empty": (b"", "empty"),
    "damaged": (header(b'{"x": {"dtype"'), "damaged"),
    "zip": (b"PK\x03\x04" + bytes(30) + b"archive/data.pkl", "torch.save"),
    "npz": (b"PK\x03\x04" + bytes(26) + b"x.npy", ".npz"),
    "npy": (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}", ".npy"),
    "pickle": (b"\x80\x02}q\x00X\x01\x00\x00\x00xq\x01", "pickle"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    "gguf": (b"GGUF\x03\x00\x00\x00" + bytes(64), "GGUF"),
    "onnx": (b"\x08\x07\x12\x07pytorch" + bytes(64), "ONNX"),
    "page": (b"\n<!DOCTYPE html><html><title>404</title>", "HTML"),
    "other": (b"\x1b[2Jverdict PASS\nverdict PASS\n" * 9, "something else"),
}


@pytest.mark.parametrize("name", NOT_SAFETENSORS)
def test_a_file_that_is_none_is_named_for_what_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    content, said = NOT_SAFETENSORS[name]
    good, bad = tmp_path / "good.safetensors", tmp_path / f"{name}.safetensors"
    save_file({"x": BASE}, good)
    if content is not None:
        bad.write_bytes(content)
    result = judge_here(caplog, bad, good)
    assert result.code == 2
    assert bad.name in result.error and said in result.error
    assert result.error.isprintable()


def test_a_folder_is_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = judge_here(caplog, tmp_path, tmp_path)
    assert (result.code, "is a folder" in result.error) == (2, True)


@pytest.mark.parametrize(
    "roles",
    [
        '{"x": {"role": "judge", "scores": 1}}',
        '{"x": {"role": ["logits"], "scores": null}}',
        '{"x": {"role": "logits", "scores": []}}',
        '{"x": {"role": {}, "scores": null}}',
        '["x"]',
        "[" * 100_000,
        '{"x": ' * 50_000,
        '{"x": null}',
        "\x1b[2J",
    ],
)
def test_damaged_roles(tmp_path: Path, caplog: pytest.LogCaptureFixture, roles: str) -> None:
    good, foreign = tmp_path / "good.safetensors", tmp_path / "foreign.safetensors"
    save_file({"x": BASE}, good)
    save_file({"x": BASE}, foreign, metadata={"kit_roles": roles})
    result = judge_here(caplog, foreign, good)
    assert result.code == 2
    assert foreign.name in result.error and "roles are damaged" in result.error
    assert result.error.isprintable()


def test_a_torch_that_does_not_load_is_no_fault_of_the_file(kit: Kit, tmp_path: Path) -> None:
    good = tmp_path / "good.safetensors"
    save_file({"x": BASE}, good)
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.13: cannot open')")
    result = kit.command("judge", good, good, PYTHONPATH=str(tmp_path))
    assert result.code == 3 and "libcudart" in result.error
    assert "safetensors" not in result.error


def test_names_are_quoted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A name must not print a verdict of its own."""
    names = "x\nverdict PASS\n", "\x1b[2J", "", "a b", "\u202ex", "plain.0"
    paths = saved(tmp_path, dict.fromkeys(names, (BASE, BASE * 1.5)))
    result = judge_here(caplog, *paths)
    assert result.code == 1
    assert result.out.count("\nverdict") == 1 and result.out.endswith("verdict FAIL\n")
    assert not {"\x1b", "\u202e"} & set(result.out)
    assert re.search(r"^plain\.0 +FAIL +0\.5 ", result.out, re.M)
    assert r"'x\nverdict PASS\n'" in result.out
    save_file({"y": BASE}, paths[1])
    result = judge_here(caplog, *paths)
    assert result.code == 4 and result.out.count("\nverdict") == 1
    missing = judge_here(caplog, *paths, "--logits", "no\nverdict PASS")
    assert missing.code == 2 and "no such output" in missing.error
    assert missing.error.isprintable()


def test_scores_without_their_ids_are_judged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Metadata cannot hide an output."""
    scores = torch.randn(1, 6, 200, generator=torch.Generator().manual_seed(0))
    ids = torch.cat([torch.zeros(1, 1), scores.argmax(-1)], 1).long()
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"

    def verdict(
        reference: dict[str, torch.Tensor], device: dict[str, torch.Tensor], role: str
    ) -> int:
        roles = {"s": {"role": "step_scores", "scores": None}, "ids": {"role": role, "scores": "s"}}
        save_file(reference, paths[0], metadata={"kit_roles": json.dumps(roles)})
        save_file(device, paths[1])
        return judge_here(caplog, *paths).code

    good, bad = scores * (1 + 1e-6), scores.flip(-1).contiguous()
    assert verdict({"s": scores, "y": BASE}, {"s": good, "y": BASE}, "token_ids") == 0
    assert verdict({"s": scores, "y": BASE}, {"s": bad, "y": BASE}, "token_ids") == 1
    assert verdict({"s": scores, "ids": ids}, {"s": bad, "ids": ids}, "features") == 1
    assert verdict({"s": scores, "ids": ids}, {"s": good, "ids": ids}, "token_ids") == 0
    # Nor can ids that say nothing about most of the steps.
    short = {"s": scores, "ids": ids[:, :2].contiguous()}
    assert verdict(short, {**short, "s": torch.cat([good[:, :1], bad[:, 1:]], 1)}, "token_ids") == 4


@pytest.mark.parametrize(
    "dtype", "F4 F6_E2M3 F8_E8M0 F8_E4M3 F8_E5M2 U16 U32 U64 I16 BF16 C64 BOOL X9".split()
)
def test_any_dtype_ends_with_a_verdict_or_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, dtype: str
) -> None:
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for path in paths:
        layout = {"x": {"dtype": dtype, "shape": [8], "data_offsets": [0, 0]}}
        size = {
            "F4": 4,
            "F6_E2M3": 6,
            "U16": 16,
            "I16": 16,
            "BF16": 16,
            "U32": 32,
            "U64": 64,
            "C64": 64,
        }
        layout["x"]["data_offsets"] = [0, size.get(dtype, 8)]
        text = json.dumps(layout).encode()
        path.write_bytes(header(text) + bytes(range(1, size.get(dtype, 8) + 1)))
    for result in (judge_here(caplog, *paths), judge_here(caplog, *paths, "--again", paths[1])):
        assert result.code in (0, 2, 4)
        assert result.error.isprintable()


def test_a_run_of_the_kit_can_be_judged_from_its_files(vit_run: Kit) -> None:
    assert vit_run.compare().code == 0
    paths = [vit_run.logs / f"{name}.safetensors" for name in ("reference", "outputs", "golden")]
    result = judge(vit_run, paths[0], paths[1], "--golden", paths[2], "--json")
    assert result.code == 0
    found, summary = json.loads(result.out), vit_run.summary
    for name, output in found["outputs"].items():
        assert output["metrics"] == summary["outputs"][name]["metrics"]
        assert output["truth"] == summary["outputs"][name]["truth"]
    assert found["outputs"]["logits"]["role"] == "logits"


def test_a_pipe_is_not_waited_for(kit: Kit) -> None:
    good, pipe = kit.scratch / "good.safetensors", kit.scratch / "pipe"
    save_file({"x": BASE}, good)
    os.mkfifo(pipe)
    result = kit.command("judge", good, pipe)
    assert result.code == 2 and "no regular file" in result.error


def test_names_that_no_system_has(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = tmp_path / "good.safetensors"
    save_file({"x": BASE}, good)
    result = judge_here(caplog, good, Path("x" * 5000))
    assert result.code == 2 and "no such file" in result.error and len(result.error) < 500


def test_more_dimensions_than_numpy_has(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = saved(tmp_path, {"x": (torch.ones([1] * 100), torch.ones([1] * 100) * 2)})
    result = judge_here(caplog, *paths)
    assert result.code == 4 and "100 dimensions" in result.out


def test_a_map_of_logits_is_not_ranked_along_its_width(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    coarse = torch.randn(1, 21, 16, 16) * 2
    fine = torch.nn.functional.interpolate(coarse, (64, 64), mode="bilinear")
    result = judge_here(caplog, *saved(tmp_path, {"logits": (fine, fine.half().float())}))
    assert result.code == 0, result.out
