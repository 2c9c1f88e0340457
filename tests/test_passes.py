"""The timed runs: they compute what is judged, they are waited for, and they say no more than they can."""

from __future__ import annotations

import math
import random
import statistics
from itertools import pairwise

import msgspec
import pytest
from conftest import ROOT, SMALL, VIT, Kit, ended
from starting import start_python

from kit.evidence.latency import RUNS_NEEDED, latency_of, median_interval
from kit.evidence.telling import tell_load
from kit.machine.environment import Environment
from kit.machine.processor import idle_cores, usable_cores

# 25 of them in a forward of this ViT; two passes, one warm-up run and two timed ones: 125.
NORM = "aten::native_layer_norm"
THIRD_PASS, LAST_RUN = 11, 21  # of 5 norms a forward


@pytest.mark.parametrize("call", [THIRD_PASS, LAST_RUN], ids=["third pass", "last run"])
def test_a_device_that_breaks_after_the_checked_passes_is_invalid(npu: Kit, call: int) -> None:
    assert npu.infer(*SMALL, SIM_NPU_NAN=f"{NORM}:{call}+").code == 0
    assert npu.record["noise"]["device_repeat"]["logits"]["bit_identical"] is True
    assert npu.record["noise"]["timed_repeat"]["logits"]["nonfinite_agree"] is False
    assert npu.compare().code == 4
    summary = npu.summary
    assert summary["verdict"] == "INVALID" and summary["submission_ready"] is False
    assert "not repeatable" in " ".join(summary["outputs"]["logits"]["reasons"])
    assert summary["latency"] is summary["latency_ms"] is summary["npu_latency_ms"] is None
    assert "the last timed run gives another" in summary["null_reasons"]["latency_ms"]
    # What is not to be believed says nothing of weights either.
    weights = "pretrained_used local_weight_used weight_path fallback_used fallback_reason weights"
    assert [summary[name] for name in weights.split()] == [None] * 6
    assert all("INVALID" in summary["null_reasons"][name] for name in weights.split())


def test_timed_runs_of_other_arithmetic_have_no_latency(npu: Kit) -> None:
    """Near enough for a verdict, and yet not what was judged: the device repeats itself bit by bit."""
    result = npu.infer(*VIT, SIM_NPU_FAULT=f"{NORM}:51+:1.0001")  # of 25 norms a forward
    assert "warning: no latency may be quoted: the last timed run gives another" in result.err
    assert npu.compare().code == 0
    summary = npu.summary
    assert summary["verdict"] == "PASS" and summary["latency_ms"] is None
    assert any("there is no latency" in blocker for blocker in summary["submission_blockers"])
    assert npu.record["latency"]["samples_ms"]
    assert "最后一次计时运行的" in (npu.logs / "report.md").read_text("utf-8")


def test_a_device_with_noise_keeps_its_latency(npu: Kit) -> None:
    """Its timed runs differ from the first by no more than the second does, more or less."""
    assert npu.infer(*VIT, SIM_NPU_NONREPEATABLE="1e-6").code == 0
    noise = npu.record["noise"]
    assert not noise["device_repeat"]["logits"]["bit_identical"]
    assert not noise["timed_repeat"]["logits"]["bit_identical"]
    assert npu.compare().code == 0
    assert npu.summary["latency_ms"] == npu.record["latency"]["mean_ms"]


@pytest.mark.parametrize("call", [6, 25], ids=["second pass", "last operator"])
def test_a_fallback_is_seen_in_every_pass(npu: Kit, call: int) -> None:
    assert npu.infer(*SMALL, SIM_NPU_FALLBACK=f"{NORM}:{call}").code == 0
    assert npu.record["device_proof"]["fallback_ops"] == [NORM]
    assert f"operators fell back to the CPU: {NORM}" in npu.summary["submission_blockers"]


SYNCHRONIZED = """
import torch
from kit.devices import select_device
from kit.run.timing import measure_latency
device = select_device("npu:0")
x = torch.ones(2).to("npu:0")
latency, outputs = measure_latency(
    lambda: {"y": x.exp(), "empty": x[:0]}, device, cold_ms=1.0, warmup=0, iterations=5
)
assert set(outputs) == {"y", "empty"}
print(latency.unsynchronised_ms / latency.p50_ms)
"""


@pytest.mark.parametrize("share", [1.0, 0.6, 0.0])
def test_a_synchronize_that_returns_early_is_seen(npu: Kit, share: float) -> None:
    switches = {"SIM_NPU_DELAY_MS": "100", "SIM_NPU_DELAY_OP": "aten::exp"}
    environment = npu.environment(SIM_NPU_SYNC_SHARE=str(share), **switches)
    done = ended(start_python("-c", SYNCHRONIZED, env=environment))
    assert done.code == 0, done.err
    assert (float(done.out) > 0.1) is (share < 1)


def test_a_latency_that_a_copy_contradicts_is_refused(npu: Kit) -> None:
    """A second of work for the device in every forward, of which synchronize waits for a third."""
    slow = {"SIM_NPU_DELAY_MS": "40", "SIM_NPU_DELAY_OP": NORM, "SIM_NPU_SYNC_SHARE": "0.3"}
    result = npu.infer(*SMALL[:2], "--offline", "--warmup", "0", "--iterations", "1", **slow)
    assert "warning: no latency may be quoted: synchronize returned" in result.err
    summary = npu.summary
    assert summary["latency"] is summary["latency_ms"] is None
    assert summary["null_reasons"]["latency_ms"].startswith("synchronize returned")
    assert any("there is no latency" in blocker for blocker in summary["submission_blockers"])


def test_as_many_runs_as_the_time_allows(kit: Kit) -> None:
    """A forward that takes no time is run 1,000 times."""
    snippet = """
import torch
from kit.devices import select_device
from kit.run.timing import measure_latency
x = {"x": torch.ones(2)}
latency, _ = measure_latency(
    lambda: x, select_device("cpu"), cold_ms=1.0, warmup=1, iterations=None
)
assert latency.iterations == len(latency.samples_ms) == 1000, latency.iterations
assert latency.p90_ms <= latency.p99_ms and latency.null_reasons == {}
"""
    done = ended(start_python("-c", snippet, env=kit.environment()))
    assert done.code == 0, done.err


@pytest.mark.full
def test_no_fewer_than_20_runs_where_none_are_asked_for(kit: Kit) -> None:
    process = start_python(
        ROOT / "inference.py", *SMALL[:2], "--offline", "--logs", kit.logs, env=kit.environment()
    )
    assert ended(process).code == 0
    assert kit.record["arguments"]["iterations"] is None
    latency = kit.record["latency"]
    assert 20 <= latency["iterations"] == len(latency["samples_ms"]) <= 1000
    assert latency["iterations"] == 20 or sum(latency["samples_ms"][:-1]) < 5000
    assert kit.compare().code == 0


def test_a_percentile_needs_two_runs_above_it() -> None:
    """With 99% confidence, by MLPerf's criterion: in whole numbers, 1 - p = 1/10 and 1/100."""
    for name, parts in (("p90_ms", 10), ("p99_ms", 100)):
        fewest = next(
            n
            for n in range(1, 1000)
            if 100 * ((parts - 1) ** n + n * (parts - 1) ** (n - 1)) <= parts**n
        )
        assert RUNS_NEEDED[name] == fewest
        for count, there in ((fewest - 1, False), (fewest, True)):
            latency = latency_of([1.0] * count, cold_ms=1, warmup=0, unsynchronised_ms=0)
            assert (getattr(latency, name) is not None) is there
            assert (name in latency.null_reasons) is not there


def test_the_median_s_interval_is_the_narrowest_that_covers_95_percent() -> None:
    for count in (*range(1, 80), 500, 3000):
        found = median_interval([float(value) for value in range(count)])
        if found is None:
            assert count < 6
            continue
        low, high = map(int, found)
        assert low == count - 1 - high < high

        def covered(rank: int, count: int = count) -> bool:
            """Both tails beyond the rank-th values hold at most 5%, in whole numbers."""
            return 40 * sum(math.comb(count, k) for k in range(rank)) <= 2**count

        assert covered(low + 1) and not covered(low + 2)


def test_the_statistics_are_those_of_the_runs() -> None:
    draw = random.Random(0)
    times = [draw.lognormvariate(3, 0.05) for _ in range(700)]
    latency = latency_of(times, cold_ms=1, warmup=0, unsynchronised_ms=0)
    quarters = statistics.quantiles(times, n=4, method="inclusive")
    hundredths = statistics.quantiles(times, n=100, method="inclusive")
    assert latency.iqr_ms == pytest.approx(quarters[2] - quarters[0])
    assert latency.p90_ms == pytest.approx(hundredths[89])
    assert latency.p99_ms == pytest.approx(hundredths[98])
    parts = (latency.min_ms, latency.p50_low_ms, latency.p50_ms, latency.p50_high_ms)
    assert all(a is not None and b is not None and a < b for a, b in pairwise(parts))


@pytest.mark.parametrize(
    ("times", "spread"),
    [
        ([0.0] * 8, "steady"),
        ([100.0, 101.0] * 10, "steady"),
        ([100.0, 112.0] * 10, "varying"),
        ([100.0, 140.0] * 10, "unstable"),
        ([100.0] * 19 + [9000.0], "steady"),
        ([5.0], "steady"),
    ],
)
def test_runs_that_vary_are_told_apart(times: list[float], spread: str) -> None:
    assert latency_of(times, cold_ms=1, warmup=0, unsynchronised_ms=0).spread == spread


def test_a_report_says_why_a_percentile_is_absent(judged_run: Kit) -> None:
    latency = judged_run.summary["latency"]
    assert latency["p90_ms"] is latency["p99_ms"] is latency["p50_low_ms"] is None
    assert latency["null_reasons"]["p99_ms"] == "2 timed runs, it takes 662"
    for name in ("report.md", "report.html"):
        text = (judged_run.logs / name).read_text("utf-8")
        assert "计时 2 次,需要 64 次" in text and "None" not in text


def test_more_threads_than_idle_cores_are_told(
    vit_run: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    environment = msgspec.convert(vit_run.record["environment"], Environment)
    assert environment.load_average is not None and environment.load_average >= 0
    assert environment.idle_cores is not None and environment.cores is not None
    assert 0 <= environment.idle_cores <= environment.cores
    busy = msgspec.structs.replace(environment, threads=8, idle_cores=0, load_average=61.5)
    for each in (busy, msgspec.structs.replace(busy, idle_cores=8)):
        tell_load(each)
    [told] = caplog.messages
    assert "8 threads, and 0 idle cores before the run (load average 61.50)" in told
    assert told.endswith("OMP_NUM_THREADS=1")


def test_idle_cores_are_whole_and_at_most_those_that_may_be_used() -> None:
    usable = usable_cores()
    assert idle_cores(None) is None
    assert idle_cores(0.4) == usable
    assert idle_cores(1e6) == 0
