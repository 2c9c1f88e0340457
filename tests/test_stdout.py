"""stdout is the kit's own: what drivers and libraries print there, from Python or C++, goes to stderr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import SMALL, Kit

# At the import of each of these, as a C++ library and as a Python one print.
CHATTER = """
import os, sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name in ("torch", "safetensors", "msgspec"):
            os.write(1, b"chatter of C++\\n")
            print("chatter of Python")

sys.meta_path.insert(0, Finder())
"""


def test_a_runtime_that_prints_at_import_and_at_the_first_operator(npu: Kit) -> None:
    result = npu.infer(*SMALL, SIM_NPU_STDOUT="1")
    assert result.code == 0
    heads = ["device npu:0", "input ", "arithmetic ", "second run", "latency ", "done: ", "RESULT "]
    assert [
        line.startswith(head) for line, head in zip(result.out.splitlines(), heads, strict=True)
    ]
    for words in ("Warning: ASCEND_HOME_PATH", "C++ library says", "the first operator"):
        assert words in result.err and words not in result.out


@pytest.mark.full  # every test of doctor reads it as one
def test_doctor_prints_one_document(npu: Kit) -> None:
    result = npu.command("doctor", "--json", "--offline", SIM_NPU_STDOUT="1")
    assert json.loads(result.out)["verdict"] == "warning"
    checks = {check["name"]: check["state"] for check in json.loads(result.out)["checks"]}
    assert checks["devices"] == "ok"


def test_judge_and_diff_print_one_document(vit_run: Kit, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(CHATTER)
    outputs = vit_run.logs / "outputs.safetensors"
    commands = (
        ("judge", outputs, outputs, "--json"),
        ("diff", vit_run.logs, vit_run.logs, "--json"),
    )
    for command in commands:
        result = vit_run.command(*command, PYTHONPATH=str(tmp_path))
        assert result.code == 0, result.err
        assert isinstance(json.loads(result.out), dict)
        assert "chatter of C++" in result.err and "chatter of Python" in result.err
