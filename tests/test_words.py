"""The catalogue of words, and reasons as code and values: in a document, and in both languages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from conftest import ROOT

from kit.documented import Codes, Documented, read, written
from kit.errors import Fault
from kit.words import Reason, catalogue


class Document(Documented, frozen=True, kw_only=True):
    """The least that holds a reason."""

    why: Reason
    others: dict[str, Reason]
    reason_codes: Codes


NESTED = Reason(
    "verdict_why", verdict="FAIL", why=[Reason("output", output="x", why=["a", "b"]), "c"]
)
SAID = Reason.said("what {nobody} foresaw")
WRITTEN: dict[str, Any] = written(Document(why=NESTED, others={"it": SAID}, reason_codes={}))


def fields(text: str) -> list[str]:
    """The names in a text's braces."""
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def test_every_text_is_in_both_languages() -> None:
    for section, texts in catalogue().items():
        if section == "drawn":  # by the English words
            continue
        for key, text in texts.items():
            assert list(text) == ["zh", "en"], key
            assert fields(text["zh"]) == fields(text["en"]), key


def test_chinese_texts_are_chinese() -> None:
    """No four plain English words in a row; a command is one."""
    for section, texts in catalogue().items():
        for key, text in texts.items():
            chinese = text if section == "drawn" else text["zh"]
            without = re.sub(
                r"[{][^}]*[}]|python -m [\w .-]+|pip install [\w ]+|git lfs pull", "", chinese
            )
            assert not re.search(r"(?:\b[a-z]{2,} ){3,}[a-z]{2,}\b", without), key


def test_an_error_keeps_its_reason_when_foreign_text_in_it_is_brought_onto_a_line() -> None:
    found = Fault(Reason("no_image", file="a\nb", said="\x1b[2J  twice"))
    assert found.reason.told("zh") == r"a b:不是可读的图像(\x1b[2J twice)"
    assert found.what == r"a b: not a readable image (\x1b[2J twice)"


def test_the_reference_in_fp64_has_one_name() -> None:
    """The golden, in the code, in the documents and to the reader; `truth` is a field of summary.json."""
    lint = ROOT / "kit" / "lint"  # it reads the words of others
    docs = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "kit" / "words.toml"]
    texts = {path: text for path, text in sources().items() if lint not in path.parents}
    texts |= {path: path.read_text("utf-8") for path in docs}
    for path, text in texts.items():
        others = re.sub(r"[.]truth\b|\btruth[=:]|\"truth\"|\btruth values", "", text)
        assert not re.search(r"\btruths?\b|fp64 golden|真值", others), path


def sources() -> dict[Path, str]:
    """The kit's code."""
    paths = [*ROOT.glob("*.py"), *ROOT.glob("kit/**/*.py"), *ROOT.glob("models/**/*.py")]
    return {path: path.read_text("utf-8") for path in paths}


def reasons() -> Iterator[tuple[ast.Call, str]]:
    """Every call that makes a reason, and where."""
    for path, text in sources().items():
        for node in ast.walk(ast.parse(text)) if "Reason(" in text else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Reason":
                yield node, f"{path.relative_to(ROOT)}:{node.lineno}"


def codes(node: ast.expr, all_codes: set[str]) -> set[str]:
    """The codes that an argument can be: a text, one of two, or a text with a value at its end."""
    if isinstance(node, ast.IfExp):
        return codes(node.body, all_codes) | codes(node.orelse, all_codes)
    if isinstance(node, ast.JoinedStr):
        [head, _] = node.values
        assert isinstance(head, ast.Constant)
        return {code for code in all_codes if code.startswith(head.value)}
    return {node.value} if isinstance(node, ast.Constant) else set()


def test_every_reason_is_in_the_catalogue_with_its_values_and_is_used() -> None:
    texts = catalogue()["reason"]
    # Some codes are told to a function that makes the reason.
    used = {word for text in sources().values() for word in re.findall(r'"(\w+)"', text)}
    for call, where in reasons():
        for code in codes(call.args[0], set(texts)):
            used.add(code)
            named = sorted(keyword.arg or "**" for keyword in call.keywords)
            assert code in texts, f"{where}: {code}"
            assert "**" in named or named == fields(texts[code]["en"]), f"{where}: {code}"
    assert set(texts) == used & set(texts)


def test_a_document_keeps_the_codes_of_its_reasons() -> None:
    assert WRITTEN["why"] == "the verdict is FAIL: x: a, b; c"
    assert set(WRITTEN["reason_codes"]) == {NESTED, "x: a, b"}
    again = read(Document, WRITTEN)
    assert written(again) == WRITTEN
    assert again.why.told("zh") == "判定为 FAIL:x:a,b;c"
    assert again.others["it"].told("zh") == "what {nobody} foresaw"


@pytest.mark.parametrize(
    ("text", "coded"),
    [
        ("simulated", {"code": "simulated", "values": {}}),
        ("the NPU is simulated", {"code": "no such", "values": {}}),
        ("the verdict is PASS", {"code": "verdict", "values": {}}),
        ("the verdict is PASS", {"code": "verdict", "values": {"verdict": "PASS", "more": 1}}),
        ("synchronize", {"code": "early", "values": {"late": "a", "median": "b"}}),
        ("a", {"code": "said", "values": {"text": "a"}}),
        ("x: ", {"code": "of_source", "values": {"source": "x", "why": {}}}),
    ],
)
def test_a_reason_that_says_something_else_than_its_code(text: str, coded: dict[str, Any]) -> None:
    document = {"why": text, "others": {}, "reason_codes": {text: coded}}
    try:
        again = written(read(Document, document))
    except ValueError:
        return
    assert again != document  # which is how a reader of documents refuses it
