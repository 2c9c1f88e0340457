"""python -m kit lint-report: every defect of the published reports, none in clean ones, each rule."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Kit, Result
from lint_examples import EXAMPLES
from starting import imported

from kit.lint import findings
from kit.lint.finding import Finding
from kit.lint.reader import read_report

PUBLISHED = ROOT / "tests" / "published_reports"
CLEAN = sorted((ROOT / "tests" / "clean_reports").iterdir())

# What a careful reader finds in the two published reports: (rule, the lines it is about).
T5_DEFECTS = [
    ("vague-hardware", {16}),
    ("weights-contradiction", {37, 42, 46, 65, 76, 80, 85}),
    ("two-values", {55, 93}),  # 127.82 ms and 19.76 ms
    ("two-values", {61, 87}),  # max_abs_diff
    ("two-values", {62, 88, 94}),  # mean_abs_diff
    ("no-warmup", {55, 93}),
    ("version-missing", {55}),  # CANN
    ("generate-contradiction", {60, 65, 76}),
    ("no-noise-floor", {61}),
    ("no-precision", {61}),
    ("loose-allclose", {63}),
    ("within-without-basis", {64, 92, 95}),
    ("no-weight-hash", {80, 85}),
    ("unexpanded", {86}),  # $weight
    ("empty-value", {89}),
    ("empty-value", {90}),
    ("empty-value", {91}),
    ("empty-value", {94}),
    ("empty-value", {96}),
    ("absolute-threshold", {97}),
    ("basis-not-stated", {97}),  # cosine, top-1 and top-5, which are blank
]
VIT_DEFECTS = [
    ("head-not-run", {11, 44}),
    ("no-weight-hash", {35, 38, 67, 72}),
    ("machine-path", {37}),
    ("two-values", {45, 80}),  # 5.26 ms and 5.129 ms
    ("no-warmup", {45, 80}),
    ("no-noise-floor", {49}),
    ("no-precision", {49}),
    ("top-k-of-features", {52, 53, 55, 57, 77, 78, 83, 84}),
    ("within-without-basis", {54, 79, 82}),
    ("cosine-threshold", {55, 57, 83}),
    ("absolute-threshold", {55, 57, 83, 84}),
    ("unexpanded", {73}),  # $weight
    ("version-missing", {80}),  # timm
]


def lint(kit: Kit, text: str | bytes, *arguments: object, name: str = "report.md") -> Result:
    path = kit.scratch / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return kit.command("lint-report", path, *arguments)


def found(kit: Kit, text: str | bytes, *arguments: object) -> list[dict[str, Any]]:
    result = lint(kit, text, "--json", *arguments)
    assert result.code in (0, 1), result.err
    findings: list[dict[str, Any]] = json.loads(result.out)["findings"]
    assert result.code == any(each["level"] == "error" for each in findings)
    return findings


@pytest.mark.parametrize(
    ("report", "defects"), [("flan-t5-small", T5_DEFECTS), ("vit-tiny-patch16-224", VIT_DEFECTS)]
)
def test_published_reports(kit: Kit, report: str, defects: list[tuple[str, set[int]]]) -> None:
    text = (PUBLISHED / f"{report}.report.txt").read_bytes()
    here = [(each["rule"], set(each["lines"])) for each in found(kit, text)]
    assert sorted(here, key=str) == sorted(defects, key=str)


def test_each_defect_is_one_line(kit: Kit) -> None:
    result = lint(kit, (PUBLISHED / "vit-tiny-patch16-224.report.txt").read_bytes())
    *lines, last = result.out.splitlines()
    assert result.code == 1 and last.startswith("8 errors, 5 notes in ")
    path = kit.scratch / "report.md"
    numbers = [int(line.removeprefix(f"{path}:").split(":")[0]) for line in lines]
    assert numbers == sorted(numbers)
    [cosine] = [line for line in lines if "[cosine-threshold]" in line]
    assert "14.1%" in cosine and "0.99995" in cosine and "(see also 57, 83)" in cosine
    [warmup] = [line for line in lines if "[no-warmup]" in line]
    assert "] note: " in warmup


FOREIGN_DEFECTS = {
    "bert-base.en.md": (
        "vague-hardware version-missing unexpanded weights-contradiction no-weight-hash two-values "
        "no-noise-floor no-precision out-of-range within-without-basis absolute-threshold no-warmup"
    ),
    "mobileface.en.md": (
        "npu-on-cpu version-mismatch unexpanded unexpanded head-not-run agreement-denied "
        "top-k-of-features no-warmup version-missing out-of-range no-noise-floor no-precision "
        "weights-contradiction no-weight-hash generate-contradiction machine-path"
    ),
    "resnet50.en.md": (
        "no-weight-hash machine-path version-mismatch no-noise-floor absolute-threshold verdict-denied "
        "cosine-threshold agreement-denied within-without-basis wrong-order no-warmup"
    ),
    "sam2-hiera.zh.md": ("machine-path no-noise-floor verdict-denied agreement-denied empty-value"),
    "whisper-tiny.zh.md": (
        "secret no-weight-hash wrong-order no-noise-floor no-precision empty-value verdict-denied "
        "within-without-basis agreement-denied two-values no-warmup cosine-threshold basis-not-stated"
    ),
}


@pytest.mark.parametrize("report", FOREIGN_DEFECTS)
def test_reports_of_other_models(report: str) -> None:
    """English and Chinese, tables, JSON, front matter, bare text: invented, with the defects of others."""
    found_here = findings(read_report(ROOT / "tests" / "foreign_reports" / report))
    assert sorted(each.rule for each in found_here) == sorted(FOREIGN_DEFECTS[report].split())


@pytest.mark.parametrize("report", CLEAN, ids=lambda path: path.name)
def test_clean_reports_are_clean(kit: Kit, report: Path) -> None:
    assert found(kit, report.read_bytes()) == []


def findings_in(folder: Path, text: str) -> list[Finding]:
    path = folder / "report.md"
    path.write_text(text, "utf-8")
    return findings(read_report(path))


@pytest.mark.parametrize(
    ("rule", "bad", "good"), EXAMPLES, ids=lambda value: value.split("\n")[0][:40]
)
def test_each_rule(tmp_path: Path, rule: str, bad: str, good: str) -> None:
    """In this process; the command says the same of a fair sample, and of every rule in .ci/full."""
    assert rule in [finding.rule for finding in findings_in(tmp_path, bad)]
    assert rule not in [finding.rule for finding in findings_in(tmp_path, good)]


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        pytest.param(*example, marks=pytest.mark.full if index % 12 else ())
        for index, example in enumerate(EXAMPLES)
    ],
    ids=lambda value: value.split("\n")[0][:40],
)
def test_the_command_says_the_same(kit: Kit, rule: str, bad: str, good: str) -> None:
    assert rule in [each["rule"] for each in found(kit, bad)]
    assert rule not in [each["rule"] for each in found(kit, good)]


def test_every_rule_has_an_example() -> None:
    """By the names that the rules' own modules give their findings."""
    source = "".join(path.read_text("utf-8") for path in (ROOT / "kit" / "lint").glob("*.py"))
    names = set(re.findall(r'(?:error|note|kind|^ +)\(\s*"([a-z-]+)",', source, re.MULTILINE))
    assert names == {rule for rule, _, _ in EXAMPLES}


def test_a_secret_is_not_repeated(kit: Kit) -> None:
    token = "hf_" + "aB3" * 12
    result = lint(kit, f"export HF_TOKEN={token}\n")
    assert result.code == 1 and "[secret]" in result.out and token not in result.out


def test_control_characters_do_not_reach_the_terminal(kit: Kit) -> None:
    assert (
        "\x1b"
        not in lint(kit, "max_abs_diff: \x1b[31m$weight\x1b[0m\ncosine: \x1b]0;x\x07nan\n").out
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (
            b"<!DOCTYPE html>\n<html lang=zh><body>max_abs_diff: 1e-3</body></html>",
            "is the source of a web page",
        ),
        (bytes(range(256)) * 64, "no UTF-8"),
        (b"max_abs_diff: 0.1\0\n", "NUL"),
        ("max_abs_diff: 0.1\n".encode("utf-16-le"), "NUL"),
        ("最大绝对误差".encode("gbk"), "no UTF-8"),
    ],
)
def test_no_text(kit: Kit, content: bytes, message: str) -> None:
    result = lint(kit, content)
    assert result.code == 2 and message in result.error


def test_no_file(kit: Kit) -> None:
    assert "No such file" in kit.command("lint-report", kit.scratch / "none.md").error
    assert "it is a folder" in kit.command("lint-report", kit.scratch).error
    assert "no regular file" in kit.command("lint-report", "/dev/zero").error
    big = kit.scratch / "big.md"
    with big.open("wb") as file:
        file.truncate(50 * 2**20)
    result = kit.command("lint-report", big)
    assert result.code == 2 and "1 MiB" in result.error


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_other_encodings(kit: Kit, encoding: str) -> None:
    text = "标题\r\n\r\n• 余弦相似度:1.5\r\n"
    [error] = [each for each in found(kit, text.encode(encoding)) if each["level"] == "error"]
    assert (error["rule"], error["lines"]) == ("out-of-range", [3])


def repeated(piece: str, length: int = 4_900) -> str:
    """A line as long as a line may be."""
    return (piece * length)[:length] + "\n"


HOSTILE = {
    "a line of 1 MB": "cosine_similarity=" * 55_000,
    "blanks": (" " * 19_000 + "x\n") * 10,
    "hashes": ("# " + "#" * 19_000 + "x\n") * 10,
    "pipes": ("|" * 19_000 + "\n|" + "-|" * 9_000 + "\n") * 4,
    "dashes": ("-" * 19_000 + "x\n") * 10,
    "digits": ("max_abs_diff: " + "1" * 19_000 + "e" + "9" * 900 + "\n") * 10,
    "names": ("max abs " * 2_000 + "\n") * 12,
    "braces": ("{{" * 5_000 + "${" * 4_000 + "<A_" * 300 + "\n") * 10,
    "blanks, as long as may be": (" " * 4_900 + "x\n") * 40,
    "hashes, as long as may be": ("# " + "#" * 4_900 + "x\n") * 40,
    "pipes, as long as may be": (repeated("|") + repeated("-|")) * 16,
    "digits, as long as may be": repeated("max_abs_diff: " + "1" * 4_000 + "e" + "9" * 800) * 40,
    "names, as long as may be": repeated("max abs ") * 12,
    "braces, as long as may be": repeated("{{${<A_") * 40,
    "slashes, as long as may be": repeated("/home/" + "a/" * 2_400) * 40,
    "brackets, as long as may be": repeated("](`") * 40,
    "elements, as long as may be": repeated("elements > 1% over 1% ") * 40,
    "secrets, as long as may be": repeated("sk-a-bearer hf_:// ") * 40,
    "many claims": "".join(f"- max_abs_diff: 0.{number:05d}\n" for number in range(8_000)),
    "nested points": "".join(" " * number + "- cosine: 0.9\n" for number in range(1, 1_200)),
    "slashes": ("/home/" + "a/" * 9_000 + "\n") * 10,
    "ligatures": ("\ufdfa" * 19_000 + "\n") * 4,
    "brackets": ("](" * 9_000 + "`" * 900 + "\n") * 10,
}


# The longest lines that are read take seconds: two of them, the others in full.
LONG = [name for name in HOSTILE if name.endswith("as long as may be")][2:]


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=pytest.mark.full if each in LONG else ()) for each in HOSTILE],
)
def test_hostile_text_ends(kit: Kit, name: str) -> None:
    """Nothing is quadratic: each of these takes seconds at most, and the bound is that of a hang. A line
    that is too long to be looked through is refused, by its number."""
    path = kit.scratch / "report.md"
    path.write_text(HOSTILE[name], "utf-8")
    process = kit.start("lint-report", path)
    out, err = process.communicate(timeout=60)
    if process.returncode == 2:
        assert "report.md:" in err and "characters; break it" in err
    else:
        assert process.returncode in (0, 1) and "errors" in out, err[:500]
        assert max(map(len, HOSTILE[name].splitlines())) <= 5_000


def test_it_needs_no_torch(kit: Kit) -> None:
    shutil.copy(CLEAN[0], kit.scratch / "report.md")
    report = kit.scratch / "report.md"
    process, modules = imported("-m", "kit", "lint-report", report, env=kit.environment())
    assert process.returncode == 0 and "kit" in modules
    assert not {"torch", "numpy", "transformers", "timm"} & modules
