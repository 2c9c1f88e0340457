"""inference.py --localize: the module calls that are recorded name the same module without the device."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK, ROOT, SMALL, Kit, Result, ended
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from starting import start_python

CALLS = "module_calls.safetensors"
PLANTED = {"SIM_NPU_PLANT": "aten::addmm:6+:row"}
QUICKLY = ("--explain", "off", "--golden", "off")
AWAY = {"PYTHONPATH": ""}  # the simulated NPU is not there
SMALL_T5 = ("--model", str(ROOT / "tests" / "small_t5"), *QUICK)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """A run of SMALL on a device with a wrong operator, whose module calls are recorded."""
    npu = Kit(tmp_path_factory.mktemp("faulty"), simulated=True)
    result = npu.infer(*SMALL, "--localize", **PLANTED)
    assert result.code == 0, result.err
    assert f"26 module calls recorded in {CALLS}" in result.out
    return npu


@pytest.fixture
def elsewhere(faulty: Kit, npu: Kit) -> Kit:
    """The same run, to be compared where there is an NPU, or AWAY from it."""
    shutil.copytree(faulty.logs, npu.logs)
    return npu


def rows(kit: Kit) -> list[dict[str, str]]:
    with (kit.logs / "layers.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_same_module_is_named_without_the_device(elsewhere: Kit) -> None:
    result = elsewhere.compare("--localize", **AWAY)
    assert result.code == 0 and f"its side is read from {CALLS}" in result.out, result.err
    explanation = elsewhere.summary["explanation"]
    bad = explanation["first_bad_module"]
    assert (bad["name"], bad["kind"], bad["call"]) == ("blocks.1.attn.proj", "Linear", 0)
    assert bad["own_relative_l2"] > bad["explained_up_to"]
    assert {"name": "aten::addmm", "shapes": [[48], [17, 48], [48, 48]], "calls": 1} in bad[
        "operators"
    ]
    assert bad["wrong_operator"] is None and bad["reproduction"] is None
    assert "it needs the device of the run" in bad["reproduction_reason"]
    assert explanation["layers"]["recorded"] is True and explanation["unexplained"]
    log = (elsewhere.logs / "accuracy_compare.log").read_text("utf-8")
    assert f"the device's side was read from {CALLS}" in log
    assert "FIRST BAD MODULE blocks.1.attn.proj (Linear" in log
    report = (elsewhere.logs / "report.md").read_text("utf-8")
    assert "blocks.1.attn.proj" in report and CALLS in report
    found = rows(elsewhere)
    assert len(found) == elsewhere.record["module_calls"]["recorded"] == 26
    assert elsewhere.compare("--localize", **PLANTED).code == 0
    assert "recorded" not in elsewhere.summary["explanation"]["layers"]
    assert rows(elsewhere) == found


def test_equal_tensors_are_in_the_file_once(faulty: Kit) -> None:
    path = faulty.logs / CALLS
    told = faulty.record["module_calls"]
    assert told.pop("sha256") == hashlib.sha256(path.read_bytes()).hexdigest()
    assert told == {"recorded": 26, "left_out": 0, "reason": None}
    assert faulty.record["arguments"]["localize"] == 1024
    with safe_open(path, "pt") as file:  # type: ignore[no-untyped-call]
        calls = {(each["module"], each["call"]): each for each in calls_of(file)}
    taken, given = calls["blocks.0.mlp.fc1", 0]["tensors"], calls["blocks.0.norm2", 0]["tensors"]
    assert given[-1] == taken[0]  # what one gives, the next one takes
    tensors = load_file(path)
    contents = {(*each.shape, each.numpy().tobytes()) for each in tensors.values()}
    assert len(contents) == len(tensors)


def calls_of(file: Any) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = json.loads(file.metadata()["calls"])
    return calls


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (flipped, 4, f"{CALLS} has another sha256 than was recorded"),
        pytest.param(cut, 4, "has another sha256", marks=pytest.mark.full),
        pytest.param(pointer, 3, "git lfs pull", marks=pytest.mark.full),
        pytest.param(Path.unlink, 3, f"{CALLS} is not there", marks=pytest.mark.full),
    ],
)
def test_another_file_is_refused(
    elsewhere: Kit, change: Callable[[Path], None], code: int, said: str
) -> None:
    change(elsewhere.logs / CALLS)
    result = elsewhere.compare("--localize", **AWAY)
    assert result.code == code and said in result.error
    assert elsewhere.summary["verdict"] == ("INVALID" if code == 4 else "NOT_COMPARED")


def forge(kit: Kit, change: Callable[[list[dict[str, Any]]], object]) -> Result:
    """Change the list of calls, under a hash that fits, and compare."""
    path = kit.logs / CALLS
    with safe_open(path, "pt") as file:  # type: ignore[no-untyped-call]
        calls = calls_of(file)
    change(calls)
    save_file(load_file(path), path, metadata={"calls": json.dumps(calls)})
    record = kit.record
    record["module_calls"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (kit.logs / "run.json").write_text(json.dumps(record), "utf-8")
    return kit.compare("--localize", *QUICKLY, **AWAY)


@pytest.mark.full
@pytest.mark.parametrize("field", [{"module": "os.system"}, {"tensors": ["99999"]}, {"call": "x"}])
def test_a_forged_list_is_refused(elsewhere: Kit, field: dict[str, Any]) -> None:
    result = forge(elsewhere, lambda calls: calls[3].update(field))
    assert result.code == 4 and f"{CALLS} is missing or damaged" in result.error


@pytest.mark.full
def test_what_does_not_fit_the_model_is_not_checked(elsewhere: Kit) -> None:
    """Another form, one call away, tensors of others, one too few, a call that there is not."""

    def change(calls: list[dict[str, Any]]) -> None:
        [one, two, three, *_] = calls
        one["form"] = "0" * 32
        two["tensors"] = calls[9]["tensors"][:1] * len(two["tensors"])
        three["tensors"] = three["tensors"][1:]
        calls.append(calls.pop(5) | {"call": 7})

    result = forge(elsewhere, change)
    assert result.code == 0, result.err
    why = {(row["module"], row["call"]): row["not_checked"] for row in rows(elsewhere)}
    unchecked = [reason for reason in why.values() if reason]
    assert sum("of another form" in reason for reason in unchecked) >= 2
    assert sum(f"it is not in {CALLS}" in reason for reason in unchecked) >= 1
    assert why[rows(elsewhere)[-1]["module"], "7"] == "the CPU makes no such call"
    assert len(why) == 27
    record = elsewhere.record
    del record["module_calls"]  # then nothing was there to read
    (elsewhere.logs / "run.json").write_text(json.dumps(record), "utf-8")
    result = elsewhere.command("report", "--logs", elsewhere.logs)
    assert result.code == 4 and "only from what the run recorded" in result.error


LIMITED = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_full_disk_costs_the_recording_and_nothing_else(npu: Kit) -> None:
    command = ("-c", LIMITED, ROOT / "inference.py", *SMALL, "--localize", "--logs", npu.logs)
    result = ended(start_python(*command, env=npu.environment()))
    assert result.code == 0, result.err
    told = npu.record["module_calls"]
    assert npu.record["status"] == "SUCCESS" and told["sha256"] is None
    assert told["reason"] == "none was recorded (File too large)"
    assert "warning: module calls: none was recorded (File too large)" in result.err
    assert not list(npu.logs.glob(f"*{CALLS}*"))
    result = npu.compare("--localize", **AWAY)
    assert result.code == 3 and "none was recorded (File too large)" in result.error


@pytest.mark.full
def test_a_decoder_with_a_cache_and_what_its_recording_has_no_room_for(npu: Kit) -> None:
    """1.3 MiB of T5 in 1 MiB: the logits, for one, are left out."""
    planted = {"SIM_NPU_PLANT": "aten::mm:*:tail"}
    result = npu.infer(*SMALL_T5, "--localize", 1, **planted)
    assert result.code == 0, result.err
    told = npu.record["module_calls"]
    assert told["recorded"] == 82 and told["left_out"] == 2
    assert "they do not fit into 1 MiB" in told["reason"] and told["reason"] in result.err
    assert (npu.logs / CALLS).stat().st_size < 1.1 * 2**20
    assert npu.compare("--localize", *QUICKLY, **AWAY).code == 1
    explanation = npu.summary["explanation"]
    assert explanation["first_bad_module"]["name"] == "encoder.block.0.layer.0.SelfAttention.q"
    assert "it needs the device of the run" in explanation["cheapest_cure_reason"]
    left_out = {row["module"] for row in rows(npu) if CALLS in row["not_checked"]}
    assert left_out == {"lm_head", "(model)"}


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_recorded_as_it_is(npu: Kit, dtype: str) -> None:
    assert npu.infer(*SMALL_T5, "--localize", "--dtype", dtype).code == 0
    kinds = {str(each.dtype) for each in load_file(npu.logs / CALLS).values()}
    assert f"torch.{dtype}" in kinds
    npu.compare("--localize", *QUICKLY)
    found = rows(npu)
    npu.compare("--localize", *QUICKLY, **AWAY)
    assert rows(npu) == found and not any(row["not_checked"] for row in found)


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ended_in_the_middle_the_run_stands(npu: Kit, number: int) -> None:
    slow = {"SIM_NPU_DELAY_MS": "3"}
    process = npu.popen("inference.py", *SMALL, "--localize", **slow)
    while not list(npu.logs.glob(f".{CALLS}*")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (130, -number)
    assert npu.record["status"] == "SUCCESS" and "module_calls" not in npu.record
    assert npu.compare(*QUICKLY).code == 0
    assert not list(npu.logs.glob(f"*{CALLS}*"))
    result = npu.compare("--localize", **AWAY)
    assert result.code == 3 and "inference.py --localize" in result.error
