"""The record's environment: complete, of both machines, without paths and secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SMALL, Kit

from kit.machine.environment import describe_environment


def test_the_environment_is_complete_and_both_machines_have_theirs(
    npu: Kit, tmp_path: Path
) -> None:
    home = tmp_path / "ascend-toolkit" / "8.5.1"
    home.mkdir(parents=True)
    (home / "ascend_toolkit_install.info").write_text("version=8.5.1\n")
    variables = {
        "ASCEND_HOME_PATH": str(home),
        "TASK_QUEUE_ENABLE": "2",
        "PYTORCH_NPU_ALLOC_CONF": "expandable_segments:True,max_split_size_mb:512",
        "ASCEND_SECRET_TOKEN": "hunter2",
    }
    assert npu.infer(*SMALL, **variables).code == 0
    found = npu.record["environment"]
    assert found["variables"]["ASCEND_HOME_PATH"] == "(a path)"
    assert found["variables"]["TASK_QUEUE_ENABLE"] == "2"
    assert found["variables"]["PYTORCH_NPU_ALLOC_CONF"].endswith("max_split_size_mb:512")
    assert found["cann_version"] == "8.5.1" and found["driver_version"] is None
    assert found["processor"] and found["cores"] >= 1 and found["threads"] == 1
    assert found["interop_threads"] >= 1 and found["deterministic"] is False
    text = (npu.logs / "run.json").read_text()
    assert "hunter2" not in text and str(tmp_path) not in text

    assert npu.compare(TASK_QUEUE_ENABLE="1").code == 0
    reference = npu.summary["reference"]["environment"]
    assert npu.summary["environment"] == found
    assert reference["variables"]["TASK_QUEUE_ENABLE"] == "1"
    assert reference["cann_version"] is None and reference["processor"] == found["processor"]
    assert npu.compare("--rejudge", TASK_QUEUE_ENABLE="0").code == 0
    assert npu.summary["reference"]["environment"] == reference


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0,1", "0,1"),
        ("/home/alice/x", "(a path)"),
        ("../x", "(a path)"),
        ("https://user:secret@host", "(a path)"),
        ("C:\\x", "(not shown)"),
        ("a@b", "(not shown)"),
        ("x" * 500, "(not shown)"),
        ("\x1b[31m", "(not shown)"),
        ("", ""),
    ],
)
def test_a_value_that_is_no_setting_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, value: str, shown: str
) -> None:
    monkeypatch.setenv("TASK_QUEUE_ENABLE", value)
    assert describe_environment().variables["TASK_QUEUE_ENABLE"] == shown
