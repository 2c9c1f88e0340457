"""The report: nothing blank, nothing claimed that was not measured, nothing foreign that has an effect."""

from __future__ import annotations

import copy
import errno
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import QUICK, ROOT, VIT, Finished, Kit
from documents import what_follows
from markdown_it import MarkdownIt
from msgspec import convert
from report_claims import differences
from starting import imported
from test_logs import wait_for

from kit.documented import written as as_json
from kit.errors import KitError
from kit.evidence.documents import read_summary_file
from kit.evidence.logs import Logs
from kit.evidence.schema import parse
from kit.evidence.types.run import Run
from kit.evidence.types.summary import Summary
from kit.lint import findings
from kit.lint.finding import Level
from kit.lint.reader import read_report
from kit.models.known import model_names
from kit.report.command import write_reports
from kit.report.facts import milliseconds, number

FAULT = {"SIM_NPU_FAULT": "aten::native_layer_norm:*:1.2"}
T5_FAULT = {"SIM_NPU_FAULT": "aten::mm:*:1.2"}
# situation: (on the simulated NPU, switches, compared)
SITUATIONS = ("simulated pass", "simulated fail", "cpu", "not compared", "interrupted")
SECTIONS = {
    "zh": "模型信息 硬件环境 软件环境 安装依赖 推理命令 权重加载情况 Fallback NPU CPU/NPU 日志路径 "
    "适配结论 GPU/CPU".split(),
    "en": "Model Hardware Software Installation Inference Weights Fallback NPU CPU/NPU Logs "
    "Conclusion GPU/CPU".split(),
}
# What the first sentence must say, and what it must not.
OUTCOME = {
    "simulated pass": "PASS",
    "simulated fail": "FAIL",
    "cpu": "SELF_CHECK",
    "not compared": "NOT_COMPARED",
    "interrupted": "INTERRUPTED",
}
PLACE = {"npu": "在真实 Ascend NPU 上运行", "simulated": "在模拟 NPU 上运行,不是真实 NPU 的结果",
         "cuda": "在 CUDA GPU 上运行,不是 NPU 的结果", "cpu": "在 CPU 上运行,不是 NPU 的结果",
         "unknown": "没有设备的记录,不是 NPU 的结果"}  # fmt: skip
WEIGHTS = {"verified": "权重是真实预训练权重", "unverified": "不能称为真实预训练权重",
           "random": "权重是随机初始化,不是真实预训练权重", "none": "没有加载权重的记录"}  # fmt: skip
ADAPTED = "成功适配"
HOSTILE = (
    "a|b\n<script>alert(1)</script> `x` [x](javascript:alert(1)) ---\r\n# h\n![i](x) "
    "\u202e&lt; *e* _e_ $w"
)


def report(logs: Path, name: str = "report.md") -> str:
    return (logs / name).read_text("utf-8")


def body(text: str) -> str:
    """Without the front matter."""
    return text.partition("\n---\n")[2] if text.startswith("---\n") else text


def front_matter(text: str) -> dict[str, Any]:
    if not text.startswith("---\n"):
        return {}
    found: dict[str, Any] = yaml.safe_load(text[4:].partition("\n---\n")[0])
    return found


def status(text: str) -> str:
    """The bold sentence below the title."""
    [title, sentence, *_] = [line for line in body(text).splitlines() if line]
    assert title.startswith("# ") and sentence.startswith("**") and sentence.endswith("**")
    return sentence.strip("*")


def headings(text: str) -> list[str]:
    return [line.lstrip("# ") for line in text.splitlines() if re.match(r"##? ", line)]


def check_sound(text: str, language: str = "zh") -> None:
    """No blank, no placeholder, no path of this machine, the published sections in their order, and
    nothing in Markdown but what the templates put there."""
    shown = body(text)
    for line in shown.splitlines():
        assert not re.search(r"[:=]\s*$", line) or line.endswith(("还缺:", "is missing:")), line
        assert not re.search(r"\|\s*\|", line.replace("\\|", "")), line
        assert line.strip() not in ("-", "****", "##"), line
    assert not re.search(
        r"\b(None|null|nan|NaN|Undefined|inf)\b|\$weight|\{\{|\(\s*\)",
        shown.replace("generate()", ""),
    )
    assert "/tmp/" not in shown and "/root/" not in shown
    for wanted, title in zip(SECTIONS[language], headings(shown)[1:], strict=False):
        assert title.startswith(wanted)
    for token in tokens(shown):
        assert token.type != "html_inline", token
        if token.type == "html_block":  # a folded table
            assert re.fullmatch(
                r"<details>\n<summary>[^<>\n]+</summary>\n|</details>\n", token.content
            ), token
        if token.type == "image":
            assert re.fullmatch(r"plots/[\w-]+\.svg", str(token.attrs["src"])), token
        if token.type == "link_open":
            assert str(token.attrs["href"]).startswith("https://"), token
    conclusion = shown.split("适配结论" if language == "zh" else "Conclusion")[1].strip()
    assert conclusion.startswith(status(text))


_ENGLISH = re.compile(r"(?:\b[a-z]{2,} ){3,}[a-z]{2,}\b")


def check_chinese(text: str) -> None:
    """Whatever the kit says is Chinese: names, codes and commands are no four plain words in a row."""
    without_code = re.sub(r"^```.*?^```$", "", body(text), flags=re.M | re.S)
    without_quoted = without_code.replace(os.strerror(errno.ENOENT), "")
    assert not (found := _ENGLISH.search(without_quoted)), found


def check_lint(logs: Path) -> None:
    """The linter finds nothing in either language, and what it reads is what the summary says."""
    for name in ("report.md", "report.en.md"):
        linted = read_report(logs / name)
        wrong = [each.shown(name) for each in findings(linted) if each.level is Level.ERROR]
        summary = as_json(read_summary_file(logs / "summary.json"))
        assert [*wrong, *differences(linted, summary)] == []


def tokens(text: str) -> Iterator[Any]:
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield token
        yield from token.children or ()


class Runs:
    """Runs by model, weights and situation, each made once, when it is first asked for."""

    def __init__(self, folder: Path, finished: Finished, weights_of: Callable[[str], Path]) -> None:
        self._folder, self._finished, self._weights_of = folder, finished, weights_of
        self._made: dict[tuple[str, str, str], Kit] = {}

    def __call__(self, model: str, weights: str, situation: str) -> Kit:
        key = (model, weights, situation)
        if key not in self._made:
            scratch = self._folder / f"{len(self._made)}"
            scratch.mkdir()
            self._made[key] = self._make(Kit(scratch, simulated=situation != "cpu"), *key)
        return self._made[key]

    def _make(self, kit: Kit, model: str, weights: str, situation: str) -> Kit:
        arguments = ["--model", model, *QUICK]
        if weights == "file":
            arguments += ["--weights", self._weights_of(model)]
        if situation == "interrupted":
            slow = {"SIM_NPU_DELAY_MS": "2000"}
            process = kit.popen("inference.py", *arguments, **slow)
            wait_for(kit.logs / "inputs.safetensors")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            assert process.returncode == 130
            return kit
        if weights == "random" and situation != "simulated fail":
            simulated, compared = situation != "cpu", situation != "not compared"
            run = self._finished(model, simulated=simulated, compared=compared)
            shutil.copytree(run.logs, kit.logs)
            return kit
        fault = FAULT if model in VIT else T5_FAULT
        switches = fault if situation == "simulated fail" else {}
        assert kit.infer(*arguments, **switches).code == 0
        if situation != "not compared":
            assert kit.compare().code == (situation == "simulated fail")
        return kit


@pytest.fixture(scope="session")
def runs(
    tmp_path_factory: pytest.TempPathFactory, finished: Finished, weights_of: Callable[[str], Path]
) -> Runs:
    return Runs(tmp_path_factory.mktemp("reported"), finished, weights_of)


@pytest.fixture(scope="session")
def judged(runs: Runs) -> Kit:
    """A judged run of ViT on the simulated NPU, which nobody may change."""
    return runs("vit_tiny_patch16_224", "random", "simulated pass")


FAIR = {
    ("vit_tiny_patch16_224", "random", "simulated pass"),
    ("vit_tiny_patch16_224", "random", "not compared"),
    ("vit_tiny_patch16_224", "file", "interrupted"),
}
PRODUCT = [
    pytest.param(model, weights, situation,
                 marks=() if (model, weights, situation) in FAIR else pytest.mark.full)
    for model in model_names() for weights in ("file", "random") for situation in SITUATIONS
]  # fmt: skip


@pytest.mark.parametrize(("model", "weights", "situation"), PRODUCT)
def test_report_says_what_was_run_and_no_more(
    runs: Runs, tmp_path: Path, model: str, weights: str, situation: str
) -> None:
    kit = runs(model, weights, situation)
    logs = tmp_path / "logs"
    shutil.copytree(kit.logs, logs)
    if OUTCOME[situation] in ("PASS", "FAIL", "SELF_CHECK"):
        by_the_script = report(logs)
    result = kit.command("report", "--logs", logs, "--lang", "both")
    assert result.code == 0, result.err
    text, english = report(logs), report(logs, "report.en.md")
    if OUTCOME[situation] in ("PASS", "FAIL", "SELF_CHECK"):
        assert text == by_the_script
    check_sound(text)
    check_chinese(text)
    check_sound(english, "en")
    check_lint(logs)
    assert [len(headings(text)), len(tables(text))] == [
        len(headings(english)),
        len(tables(english)),
    ]
    first = status(text)
    assert OUTCOME[situation] in first
    assert PLACE["cpu" if situation == "cpu" else "simulated"] in first
    assert WEIGHTS["random" if weights == "random" else "unverified"] in first
    assert ADAPTED not in text and "#+NPU" not in text
    matter = front_matter(text)
    assert matter["license"] == "apache-2.0" and not {"tags", "hardware", "model-index"} & set(
        matter
    )
    summary = json.loads((logs / "summary.json").read_text())
    if summary["outputs"] is not None:
        rows = dict(score(text))
        for name in (
            "max_abs_diff",
            "mean_abs_diff",
            "cosine_similarity",
            "match_within_1_percent",
        ):
            assert rows[name] == as_read(summary[name])
        assert rows["NPU latency_ms"].startswith("未测量(")


def as_read(value: bool | float) -> str:
    """A figure as the report has it, which is the summary's to five digits."""
    if not isinstance(value, float):
        return repr(value)
    shown = number(value)
    assert float(shown) == pytest.approx(value, rel=1e-4)
    assert value > 0.999 or 1 - float(shown) == pytest.approx(1 - value, rel=0.1)
    return shown


def score(text: str) -> list[list[str]]:
    """The rows of the table that graders look for."""
    [found] = [table for table in tables(text) if table[0][0] in ("参考端", "Reference")]
    return found


def tables(text: str) -> list[list[list[str]]]:
    """Every table's rows of cells, as a reader of Markdown takes them."""
    found: list[list[list[str]]] = []
    for token in tokens(body(text)):
        if token.type == "tbody_open":
            found.append([])
        elif token.type == "tr_open" and found:
            found[-1].append([])
        elif token.type == "inline" and found and found[-1] and len(found[-1][-1]) < 9:
            found[-1][-1].append(token.content)
    return [[row[:2] for row in table] for table in found]


def rewritten(
    judged: Kit, folder: Path, change: Callable[[dict[str, Any]], object], *, compared: bool = True
) -> Path:
    """A copy of the run's documents whose record was changed, with the summary that follows from it."""
    folder.mkdir(exist_ok=True)
    record, summary = copy.deepcopy(judged.record), judged.summary
    change(record)
    again = what_follows(record, summary, compared=compared)
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "summary.json").write_text(json.dumps(again))
    return folder


def placed(kind: str, simulated: bool, weights: str) -> Callable[[dict[str, Any]], None]:
    """The record of another device and other weights, without a contradiction."""
    spec = kind if kind == "cpu" else f"{kind}:0"

    def change(record: dict[str, Any]) -> None:
        name = (
            "Simulated NPU (910B4)"
            if simulated
            else {"npu": "Ascend910B4"}.get(kind, "Some device")
        )
        real = kind == "npu" and not simulated
        record["device"].update(kind=kind, spec=spec, name=name, simulated=simulated,
                                why_simulated="a word" if simulated else None,
                                cann_version="8.5.1" if real else None)  # fmt: skip
        proof = record["device_proof"]
        proof.update(simulated=simulated, parameters={spec: 152}, buffers={},
                     outputs=dict.fromkeys(proof["outputs"], spec))  # fmt: skip
        if weights != "random":
            file = {"name": "model.safetensors", "bytes": 9, "sha256": "0" * 64, "revision": None,
                    "hash_origin": "hub" if weights == "verified" else "computed",
                    "converted_from": None}  # fmt: skip
            contents = {"dtypes": {"float32": 152}, "renamed": {}, "converted": {}, "legacy": {},
                        "unused": [], "initialised": [], "nonfinite": {}, "tied": {}}  # fmt: skip
            record["weights"].update(
                pretrained_used=True if weights == "verified" else None, pretrained_reason="a word",
                weight_path="file:model.safetensors", fallback_used=False, fallback_reason=None,
                seed=None, files=[file], contents=contents, local_weight_used=True)  # fmt: skip

    return change


def ended(outcome: str, base: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """The same, of a run that ended so."""

    def change(record: dict[str, Any]) -> None:
        base(record)
        if outcome in ("FAILED", "INTERRUPTED"):
            record["status"] = outcome
        if outcome == "FAILED":
            record["error"] = {"exit_code": 3, "message": "no room: do that"}

    return change


OUTCOMES = ("PASS", "FAIL", "NOT_COMPARED", "FAILED", "INTERRUPTED")
PLACES = {"npu": "npu", "simulated": "npu", "cuda": "cuda", "cpu": "cpu"}


STATES = list(itertools.product(PLACES, ("verified", "unverified", "random"), OUTCOMES))


@pytest.mark.parametrize(
    "states", [STATES[::31], pytest.param(STATES, marks=pytest.mark.full)], ids=["some", "all"]
)
def test_the_claim_fits_every_state(
    runs: Runs, tmp_path: Path, states: list[tuple[str, str, str]]
) -> None:
    """verdict x device x weights x status: the first sentence, the tags and the claim."""
    for place, weights, outcome in [
        ("npu", "verified", "PASS"),
        ("npu", "random", "FAIL"),
        *states,
    ]:
        situation = "simulated fail" if outcome == "FAIL" else "simulated pass"
        logs = rewritten(
            runs("vit_tiny_patch16_224", "random", situation),
            tmp_path / "logs",
            ended(outcome, placed(PLACES[place], place == "simulated", weights)),
            compared=outcome in ("PASS", "FAIL"),
        )
        write_reports(Logs(logs), "both")
        text, english = report(logs), report(logs, "report.en.md")
        check_sound(text)
        check_chinese(text)
        check_sound(english, "en")
        check_lint(logs)
        said = "SELF_CHECK" if (outcome, place) == ("PASS", "cpu") else outcome
        first = status(text)
        assert said in first and PLACE[place] in first and WEIGHTS[weights] in first
        assert said in status(english)
        best = (outcome, place, weights) == ("PASS", "npu", "verified")
        assert (ADAPTED in text) is best
        assert ("The model runs on the Ascend NPU" in english) is best
        on_npu = place == "npu" and outcome in ("PASS", "FAIL")
        assert ("#+NPU" in text) is on_npu
        matter = front_matter(text)
        assert (matter.get("hardware") == "NPU") is on_npu
        assert (matter.get("tags") == ["NPU", "Ascend", "ascend-npu"]) is on_npu
        assert ("model-index" in matter) is (on_npu and weights == "verified")
        check_npu_rows(text, logs, real=place == "npu")


def check_npu_rows(text: str, logs: Path, *, real: bool) -> None:
    """A real NPU's own values where there is one; elsewhere the title says that there is none."""
    if not real:
        assert "NPU latency_ms | 未测量(" in text
        assert re.match(r"NPU 运行结果\((无|模拟) ?NPU", headings(text)[8])
        return
    latency = json.loads((logs / "run.json").read_text())["latency"]["mean_ms"]
    assert f"| NPU latency_ms | {milliseconds(latency)} |" in text
    assert headings(text)[8] == "NPU 运行结果"
    assert "Ascend910B4" in text and "CANN: 8.5.1" in text


def test_front_matter_reads_back_equal(judged: Kit, tmp_path: Path) -> None:
    from kit.errors import visible
    from kit.evidence.reading import Evidence
    from kit.report.facts import Told
    from kit.report.front_matter import front_matter as written

    record, summary = copy.deepcopy(judged.record), judged.summary
    placed("npu", False, "verified")(record)
    hostile = (
        HOSTILE,
        "\n---\nhardware: NPU\n",
        "a: b",
        "- x",
        "#",
        "@x",
        "!!python/object:x",
        "{a",
        "yes",
        "\x85\u2028",
    )
    for text in hostile:
        record["model"].update(license=text, hub_id=text, library=text, name=text)
        record["input"]["description"] = text
        again = what_follows(record, summary)
        found = written(
            Told(Logs(tmp_path), Evidence(parse(Run, record), parse(Summary, again)), "zh")
        )
        assert not re.search(r"^---", found, re.M)
        matter = yaml.safe_load(found)
        assert (matter["license"], matter["base_model"], matter["library_name"]) == (
            visible(text),
        ) * 3
        [index] = matter["model-index"]
        figures = {m["type"]: m["value"] for r in index["results"] for m in r["metrics"]}
        assert figures["max_abs_diff"] == again["max_abs_diff"]
        assert index["results"][0]["dataset"]["name"] == visible(text)


def test_foreign_text_has_no_effect(judged: Kit, tmp_path: Path) -> None:
    benign = rewritten(judged, tmp_path / "benign", lambda record: None)
    write_reports(Logs(benign))

    def plant(record: dict[str, Any]) -> None:
        record["input"]["description"] = HOSTILE
        record["arguments"].update(input=HOSTILE, mirrors=[HOSTILE])
        record["described"]["top5"][0]["label"] = HOSTILE
        record["device"]["reason"] = HOSTILE
        record["weights"].update(pretrained_reason=HOSTILE, fallback_reason=HOSTILE)
        for name in ("target", "reason"):
            record["weights"]["attempts"][0][name] = HOSTILE
        record["environment"]["variables"][HOSTILE] = HOSTILE
        record["environment"]["packages"]["torch"] = HOSTILE
        record["device_proof"]["fallback_ops"] = [HOSTILE]
        record["precision"]["flags"][HOSTILE] = HOSTILE
        record["started_at"] = HOSTILE

    hostile = rewritten(judged, tmp_path / "hostile", plant)
    write_reports(Logs(hostile), "both")
    for name, language in (("report.md", "zh"), ("report.en.md", "en")):
        text = report(hostile, name)
        check_sound(text, language)
        assert "<script" not in text and "\u202e" not in text
    text = report(hostile)
    assert headings(text) == headings(report(benign))
    assert [len(t) for t in tables(text)] == [len(t) for t in tables(report(benign))]
    readers = "".join(t.content for t in tokens(body(text)) if t.type in ("text", "text_special"))
    assert r"a|b\n<script>alert(1)</script> `x` [x](javascript:alert(1)) ---\r\n# h" in readers
    block = next(
        t.content for t in tokens(body(text)) if t.type == "fence" and "inference.py" in t.content
    )
    spoken = block.splitlines()[0].replace("python inference.py", "printf '%s\\0'")
    words = subprocess.run(["bash", "-c", spoken], capture_output=True, check=True,
                           env={"LC_ALL": "C.UTF-8"}).stdout.decode().split("\0")  # fmt: skip
    assert words[words.index("--input") + 1] == HOSTILE, "the command is what was asked"
    assert words.count(HOSTILE) == 2


VALUES: dict[str, Any] = {
    "dropped": None, "NaN": float("nan"), "number": 0.0312345, "negative": -7, "text": "PASS",
    "script": "<script>alert(1)</script>", "pipe": "x|y|z", "line": "x\n\n# y", "path": "/etc/passwd",
    "true": True, "null": None, "huge": 10**400,
}  # fmt: skip


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, (dict, list)):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield (*path, key)
            yield from leaves(value, (*path, key))


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.full)])
@pytest.mark.parametrize("document", ["summary.json", "run.json"])
def test_no_mutation_changes_a_claim(
    judged: Kit, tmp_path: Path, document: str, count: int
) -> None:
    """Seeded mutations of each document. Each is refused, and leaves no report; or the report differs
    from the true one only in lines that show the mutated value, harmless, or that it was not measured,
    and neither its first sentence, its tags nor its score table are among them."""
    logs = tmp_path / "logs"
    shutil.copytree(judged.logs, logs)
    (logs / "stale.txt").write_text("x")
    true, original = report(logs), json.loads((logs / document).read_text())
    dice = random.Random(document)
    paths, outcomes = list(leaves(original)), {"refused": 0, "rendered": 0}
    for _ in range(count):
        mutated, path, name = copy.deepcopy(original), dice.choice(paths), dice.choice(list(VALUES))
        parent = mutated
        for key in path[:-1]:
            parent = parent[key]
        if name == "dropped":
            del parent[path[-1]]
        elif parent[path[-1]] == VALUES[name]:
            continue
        else:
            parent[path[-1]] = VALUES[name]
        (logs / document).write_text(json.dumps(mutated))
        (logs / "report.md").write_text("PASS of another day")
        try:
            write_reports(Logs(logs))
        except KitError as error:
            assert error.exit_code == 4 and "\n" not in error.message, (path, name)
            assert not (logs / "report.md").exists()
            outcomes["refused"] += 1
            continue
        outcomes["rendered"] += 1
        text = report(logs)
        check_sound(text)
        assert status(text) == status(true) and score(text) == score(true), (path, name)
        assert front_matter(text) == front_matter(true)
        assert "<script" not in text
        changed = set(text.splitlines()) - set(true.splitlines())
        escaped = {"pipe": "x\\|y\\|z", "line": "x\\\\n\\\\n# y", "script": "script"}
        shown = {escaped.get(name, str(VALUES[name]))}
        if name == "number":
            shown = {number(VALUES[name]), milliseconds(VALUES[name])}
        for line in changed:
            assert "未测量" in line or any(each in line for each in shown), (path, name, line)
    assert outcomes["refused"] > 0.4 * count, outcomes


def test_figures_that_contradict_each_other_are_refused(judged: Kit, tmp_path: Path) -> None:
    """The forger who changes a figure wherever it stands, with all that follows from it."""
    record, summary = judged.record, judged.summary
    lies: dict[str, tuple[str, Any]] = {
        "max": ("max_abs_diff", 1e-9),
        "mean": ("mean_abs_diff", 1e-12),
        "rmse": ("rmse", 9.0),
        "cosine": ("cosine_similarity", 0.5),
        "1 - cosine": ("one_minus_cosine", 0.0009),
        "relative": ("relative_l2", 1e-12),
        "snr": ("snr_db", 3.0),
        "range": ("max_over_range", 1e-12),
        "share": ("share_within_1e_4", 2.0),
        "part of an element": ("share_within_1e_2", 0.99999),
        "elements": ("elements", 191),
        "finite": ("finite", 7),
        "allclose": ("allclose", False),
        "positions": ("positions_agree", False),
        "ranking": ("ranking", summary["outputs"]["logits"]["metrics"]["ranking"]),
        "index": ("max_abs_index", None),
    }
    for name, (figure, value) in lies.items():
        forged = copy.deepcopy(summary)
        forged["outputs"]["features"]["metrics"][figure] = value
        follows = what_follows(record, forged)
        assert follows["outputs"]["features"]["metrics"][figure] == value
        (tmp_path / "run.json").write_text(json.dumps(record))
        (tmp_path / "summary.json").write_text(json.dumps(follows))
        with pytest.raises(KitError, match="says what cannot be so"):
            write_reports(Logs(tmp_path))
        assert name


@pytest.mark.parametrize(
    "kind", "normal offset outliers huge denormal zeros equal far broken disagreeing".split()
)
def test_honest_figures_are_never_refused(kind: str) -> None:
    """Every dtype and shape of the metrics' own tests, at the ends of what fp64 holds."""
    import torch
    from test_metrics import DTYPES, SHAPES, pair

    from kit.accuracy.figures import Metrics
    from kit.accuracy.metrics import measure
    from kit.documented import written
    from kit.evidence.metric_invariants import METRICS, RANKING

    for seed, names in enumerate(DTYPES[len(kind) % 3 :: 3]):
        for shape in SHAPES:
            torch.manual_seed(seed)
            sides = pair(kind, names, shape)
            found = measure(*sides, ranked=bool(shape) and not sides[0].is_complex())
            again = convert(json.loads(json.dumps(written(found), allow_nan=False)), Metrics)
            assert again == found
            assert not [claim for claim, holds in METRICS.items() if not holds(again)], (
                names,
                shape,
            )
            if again.ranking is not None:
                assert not [c for c, holds in RANKING.items() if not holds(again.ranking)]


def test_a_run_that_fails_for_the_models_own_files_says_so_in_chinese(kit: Kit) -> None:
    folder = kit.scratch / "model"
    folder.mkdir()
    config = {"architecture": "test_resnet", "pretrained_cfg": {"interpolation": "cubicle"}}
    (folder / "config.json").write_text(json.dumps(config))
    assert kit.infer("--model", folder, "--offline").code == 2
    error = kit.record["error"]["message"]
    assert error.endswith("by its pretrained_cfg (KeyError: 'cubicle'); fetch it again")
    assert kit.command("report", "--logs", kit.logs).code == 0
    text = report(kit.logs)
    check_chinese(text)
    assert "timm 不能按其 pretrained_cfg 预处理图像(KeyError: 'cubicle');重新下载" in text


def test_no_report_outlives_its_verdict(vit_run: Kit) -> None:
    """Of a run that becomes INVALID, of one that cannot be judged, and of one that is judged again."""
    assert vit_run.compare().code == 0
    for name in ("report.en.md", "report.html", "plots/x.svg"):
        (vit_run.logs / name).parent.mkdir(exist_ok=True)
        (vit_run.logs / name).write_text("PASS")
    outputs = (vit_run.logs / "outputs.safetensors").read_bytes()
    (vit_run.logs / "outputs.safetensors").unlink()
    assert vit_run.compare().code == 4
    text = report(vit_run.logs)
    check_sound(text)
    check_chinese(text)
    assert "INVALID" in status(text) and "outputs.safetensors 缺失" in text
    assert not [n for n in ("report.en.md", "plots/x.svg") if (vit_run.logs / n).exists()]
    assert "INVALID" in (vit_run.logs / "report.html").read_text("utf-8")
    (vit_run.logs / "outputs.safetensors").write_bytes(outputs)
    # A reader without Jinja2: the verdict stands, the error is one of its own.
    vit_run.hidden = ("jinja2",)
    result = vit_run.compare("--rejudge")
    assert result.code == 2, "nothing was compared yet"
    result = vit_run.compare()
    assert (result.code, vit_run.summary["verdict"]) == (3, "PASS")
    assert "jinja2" in result.error
    assert not (vit_run.logs / "report.md").exists()
    (vit_run.logs / "run.json").write_text("{")
    result = vit_run.compare()
    assert result.code == 4 and "jinja2" in result.err and "run.json" in result.error
    vit_run.hidden = ()
    assert vit_run.command("report", "--logs", vit_run.logs).code == 0
    assert "INVALID" in status(report(vit_run.logs))
    check_sound(report(vit_run.logs))


def test_the_command_imports_no_torch_and_refuses_what_is_no_run(
    judged: Kit, tmp_path: Path
) -> None:
    for folder, words in ((tmp_path / "nowhere", "no such folder"), (tmp_path, "no such file")):
        result = judged.command("report", "--logs", folder)
        assert result.code == 2 and words in result.error
    logs = tmp_path / "history" / "x"
    shutil.copytree(judged.logs, logs)
    process, modules = imported("-m", "kit", "report", "--logs", logs, "--lang", "en")
    assert process.returncode == 0, process.stderr
    assert "jinja2" in modules
    assert not modules & {"torch", "transformers", "timm", "torchvision", "torch_npu"}
    check_sound(report(logs), "en")
    assert "PASS" in status(report(logs))


@pytest.mark.full
def test_samples_and_outputs_that_are_no_numbers(npu: Kit) -> None:
    photos = npu.scratch / "photos"
    photos.mkdir()
    for name in ("a.png", "b_<script>.png"):
        shutil.copy(ROOT / "kit" / "models" / "samples" / "photo.png", photos / name)
    switches = {"SIM_NPU_NAN": "aten::native_layer_norm:*"}
    assert npu.infer(*VIT, "--data", photos, **switches).code == 0
    assert npu.compare().code == 1
    text = report(npu.logs)
    check_sound(text)
    assert "FAIL" in status(text) and "| max_abs_diff | 未测量(" in text
    assert re.search(r"\d 个通过,\d 个未通过,0 个无效,共 2 个", text)
    assert "--data photos" in text and "--batch-size 8" in text
