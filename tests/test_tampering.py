"""Edited evidence: what the saved tensors contradict is neither shown nor published."""

from __future__ import annotations

import copy
import json
import random
import shutil
import sys
from collections.abc import Callable
from typing import Any

import pytest
from conftest import T5, VIT, Finished, Kit
from documents import leaves

REPORTS = ("report.md", "report.html")


@pytest.fixture
def judged(finished: Finished, kit: Kit) -> Kit:
    shutil.copytree(finished(VIT[1]).logs, kit.logs)
    return kit


def refuse(kit: Kit, words: str, *, published: bool = False) -> None:
    result = kit.command("report", "--logs", kit.logs)
    assert result.code == 4 and words in result.error, result.err
    assert not [name for name in REPORTS if (kit.logs / name).exists()]
    if published:
        to = ("--logs", kit.logs, "--to", kit.scratch / "exported")
        assert kit.command("export", VIT[1], *to).code == 4


def edit(kit: Kit, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((kit.logs / name).read_text("utf-8"))
    change(document)
    (kit.logs / name).write_text(json.dumps(document), "utf-8")


def better(summary: dict[str, Any]) -> None:
    """A figure smaller everywhere it stands, with what follows from it."""
    metrics = summary["outputs"]["features"]["metrics"]
    metrics["mean_abs_diff"] *= 0.5
    if summary["primary_output"] == "features":
        summary["mean_abs_diff"] = metrics["mean_abs_diff"]
    reading = summary["outputs"]["features"]["readings"]["reports"]["figures"]
    reading["mean_abs_diff"] = metrics["mean_abs_diff"]
    worst = summary["readings_of_1_percent"]["reports"]
    if worst["output"] == "features":
        worst["figures"]["mean_abs_diff"] = metrics["mean_abs_diff"]


def test_a_figure_that_was_edited_consistently(judged: Kit) -> None:
    edit(judged, "summary.json", better)
    refuse(judged, "mean_abs_diff", published=True)
    cold = judged.command("report", "--logs", judged.logs, KIT_TESTS_COLD="1")
    assert cold.code == 4 and "mean_abs_diff" in cold.error, "measured in a process of its own"
    assert judged.compare("--rejudge").code == 0
    assert judged.command("report", "--logs", judged.logs).code == 0


def test_points_and_scores_of_the_page(judged: Kit) -> None:
    for change in (
        lambda charts: charts["outputs"]["features"]["device"].__setitem__(3, 0.25),
        lambda charts: charts["top5"]["classes"][0].update(device=99.0),
        lambda charts: charts["outputs"]["logits"]["counts"].reverse(),
    ):
        before = (judged.logs / "charts.json").read_bytes()
        edit(judged, "charts.json", change)
        refuse(judged, "charts.json")
        (judged.logs / "charts.json").write_bytes(before)
    assert judged.command("report", "--logs", judged.logs).code == 0


@pytest.mark.parametrize("model", [VIT[1], pytest.param(T5[1], marks=pytest.mark.full)])
def test_what_the_record_says_of_the_outputs(finished: Finished, kit: Kit, model: str) -> None:
    """The five classes and the generated tokens, which nothing but the tensors contradicts."""
    shutil.copytree(finished(model).logs, kit.logs)
    whole = (kit.logs / "run.json").read_bytes()
    edit(kit, "run.json", lambda record: record["described"]["top5"][3].update(logit=6.5))
    refuse(kit, "described.top5 in run.json")
    if model == T5[1]:
        (kit.logs / "run.json").write_bytes(whole)
        edit(kit, "run.json", lambda record: record["described"]["generated"]["token_ids"].pop())
        refuse(kit, "described.generated in run.json")


def test_the_error_that_is_explained(judged: Kit) -> None:
    """Half of what was observed, and half of what was predicted, in agreement with each other."""

    def halve(summary: dict[str, Any]) -> None:
        explained = summary["explanation"]["outputs"]["features"]
        for figure in ("observed_relative_l2", "predicted_relative_l2"):
            explained[figure] /= 2

    edit(judged, "summary.json", halve)
    refuse(judged, "explanation.outputs.features.observed_relative_l2 in summary.json")


def test_the_device_s_outputs_in_the_reference_s_place(judged: Kit) -> None:
    shutil.copy(judged.logs / "outputs.safetensors", judged.logs / "reference.safetensors")
    refuse(judged, "reference.safetensors is not what the record says")


def test_a_machine_without_torch_says_that_nothing_was_measured_again(judged: Kit) -> None:
    (judged.scratch / "torch.py").write_text("raise ImportError('no torch here')")
    cold = {"PYTHONPATH": str(judged.scratch), "KIT_TESTS_COLD": "1"}
    result = judged.command("report", "--logs", judged.logs, **cold)
    assert result.code == 0 and "were not measured again" in result.err


def test_what_stands_for_a_module_is_no_less_than_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a version of torch asks of the part that is left out, it gets."""
    from kit.evidence.remeasured_child import _WhenAsked

    left_out = _WhenAsked("this_module_is_large")
    monkeypatch.setitem(sys.modules, "colorsys", _WhenAsked("colorsys"))
    from colorsys import rgb_to_hsv

    assert rgb_to_hsv(1.0, 1.0, 1.0) == (0.0, 0.0, 1.0)
    with pytest.raises(ModuleNotFoundError, match="this_module_is_large"):
        left_out.anything  # noqa: B018


def test_measuring_again_that_breaks_off_shows_nothing(judged: Kit) -> None:
    (judged.scratch / "torch.py").write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    cold = {"PYTHONPATH": str(judged.scratch), "KIT_TESTS_COLD": "1"}
    result = judged.command("report", "--logs", judged.logs, **cold)
    assert result.code == 3 and "was ended by SIGKILL" in result.error
    assert not (judged.logs / "report.md").exists() and not (judged.logs / "report.html").exists()


@pytest.mark.parametrize("name", ["outputs.safetensors", "inputs.safetensors"])
def test_a_clone_without_git_lfs_loses_no_comparison(judged: Kit, name: str) -> None:
    before = (judged.logs / "summary.json").read_bytes()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    (judged.logs / name).write_text(pointer)
    result = judged.compare()
    assert result.code == 3 and f"{name} is a Git LFS pointer" in result.error
    assert result.error.endswith("; run git lfs pull where it was cloned")
    assert (judged.logs / "summary.json").read_bytes() == before


@pytest.mark.parametrize(("number", "seed"), [(3, 1), pytest.param(150, 2, marks=pytest.mark.full)])
def test_random_edits_of_the_comparison(judged: Kit, number: int, seed: int) -> None:
    """Figures of outputs, readings and charts, changed anywhere: none is shown."""
    dice = random.Random(seed)
    whole = {
        name: json.loads((judged.logs / name).read_text("utf-8"))
        for name in ("summary.json", "charts.json")
    }
    for _ in range(number):
        name = dice.choice([*whole])
        document = copy.deepcopy(whole[name])
        path, holder, key = dice.choice(
            [
                each
                for each in leaves(document["outputs"])
                if isinstance(each[1][each[2]], (bool, int, float))
            ]
        )
        value = holder[key]
        holder[key] = not value if isinstance(value, bool) else value * 1.01 + 1
        (judged.logs / name).write_text(json.dumps(document), "utf-8")
        result = judged.command("report", "--logs", judged.logs)
        page = judged.logs / "report.html"
        # Charts that do not add up are left out of the page, which says so.
        left_out = (
            name == "charts.json" and result.code == 0 and "charts.json" in page.read_text("utf-8")
        )
        assert result.code == 4 or left_out, (name, path, value)
        (judged.logs / name).write_text(json.dumps(whole[name]), "utf-8")
    assert judged.command("report", "--logs", judged.logs).code == 0
