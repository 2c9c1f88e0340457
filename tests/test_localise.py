"""Planted faults are found in the module that has them, and a healthy device is not accused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from string import ascii_lowercase
from typing import Any

import pytest
from conftest import ROOT, SMALL, VIT, Finished, Kit
from starting import kept_environment, start_python

from kit.evidence.logs import Logs
from kit.evidence.reading import read_evidence
from kit.explain.cure import Questions, smallest_passing
from kit.report.page import write_page
from kit.words import Texts

PLANTED = {
    "vit_tiny_patch16_224": (
        *("native_layer_norm:7+:eps", "addmm:10+:row", "gelu:3+:relu", "bmm:5+:head"),
        *(
            "addmm:20+:no_bias",
            "convolution:1+:neighbour",
            "_safe_softmax:4+:neighbour",
            "add:5+:row",
        ),
    ),
    "bert": (
        *("native_layer_norm:5+:eps", "addmm:9+:no_bias", "gelu:2+:relu", "bmm:3+:head"),
        *("addmm:15+:shift", "_safe_softmax:2+:tail"),
    ),
    "t5": ("mm:3+:row", "mm:30+:tail", "bmm:4+:shift", "_safe_softmax:2+:row", "relu:2+:tail"),
    "convnext_atto": (
        *("convolution:5+:neighbour", "convolution:9+:no_bias", "native_layer_norm:4+:eps"),
        *("gelu:3+:relu", "convolution:2+:shift"),
    ),
    "tf_efficientnet_lite0": (
        *("convolution:4+:row", "convolution:10+:tail", "hardtanh_:3+:shift"),
        *("native_batch_norm:5+:eps", "addmm:1+:no_bias"),
    ),
}


def localised(architecture: str, *plans: str, scripts: bool = False) -> list[dict[str, Any]]:
    environment = kept_environment() | {
        "PYTHONPATH": f"{ROOT / 'tests' / 'simulated_npu'}:{ROOT}",
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
    }
    more = ("--scripts",) if scripts else ()
    script = ROOT / "tests" / "localising.py"
    process = start_python(script, architecture, *plans, *more, env=environment)
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def missed(architecture: str, plans: tuple[str, ...], *, scripts: bool) -> list[dict[str, Any]]:
    """What was not named, or not shown by its script; wrong names are worse and end the test."""
    told = localised(architecture, *(f"aten::{plan}" for plan in plans), scripts=scripts)
    assert [each["plan"] for each in told] == [f"aten::{plan}" for plan in plans]
    for each in told:
        assert each["expected"] is not None, each
        assert each["bad"] is None or each["bad"][0] == each["expected"], each
        assert not each["skipped"], each
    wrong = [each for each in told if each["bad"] is None or each["operator"] != each["planted"]]
    if scripts:
        wrong += [each for each in told if each["bad"] and each.get("codes") != [1, 0]]
        assert all(each["bytes"] <= 1 << 20 for each in told if each.get("codes"))
    return wrong


def test_planted_faults_are_named_and_a_healthy_device_is_not() -> None:
    *planted, first, second, cure = localised(
        "bert", *(f"aten::{plan}" for plan in PLANTED["bert"][:3]), "clean:1", "clean:2", "cure"
    )
    assert cure["error"] <= cure["plain"] / 2 and 0 < len(cure["names"]) < cure["of"], cure
    assert cure["asked"] <= 40 and cure["all"] < cure["plain"] / 4, cure  # GELU has no flag
    assert cure["cpu"] < cure["plain"] / 100, cure
    assert [each["bad"][0] for each in planted] == [each["expected"] for each in planted]
    assert [each["operator"] for each in planted] == [each["planted"] for each in planted]
    assert first["bad"] is None and second["bad"] is None
    assert not any(each["skipped"] for each in (*planted, first, second))


@pytest.mark.full
def test_all_planted_faults_and_their_scripts() -> None:
    assert sum(map(len, PLANTED.values())) >= 24
    wrong = [each for name, plans in PLANTED.items() for each in missed(name, plans, scripts=True)]
    assert len(wrong) <= 1, wrong


@pytest.mark.full
@pytest.mark.parametrize("architecture", PLANTED)
def test_ten_clean_runs_under_random_switches(architecture: str) -> None:
    told = localised(architecture, *(f"clean:{architecture}{seed}" for seed in range(10)))
    assert len(told) == 10 and not [each for each in told if each["bad"] or each["skipped"]]


def test_a_pass_with_a_wrong_operator_says_so_loudly(npu: Kit) -> None:
    """One row of a product off by 0.5%: within 1% in every output, and named all the same."""
    planted = {"SIM_NPU_PLANT": "aten::addmm:6+:row"}
    assert npu.infer(*SMALL, **planted).code == 0
    result = npu.compare("--localize", **planted)
    assert result.code == 0 and npu.summary["verdict"] == "PASS", result.err
    explanation = npu.summary["explanation"]
    bad = explanation["first_bad_module"]
    assert explanation["unexplained"] and explanation["first_bad_module_reason"] is None
    assert (bad["name"], bad["kind"], bad["call"]) == ("blocks.1.attn.proj", "Linear", 0)
    assert bad["own_relative_l2"] > bad["explained_up_to"] >= 3 * bad["predicted_relative_l2"]
    wrong = {"name": "aten::addmm", "shapes": [[48], [17, 48], [48, 48]]}
    assert wrong.items() <= bad["wrong_operator"].items()
    assert wrong | {"calls": 1} in bad["operators"]
    assert "aten::_to_copy" not in {each["name"] for each in bad["operators"]}  # of watching
    assert bad["reproduction"] == "wrong_operator/replay.py"
    rows = list(csv.DictReader((npu.logs / "layers.csv").open()))
    assert next(row["module"] for row in rows if row["unexplained"] == "True") == bad["name"]
    assert len(rows) == explanation["layers"]["checked"] > 20
    assert any("attn.proj (Linear)" in each for each in npu.summary["submission_blockers"])
    told = "UNEXPLAINED: FIRST BAD MODULE blocks.1.attn.proj (Linear"
    assert told in result.out and told in (npu.logs / "accuracy_compare.log").read_text("utf-8")
    first_sentence, _, rest = (npu.logs / "report.md").read_text("utf-8").partition("\n\n| ")
    assert "PASS" in first_sentence and "不能由设备的算术解释" in first_sentence
    assert "wrong_operator/replay.py" in rest
    shows_the_operator(npu, "aten::addmm:*:row")
    check_the_depth_is_drawn(npu)
    check_what_another_comparison_keeps(npu, explanation)


def check_the_depth_is_drawn(npu: Kit) -> None:
    """Own errors, their band, the accumulated error and the bad module; of no other file's rows."""
    logs, path = Logs(npu.logs), npu.logs / "layers.csv"
    write_page(logs, read_evidence(npu.logs))
    page, svg = (npu.logs / "report.html").read_text("utf-8"), npu.logs / "plots" / "depth.svg"
    for part in ("band", "own", "accumulated", "bad"):
        assert f'id="depth-{part}"' in page and f'id="{part}"' in svg.read_text("utf-8")
    assert "累积误差" in page and "accumulated" in svg.read_text("utf-8")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"True", b"False"))
    write_page(logs, read_evidence(npu.logs))
    page = (npu.logs / "report.html").read_text("utf-8")
    assert Texts("zh")("charts.no_layers") in page and not svg.exists()
    path.write_bytes(whole)


def shows_the_operator(npu: Kit, plan: str) -> None:
    """The script fails where the fault is, and passes on a healthy device."""
    script = npu.logs / "wrong_operator" / "replay.py"
    assert len(script.read_text("utf-8").splitlines()) < 60
    assert sum(path.stat().st_size for path in script.parent.iterdir()) <= 1.1 * 2**20
    for planted, code in ((plan, 1), ("", 0)):
        ended = start_python(script, env=npu.environment(SIM_NPU_PLANT=planted))
        out, err = ended.communicate(timeout=120)
        assert ended.returncode == code, err
        assert "expected" in out and "operator rule" in out


def check_what_another_comparison_keeps(npu: Kit, explanation: dict[str, Any]) -> None:
    script = npu.logs / "wrong_operator" / "replay.py"
    assert npu.compare("--rejudge").code == 0  # runs nothing again, and keeps what was found
    assert npu.summary["explanation"] == explanation and script.exists()
    edit_summary(npu, lambda found: found["explanation"].update(unexplained=False))
    assert npu.command("report", "--logs", npu.logs).code == 4
    # What another comparison does not make, goes; `on`, for auto may run out of time.
    assert npu.compare("--explain", "on").code == 0
    assert not (npu.logs / "layers.csv").exists() and not script.exists()
    again = npu.summary["explanation"]
    assert again["first_bad_module"] is None and "--localize" in again["first_bad_module_reason"]


def edit_summary(kit: Kit, change: Callable[[dict[str, Any]], object]) -> None:
    summary = kit.summary
    change(summary)
    (kit.logs / "summary.json").write_text(json.dumps(summary), "utf-8")


def test_a_healthy_device_has_no_bad_module(finished: Finished, npu: Kit) -> None:
    """Whether its outputs were explained or not."""
    shutil.copytree(finished(SMALL[1], compared=False).logs, npu.logs)
    result = npu.compare("--localize", "--explain", "off")
    assert result.code == 0, result.err
    explanation = npu.summary["explanation"]
    assert explanation["not_attributed"] == "--explain off" and explanation["outputs"] == {}
    assert explanation["first_bad_module"] is None and not explanation["unexplained"]
    assert "is explained by the device's arithmetic" in explanation["first_bad_module_reason"]
    # A convolution in HF32 and two GELUs by tanh; then a device that does not do what its flags allow.
    shown = (
        "the device's arithmetic should show in 3 module calls: in {} the own error is as predicted"
    )
    assert shown.format(3) in (npu.logs / "accuracy_compare.log").read_text("utf-8")
    assert npu.compare("--localize", "--explain", "off", SIM_NPU_GELU="erf").code == 0
    log = (npu.logs / "accuracy_compare.log").read_text("utf-8")
    assert shown.format(1) in log and "in 2 it is below a tenth of that" in log


@pytest.mark.parametrize("most", [5, 12, 99])
@pytest.mark.parametrize(
    "needed", [{"a"}, {"p"}, {"c", "d"}, {"a", "p"}, {"b", "g", "h", "o"}, {*ascii_lowercase[:16]}]
)
def test_the_smallest_set_is_found_in_bounded_questions(needed: set[str], most: int) -> None:
    ordered = ascii_lowercase[:16]
    questions = Questions(lambda names: needed <= {*names}, most)
    found = smallest_passing(ordered, questions)
    assert needed <= {*found} and questions.asked <= most
    assert most < 99 or {*found} == needed
    assert found == sorted(found)


@pytest.mark.full
def test_the_cheapest_cure_of_a_fail_is_named_and_confirmed(npu: Kit) -> None:
    planted = {"SIM_NPU_PLANT": "aten::convolution:1+:shift"}
    assert npu.infer(*VIT, **planted).code == 0
    result = npu.compare("--localize", **planted)
    assert result.code == 1, result.err
    cure = npu.summary["explanation"]["cheapest_cure"]
    assert (cure["way"], cure["modules"]) == ("cpu", ["patch_embed.proj"])
    assert all(error < 0.001 for error in cure["relative_l2"].values())
    assert "CHEAPEST CURE: with 1 module(s) run on the CPU" in result.out
    assert "patch_embed.proj" in (npu.logs / "report.md").read_text("utf-8")


def test_localising_needs_the_device_of_the_run(finished: Finished, kit: Kit) -> None:
    shutil.copytree(finished(SMALL[1], compared=False).logs, kit.logs)
    result = kit.compare("--localize")
    assert result.code == 3
    [line] = result.err.splitlines()
    assert line.startswith("error: --localize needs the device of the run: npu:0 cannot be used")
    assert kit.compare("--localize", "--rejudge").code == 2
