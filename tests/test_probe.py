"""The probe: what crafted inputs reveal of a device, beside what the device was made to do."""

from __future__ import annotations

import json

import pytest
from conftest import ROOT, SMALL, Kit
from starting import kept_environment, start_python

from kit.evidence.flag_claims import contradicted_flags
from kit.explain.crafted import SIZE, order_of

# One process: the switches are put in the place of those that the environment would have set.
MATRIX = """
import random, sys
from dataclasses import replace
import torch
from kit.devices import select_device
from kit.explain.battery import probe_arithmetic
device = select_device("npu:0")
from torch_npu import _arithmetic, _tensor

def probed(**switches):
    _arithmetic.SWITCHES = replace(_arithmetic.SWITCHES, **switches)
    _tensor._plans.clear()
    return probe_arithmetic(device)

plain = {
    width: probed(accumulation=width, bits=23, block=None).matmul for width in ("fp32", "fp64")
}
draw, unknown = random.Random(int(sys.argv[1])), 0
for setting in range(int(sys.argv[2])):
    bits = draw.choice([*range(7, 24)])
    given = dict(
        bits=bits, rounding=draw.choice(["nearest", "zero"]), gelu=draw.choice(["erf", "tanh"]),
        accumulation=draw.choice(["fp32", "fp64"]), subnormals=draw.choice(["keep", "flush"]),
        block=draw.choice([None, 1, 2, 3, 4, 8, 16, 17, 32, 64, 100, 128, 300]),
    )
    found = probed(**given)
    assert found.gelu == given["gelu"] and not found.failed, (given, found)
    for product in (found.matmul, found.convolution):
        rounding = {"nearest": "nearest_even", "zero": "towards_zero"}[given["rounding"]]
        flushed = {"keep": "kept", "flush": "flushed"}[given["subnormals"]]
        cpu = plain[given["accumulation"]]
        order = cpu.order, cpu.block
        if given["block"] is not None and given["block"] < 256:
            order = ("sequential", None) if given["block"] == 1 else ("blocks", given["block"])
        expected = dict(
            operand_bits=bits, rounding="none" if bits == 23 else rounding, wide_range=True,
            subnormal_operands=flushed, subnormal_results=flushed,
            accumulator_bits={"fp32": 24, "fp64": 53}[given["accumulation"]],
        )
        for name, value in expected.items():
            seen = getattr(product, name)
            assert seen in (value, None, "unknown"), (given, name, seen)
            unknown += seen != value
        seen = product.order, product.block
        assert seen == order or seen[0] in ("other", "unknown"), (given, seen, order)
        unknown += seen != order
print("unknown", unknown)
"""


def settings(seed: int, count: int) -> int:
    """How many findings were declared unknown; no setting was found to be another one."""
    environment = kept_environment() | {
        "PYTHONPATH": f"{ROOT / 'tests' / 'simulated_npu'}:{ROOT}",
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
    }
    process = start_python("-c", MATRIX, str(seed), str(count), env=environment)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return int(out.split()[-1])


def test_random_settings_are_recovered() -> None:
    assert settings(seed=1, count=6) <= 2


@pytest.mark.full
def test_sixty_random_settings_are_recovered() -> None:
    assert settings(seed=2, count=60) <= 20


def test_the_order_is_read_from_where_summands_meet() -> None:
    """Pairwise, backwards, and two interleaved sums are no blocks; nothing lost tells nothing."""
    assert order_of([2 ** place.bit_length() for place in range(1, SIZE)])[0] == "pairwise"
    assert order_of([SIZE] * (SIZE - 1)) == ("other", None)
    assert order_of([2 + place // 2 if place % 2 == 0 else SIZE for place in range(1, SIZE)])[
        0
    ] == ("other")
    assert order_of([2] * (SIZE - 1)) == order_of([]) == ("unknown", None)
    assert order_of([place + 1 for place in range(1, SIZE)]) == ("sequential", None)


def test_a_run_has_the_findings_on_record_and_in_its_report(judged_run: Kit) -> None:
    run = judged_run
    found = run.record["device_proof"]["arithmetic"]
    assert found["convolution"]["operand_bits"] == 11 and found["matmul"]["operand_bits"] == 23
    assert found["convolution"]["rounding"] == "nearest_even" and found["gelu"] == "tanh"
    assert found["contradictions"] == [] and "gelu" in found["other_than_cpu"]
    assert run.summary["device_proof"]["arithmetic"] == found
    report = run.logs / "report.md"
    assert "尾数位" in report.read_text("utf-8")
    assert run.command("report", "--logs", run.logs, "--lang", "en").code == 0
    assert "to nearest, ties to even" in report.read_text("utf-8")


@pytest.mark.parametrize(
    ("switches", "arguments", "told"),
    [
        ({"SIM_NPU_BITS": "9"}, (), "promises 23 mantissa bits in a matmul, the device keeps 9"),
        ({"SIM_NPU_EXACT": "1"}, (), "answers as the CPU does, bit for bit"),
    ],
)
def test_what_speaks_against_a_run_is_said_and_blocks(
    npu: Kit, switches: dict[str, str], arguments: tuple[str, ...], told: str
) -> None:
    result = npu.infer(*SMALL, *arguments, **switches)
    assert result.code == 0 and told in result.err
    assert any(told in blocker for blocker in npu.summary["submission_blockers"])


def test_a_first_generation_chip_has_no_fp32_to_keep() -> None:
    import msgspec

    from kit.evidence.types.arithmetic import ProbedArithmetic

    product = {
        "operand_bits": 10, "rounding": "nearest_even", "wide_range": False,
        "subnormal_operands": "unknown", "subnormal_results": "unknown", "accumulator_bits": 24,
        "order": "unknown", "block": None,
    }  # fmt: skip
    document = {
        "dtype": "float32", "seed": 0, "matmul": product, "convolution": product, "gelu": "tanh",
        "same_as_cpu": [], "other_than_cpu": ["matmul"], "failed": {}, "contradictions": [],
    }  # fmt: skip
    probed = msgspec.convert(document, ProbedArithmetic)
    flags = {"conv.allow_hf32": True, "matmul.allow_hf32": False, "compatible_impl": True}
    told = contradicted_flags(flags, "Ascend910B4", probed)
    assert [(each.flag, each.promised, each.found) for each in told] == [
        ("conv.allow_hf32", 11, 10),
        ("matmul.allow_hf32", 23, 10),
        ("compatible_impl", "erf", "tanh"),
    ]
    assert [each.flag for each in contradicted_flags(flags, "Ascend910A", probed)] == [
        "compatible_impl"
    ]


def test_the_command(npu: Kit) -> None:
    result = npu.command("probe", "--device", "npu:0", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["convolution"]["operand_bits"] == 11
    result = npu.command("probe", "--dtype", "bfloat16", SIM_NPU_EXACT="1")
    assert result.code == 4 and "7 mantissa bits" in result.out and "DOUBT" in result.out
