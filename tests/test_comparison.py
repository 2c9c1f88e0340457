"""What a comparison adds to its verdict: the golden, the readings of 1%, and judging again."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from conftest import SMALL, Kit

from kit.accuracy.comparison import Comparison, Reference, compare
from kit.accuracy.metrics import measure
from kit.accuracy.readings import READINGS, read, worst
from kit.accuracy.repeats import ASSUMED_REPEATABLE, Repeat
from kit.accuracy.spec import OutputSpec
from kit.accuracy.thresholds import Thresholds
from kit.documented import written
from kit.evidence.schema import parse
from kit.evidence.summary import summarise
from kit.evidence.types.run import Run
from kit.evidence.types.summary import Summary
from kit.words import Reason


def test_the_golden_lies_nearer_to_fp32_than_to_the_device(judged_run: Kit) -> None:
    for output in judged_run.summary["outputs"].values():
        errors = output["truth"]
        # fp32 rounds at 2^-24, the NPU's HF32 convolutions at 2^-12.
        assert 1e-8 < errors["reference"]["relative_l2"] < 1e-5
        assert 1e-5 < errors["device"]["relative_l2"] < 1e-2
        ratio = errors["device"]["relative_l2"] / errors["reference"]["relative_l2"]
        assert errors["ratio"] == pytest.approx(ratio) and ratio > 20
        assert errors["device"]["relative_l2"] == pytest.approx(
            output["metrics"]["relative_l2"], rel=0.05
        )


def test_the_readings_stand_side_by_side(judged_run: Kit) -> None:
    summary = judged_run.summary
    assert list(summary["readings_of_1_percent"]) == list(READINGS)
    overlap = summary["readings_of_1_percent"].pop("overlap")
    assert (overlap["within"], overlap["output"]) == (None, None)  # no output is of integers
    for name, reading in summary["readings_of_1_percent"].items():
        # HF32's own row, and yet: it is a rule for single operators.
        assert reading["within"] is (name != "operator_rule")
        assert reading["output"] in summary["outputs"]
        assert (
            reading["figures"] == summary["outputs"][reading["output"]]["readings"][name]["figures"]
        )
    assert summary["readings_of_1_percent"]["softmax"]["output"] == "logits"
    assert "relative L2 <= 1%" in summary["match_basis"]
    rule = summary["readings_of_1_percent"]["operator_rule"]["figures"]
    assert rule["threshold"] == 2**-11  # convolutions used HF32
    assert 0 < rule["mere"] < rule["mare"]


def test_the_readings_disagree() -> None:
    """What lets 14% through, and what a single small value upsets."""
    torch.manual_seed(0)
    reference = torch.randn(10_000) * 0.01
    tilted = reference + 0.13 * torch.randn(10_000) * 0.01
    found = {name: reading.within for name, reading in read(measure(reference, tilted)).items()}
    assert found["reports"] and found["one_minus_cosine"]
    assert not found["relative_l2"] and not found["mean_relative"] and not found["range"]
    assert found["softmax"] is None
    tiny = reference * 100
    tiny[0] = 1e-9
    moved = tiny.clone()
    moved[0] = 1e-3
    found = {name: reading.within for name, reading in read(measure(tiny, moved)).items()}
    assert found["relative_l2"] and found["mean_relative_big"] and not found["mean_relative"]


def test_the_worst_output_is_named_and_a_figure_that_is_missing_is_no_pass() -> None:
    base = torch.linspace(-3, 5, 64)
    good, bad = read(measure(base, base)), read(measure(base, base * 1.5))
    none = read(measure(base * 0, base))
    assert worst({"a": good, "b": bad, "c": good}).relative_l2.output == "b"
    found = worst({"a": good, "b": none}).relative_l2
    assert (found.output, found.within, found.figures) == ("b", False, {"relative_l2": None})
    assert worst({}).relative_l2.within is None


def test_rejudge_runs_no_model_and_says_the_same(judged_run: Kit) -> None:
    before = judged_run.summary
    (judged_run.logs / "inputs.safetensors").unlink()  # a model could not be run without it
    result = judged_run.compare("--rejudge")
    assert result.code == 0
    assert judged_run.summary == before


def test_rejudge_refuses_other_outputs(judged_run: Kit) -> None:
    shutil.copy(judged_run.logs / "outputs.safetensors", judged_run.logs / "reference.safetensors")
    result = judged_run.compare("--rejudge")
    assert result.code == 4
    assert "reference.safetensors is not what the record says" in result.error
    assert judged_run.summary["verdict"] == "INVALID"


def test_rejudge_needs_a_finished_comparison(vit_run: Kit) -> None:
    result = vit_run.compare("--rejudge")
    assert result.code == 2
    assert "without --rejudge" in result.error


def test_no_golden_is_said_and_nothing_is_guessed(judged_run: Kit) -> None:
    assert (judged_run.logs / "golden.safetensors").exists()
    assert judged_run.compare("--golden", "off").code == 0
    assert not (judged_run.logs / "golden.safetensors").exists()
    summary = judged_run.summary
    assert summary["reference"]["golden"] == {"outputs": None, "reason": "--golden off"}
    assert all(output["truth"] is None for output in summary["outputs"].values())


def test_the_reference_too_must_be_repeatable() -> None:
    base = torch.linspace(-3, 5, 64)

    def verdict(relative_l2: float) -> str:
        repeat = Repeat(bit_identical=False, relative_l2=relative_l2, nonfinite_agree=True)
        reference = Reference(
            outputs={"x": base}, repeats={"x": repeat}, golden={}, golden_reason=Reason.said("none")
        )
        specs = {"x": OutputSpec(role="features")}
        return compare(specs, reference, {"x": base}, {"x": ASSUMED_REPEATABLE}).verdict

    assert verdict(1e-7) == "PASS"
    assert verdict(1e-2) == "INVALID"


def test_other_thresholds_need_a_reason_that_the_summary_shows(judged_run: Kit) -> None:
    for wrong in (
        {"relative_l2": 0.05},
        {"max_over_range": 0.05, "reason": " "},
        {"relative_l2": 2},
    ):
        with pytest.raises(ValueError, match="thresholds"):
            Thresholds(**wrong)  # type: ignore[arg-type]
    base = torch.linspace(-3, 5, 64)
    loose = Thresholds(relative_l2=0.05, max_over_range=0.05, reason="trained in int8")
    reference = Reference(
        outputs={"x": base}, repeats={}, golden={}, golden_reason=Reason.said("none")
    )

    def judged(thresholds: Thresholds, scale: float) -> Comparison:
        specs = {"x": OutputSpec(role="features", thresholds=thresholds)}
        return compare(specs, reference, {"x": base * scale}, {"x": ASSUMED_REPEATABLE})

    assert judged(Thresholds(), 1.03).verdict == "FAIL"
    strict = Thresholds(relative_l2=1e-4, max_over_range=1e-4, reason="shown to be exact")
    assert judged(strict, 1.001).verdict == "FAIL"
    comparison = judged(loose, 1.03)
    assert comparison.verdict == "PASS"
    record = json.loads(json.dumps(judged_run.record))
    spec = OutputSpec(role="features", thresholds=loose)
    record["model"] |= {"primary_output": "x", "outputs": {"x": written(spec)}}
    reference_on_record = parse(Summary, judged_run.summary).reference
    summary = summarise(parse(Run, record), comparison, reference_on_record)
    assert summary.match_within_1_percent is False
    assert "x is judged by other limits (trained in int8)" in (summary.match_basis or "")
    assert "not within 1%, whatever the model allows: x" in summary.submission_blockers
    assert Thresholds(relative_l2=0.05, reason="权重以八位整数训练").relative_l2 == 0.05


def test_golden_takes_one_of_three_words(kit: Kit) -> None:
    assert kit.infer(*SMALL).code == 0
    assert kit.compare("--golden", "maybe").code == 2
