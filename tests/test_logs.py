"""The folder logs/: one run at a time, an interrupted one honest, no file half-written."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest
from conftest import SMALL, VIT, Kit, ended
from documents import violation
from starting import start_python


def test_two_runs_into_one_folder(npu: Kit) -> None:
    """The first waits for a device that takes its time; the second must not touch the logs."""
    slow = {"SIM_NPU_DELAY_MS": "1000", "SIM_NPU_DELAY_OP": "aten::convolution"}
    first = npu.popen("inference.py", *SMALL, **slow)
    wait_for(npu.logs / "run.json")
    for script in ("inference.py", "compare_accuracy.py"):
        second = npu.run(script, *(SMALL if script == "inference.py" else ()))
        assert second.code == 3
        assert "in use by another run" in second.error
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert npu.record["status"] == "SUCCESS"
    assert not (npu.logs / "history").exists()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_during_the_passes(judged_run: Kit, signal_number: int) -> None:
    npu = judged_run
    slow = {"SIM_NPU_DELAY_MS": "2000", "SIM_NPU_DELAY_OP": "aten::convolution"}
    process = npu.popen("inference.py", *SMALL, **slow)
    wait_for(npu.logs / "history")
    [earlier] = (npu.logs / "history").iterdir()
    wait_for(earlier / "inputs.safetensors")  # else the other ones are those of the earlier run
    wait_for(npu.logs / "inputs.safetensors")
    process.send_signal(signal_number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err and "Traceback" not in err
    assert (npu.record["status"], npu.summary["status"]) == ("INTERRUPTED", "INTERRUPTED")
    assert npu.summary["verdict"] == "NOT_COMPARED"
    # What was known by then is on record.
    known = {name for name in ("device", "weights", "input", "outputs") if npu.record[name]}
    assert known == {"device", "weights", "input"}
    assert npu.compare().code == 4
    assert npu.summary["verdict"] == "INVALID"
    assert json.loads((earlier / "summary.json").read_text())["verdict"] == "PASS"


# Of SIGINT at random moments, test_start.py has more.
@pytest.mark.parametrize(
    "signal_number", [pytest.param(signal.SIGINT, marks=pytest.mark.full), signal.SIGKILL]
)
def test_ended_at_any_moment(kit: Kit, signal_number: int) -> None:
    """Whenever a run ends, what is in logs/ is whole, fits its schema and claims no verdict."""
    begun = time.monotonic()
    assert kit.infer(*SMALL).code == 0
    seconds = time.monotonic() - begun
    assert kit.compare().code == 0
    moments = random.Random(signal_number)
    for _ in range(2):
        process = kit.popen("inference.py", *SMALL)
        time.sleep(moments.uniform(0, seconds))
        process.send_signal(signal_number)
        process.communicate(timeout=60)
        assert process.returncode in (0, 130, -signal.SIGINT, -signal.SIGKILL)
        assert_whole(kit)
    assert kit.infer(*SMALL).code == 0
    assert not list(kit.logs.glob(".*.tmp"))


def test_comparison_ended_at_any_moment(vit_run: Kit) -> None:
    begun = time.monotonic()
    assert vit_run.compare().code == 0
    seconds = time.monotonic() - begun
    moments = random.Random(5)
    for number in (signal.SIGINT, signal.SIGKILL):
        process = vit_run.popen("compare_accuracy.py")
        time.sleep(moments.uniform(0, seconds))
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode in (0, 130, -signal.SIGINT, -signal.SIGKILL)
        assert_compared(vit_run)
    assert vit_run.compare().code == 0


@pytest.mark.parametrize("kind", ["file", "link that leads nowhere", "link to itself"])
def test_logs_that_are_no_folder(kit: Kit, kind: str) -> None:
    logs = kit.scratch / "taken"
    if kind == "file":
        logs.write_text("a letter")
    else:
        logs.symlink_to("taken" if kind == "link to itself" else "unmounted")
    result = kit.infer(*SMALL, "--logs", logs)
    assert result.code == 2 and result.error.endswith("taken is no folder; name a folder")


def test_full_disk_ends_in_one_line(kit: Kit) -> None:
    """A file size limit of the shell stands for the full disk: writes beyond it fail."""
    limited = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    command = ("-c", limited, "inference.py", *VIT, "--logs", kit.logs)
    result = ended(start_python(*command, env=kit.environment()))
    assert result.code == 3
    assert "cannot write to" in result.error and "--logs" in result.error
    assert kit.summary["status"] == "FAILED"
    assert not list(kit.logs.glob("*.safetensors"))


def test_a_log_that_a_full_disk_cuts_off_fails_nothing_and_prints_nothing(kit: Kit) -> None:
    logging_on = """
import resource, signal, sys
from pathlib import Path
from kit.evidence.logs import claim_logs, log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with claim_logs(Path(sys.argv[1])) as logs:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    with logs.logging_to("run_npu.log"):
        for _ in range(100):
            log.warning("x" * 100)
print("went on")
"""
    result = ended(start_python("-c", logging_on, kit.logs, env=kit.environment()))
    assert (result.code, result.out, result.err) == (0, "went on\n", "")
    assert (kit.logs / "run_npu.log").read_text().count("x" * 100) > 1


@pytest.mark.full
def test_sixty_kills_lose_no_finished_comparison(npu: Kit) -> None:
    """Thirty in a first comparison, thirty in a second one of another outcome."""
    assert npu.infer(*SMALL).code == 0
    moments = random.Random(60)
    begun = time.monotonic()
    assert npu.compare().code == 0
    seconds = time.monotonic() - begun
    for first in (True, False):
        if not first:
            assert npu.compare().code == 0, "the last kill may have left none"
        for _ in range(30):
            if first:
                for path in npu.logs.glob("*"):
                    if path.name in ("summary.json", "charts.json", "reference.safetensors"):
                        path.unlink()
            process = npu.popen("compare_accuracy.py")
            time.sleep(moments.uniform(seconds / 2, seconds))
            process.kill()
            process.communicate(timeout=60)
            if first and not (npu.logs / "summary.json").exists():
                # Nothing was compared yet, or it was decided, and whoever claims the folder finishes it.
                if (code := npu.compare("--rejudge").code) == 2:
                    continue
                assert code == 0
            assert_compared(npu)


def test_a_comparison_that_was_decided_is_put_in_place(vit_run: Kit) -> None:
    """Killed between two of its moves: whoever claims the folder next finishes them."""
    assert vit_run.compare().code == 0
    logs, decided = vit_run.logs, vit_run.logs / ".comparison-decided"
    decided.mkdir()
    kept = ["accuracy_compare.log", "charts.json", "summary.json"]
    kept += ["reference.safetensors", "golden.safetensors"]
    (decided / "names.json").write_text(json.dumps([*kept, "../outside", "run.json"]))
    for name in ("accuracy_compare.log", "charts.json", "run.json"):
        (decided / name).write_text("new")
    (logs / "samples").mkdir()
    (logs / "samples" / "reference-00000.safetensors").write_text("of the one before")
    summary, record = vit_run.summary, vit_run.record
    assert vit_run.command("report", "--logs", logs).code == 0
    assert (logs / "accuracy_compare.log").read_text() == "new"
    assert (vit_run.summary, vit_run.record) == (summary, record), "moved before, and not its own"
    assert not list((logs / "samples").iterdir()) and not decided.exists()


def assert_compared(kit: Kit) -> None:
    """What is there is a finished comparison, and its files fit each other."""
    assert kit.summary["verdict"] == "PASS" and violation("summary", kit.summary) is None
    assert kit.compare("--rejudge").code == 0
    assert kit.command("report", "--logs", kit.logs).code == 0


def assert_whole(kit: Kit) -> None:
    """Files that are there can be read; a verdict of the earlier run stands beside nothing newer."""
    names = {path.name for path in kit.logs.iterdir()}
    if "summary.json" in names:
        assert violation("summary", kit.summary) is None
    if "run.json" in names:
        assert violation("run", kit.record) is None
    if kit.summary["verdict"] != "NOT_COMPARED" if "summary.json" in names else False:
        # Only where the run was ended before it began: the earlier run is still all there.
        assert kit.record["status"] == "SUCCESS"
        assert "accuracy_compare.log" in names


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not appear"
        time.sleep(0.05)
