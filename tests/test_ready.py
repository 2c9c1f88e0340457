"""Ready for submission is what is within 1%, whatever limits a model declares for itself."""

from __future__ import annotations

import shutil
from pathlib import Path

from conftest import QUICK, ROOT, VIT, Kit, ended
from starting import start_python

MODEL = "vit_tiny_patch16_224"
WIDE = """
from dataclasses import replace
from kit.accuracy.thresholds import Thresholds
from kit.models.families.timm_image import TimmImage

REASON = {reason!r}
LIMITS = Thresholds(relative_l2=0.99, max_over_range=0.99, reason=REASON)

class ADAPTER(TimmImage):
    def __init__(self, *arguments, **places):
        super().__init__(*arguments, **places)
        self.outputs = {{
            name: replace(spec, thresholds=LIMITS) for name, spec in self.outputs.items()
        }}
"""


def checkout(folder: Path, reason: str) -> Path:
    """A checkout whose only model declares limits of 0.99, for that reason."""
    for name in ("kit", f"models/{MODEL}"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("inference.py", "compare_accuracy.py", "models/__init__.py"):
        shutil.copy(ROOT / name, folder / name)
    declaration = folder / "models" / MODEL / "model.toml"
    declaration.write_text(declaration.read_text().replace('family = "timm_image"', ""))
    declaration.with_name("adapter.py").write_text(WIDE.format(reason=reason))
    return folder


def test_wide_limits_pass_and_are_not_ready(npu: Kit, tmp_path: Path) -> None:
    here = checkout(tmp_path / "here", "the device adds three percent of gain")
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(ROOT / "kit" / "models" / "samples" / "photo.png", photos)
    switches = {"SIM_NPU_FAULT": "aten::native_layer_norm:*:1.03"}
    for script, *arguments in (
        ("inference.py", *QUICK, "--data", photos),
        ("compare_accuracy.py", "--golden", "off"),
    ):
        process = start_python(
            here / script, *arguments, "--logs", npu.logs, env=npu.environment(**switches)
        )
        result = ended(process)
        assert result.code == 0, result.err
    summary = npu.summary
    assert summary["verdict"] == "PASS" and summary["match_within_1_percent"] is False
    assert summary["samples"]["passed"] == summary["samples"]["beyond_1_percent"] == 1
    [blocker] = [text for text in summary["submission_blockers"] if "not within 1%" in text]
    assert "logits" in blocker and "1 of 1 samples" in blocker


def test_a_reason_is_a_sentence(npu: Kit, tmp_path: Path) -> None:
    here = checkout(tmp_path / "here", ".")
    process = start_python(here / "inference.py", *VIT, "--logs", npu.logs, env=npu.environment())
    result = ended(process)
    assert result.code == 2 and "say why in a sentence, not '.'" in result.error
