"""What both scripts print: one fact a line, a table of the outputs, a last line for other programs."""

from __future__ import annotations

import shlex

from conftest import SMALL, Kit


def result_of(out: str) -> dict[str, str]:
    """The values of the last line, read as a shell would."""
    head, *pairs = shlex.split(out.splitlines()[-1])
    assert head == "RESULT"
    return dict(pair.partition("=")[::2] for pair in pairs)


def test_both_scripts_end_with_a_line_for_programs(npu: Kit) -> None:
    npu.logs = npu.scratch / "of the run"
    run = npu.infer(*SMALL)
    assert result_of(run.out) == {
        "status": "SUCCESS",
        "device": "npu:0",
        "pretrained_used": "false",
        "record": str(npu.logs / "run.json"),
    }
    told = [line for line in run.err.splitlines() if line.startswith("warning: ")]
    first = next(number for number, line in enumerate(told) if "RANDOM WEIGHTS (seed 0)" in line)
    tried = [attempt["source"] for attempt in npu.record["weights"]["attempts"]]
    assert [line.split()[1].rstrip(":") for line in told[first + 1 :][: len(tried)]] == tried
    compared = npu.compare()
    assert result_of(compared.out) == {
        "verdict": "PASS",
        "submission_ready": "false",
        "summary": str(npu.logs / "summary.json"),
    }
    lines = compared.out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.split()[:1] == ["output"])
    table = [line.split()[:2] for line in lines[at + 1 :]]
    assert table[:2] == [["features", "PASS"], ["logits", "PASS"]]
    column = lines[at].index("verdict")
    assert {line[column : column + 4] for line in lines[at + 1 : at + 3]} == {"PASS"}
    assert max(map(len, lines[at : at + 3])) < 100
