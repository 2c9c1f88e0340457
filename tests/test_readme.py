"""README.md and docs/: the same in both languages, the options as --help has them, a map that is true."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import models
from kit.__main__ import COMMANDS
from kit.evidence.logs import RUN_FILES
from kit.models.known import model_names
from kit.run.options import RunOptions

ENGLISH = ("README.md", "docs/usage.md", "docs/evidence.md")
CHINESE = ("README.zh-CN.md", "docs/usage.zh-CN.md", "docs/evidence.zh-CN.md")
PAGES = (*ENGLISH, *CHINESE)
FRONT, USAGE = (ENGLISH[0], CHINESE[0]), (ENGLISH[1], CHINESE[1])
SCRIPTS = ("inference.py", "compare_accuracy.py")
FENCED = re.compile(r"^```\n(.*?)^```\n", re.DOTALL | re.MULTILINE)


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[str]:
    return FENCED.findall(text_of(page))


def prose(page: str) -> str:
    return FENCED.sub("", text_of(page))


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row that is no header."""
    header = True
    for line in text.splitlines():
        if not line.startswith("|"):
            header = True
        elif header or line.startswith("|---"):
            header = False
        else:
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def first_cells(page: str) -> list[str]:
    return [cells[0] for cells in rows(prose(page))]


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


@cache
def usage(*command: str) -> str:
    """The usage of a command: its options and operands, without the prose below."""
    process = subprocess.run(
        [sys.executable, *command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200"},
    )
    return process.stdout.partition("\n\n")[0]


def section(page: str, script: str) -> str:
    """What a README says of a script: from its name in bold to that of the next."""
    return prose(page).partition(f"**`{script}`**")[2].partition("**`")[0]


def documented_commands(page: str) -> dict[str, str]:
    return {
        match[1]: cell
        for cell in first_cells(page)
        if (match := re.match(r"`python -m kit (\w[\w-]*)", cell))
    }


@pytest.mark.parametrize(("english", "chinese"), [*zip(ENGLISH, CHINESE, strict=True)])
def test_both_languages_name_the_same_things(english: str, chinese: str) -> None:
    """Commands, options, files, fields and values stand in code spans and in fenced blocks."""
    pair = english, chinese
    spans = [set(re.findall(r"`([^`]+)`", prose(page))) for page in pair]
    assert spans[0] == spans[1]
    assert first_cells(english) == first_cells(chinese)
    links = [re.findall(r"\]\(([^)#]+)\)", prose(page)) for page in pair]
    assert Path(links[0][0]).name == Path(chinese).name
    assert Path(links[1][0]).name == Path(english).name
    here = [sorted(name.replace(".zh-CN", "") for name in found[1:]) for found in links]
    assert here[0] == here[1]
    headings = [re.findall(r"^#+(?= )", prose(page), re.MULTILINE) for page in pair]
    assert headings[0] == headings[1]
    commands = [blocks(page)[: -1 if page in FRONT else None] for page in pair]
    assert commands[0] == commands[1]


def test_the_front_page_is_short() -> None:
    assert all(len(text_of(page).splitlines()) <= 150 for page in FRONT)


def anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#?([^)]*)\)", prose(page)):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.is_file(), target
        if anchor:
            assert anchor in anchors(path.resolve().relative_to(ROOT).as_posix())


@pytest.mark.parametrize("page", USAGE)
@pytest.mark.parametrize("script", SCRIPTS)
def test_option_tables_of_the_scripts_are_their_help(page: str, script: str) -> None:
    cells = [row[0] for row in rows(section(page, script)) if row[0].startswith("`--")]
    documented = options(" ".join(cells))
    assert documented == options(usage(script))
    # No option twice, and what an option takes is called as in --help, choices aside.
    named = [span for cell in cells for span in re.findall(r"`(--[^`]+)`", cell)]
    assert len(named) == len(documented)
    shown = usage(script).replace(" | ", "] [")  # of options that exclude each other
    for span in named:
        option, _, value = span.replace("\\|", "|").partition(" ")
        [taken] = re.findall(rf"(?:\[|\| ){option}(?: (\[\w+\]|[^\] |][^\] ]*))?(?: \||\])", shown)
        assert value == taken.strip("{}").replace(",", "|"), option


@pytest.mark.parametrize("page", USAGE)
def test_every_command_is_there_with_every_option(page: str) -> None:
    documented = documented_commands(page)
    assert set(documented) == set(COMMANDS)
    for name, cell in documented.items():
        shown = usage("-m", "kit", name)
        assert options(cell) == options(shown), name
        for option, value in re.findall(r"\[(--[\w-]+) ([^\]]+)\]", cell.replace("\\|", "|")):
            if "|" in value:
                assert f"{option} {{{value.replace('|', ',')}}}" in shown, (name, option)


@pytest.mark.parametrize("page", USAGE)
def test_the_defaults_are_those_of_the_options(page: str) -> None:
    rows_of = {
        option: row
        for row in map(" | ".join, rows(section(page, "inference.py")))
        for option in options(row)
    }
    seen = 0
    for field in dataclasses.fields(RunOptions):
        if type(field.default) in (int, float):
            seen += 1
            row = rows_of[f"--{field.name.replace('_', '-')}"]
            assert re.search(rf"[( ]{field.default:g}[);]", row), field.name
    assert seen == 4
    assert f"`{models.DEFAULT}`" in rows_of["--model"]


EVIDENCE = ("docs/evidence.md", "docs/evidence.zh-CN.md")


@pytest.mark.parametrize("page", EVIDENCE)
def test_the_files_of_the_logs_are_listed(page: str) -> None:
    listed = {name for cell in first_cells(page) for name in re.findall(r"`([^`]+)`", cell)}
    assert {name.rstrip("/") for name in listed} == set(RUN_FILES)


def fields_of(schema: Any) -> Iterator[str]:
    """The names of all fields and values in a schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
        yield from (value for value in schema.get("enum", ()) if isinstance(value, str))
    for inner in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(inner, dict | list):
            yield from fields_of(inner)


@pytest.mark.parametrize("page", [*EVIDENCE, *USAGE, *FRONT])
def test_fields_that_are_named_are_there(page: str) -> None:
    known = {"*"}
    for path in (ROOT / "kit" / "evidence" / "schemas").iterdir():
        known |= {*fields_of(json.loads(path.read_text("utf-8")))}
    named = set(re.findall(r"`([a-z]+(?:_[a-z0-9]+)+|[a-z_0-9]+(?:\.[a-z_0-9*]+)+)`", prose(page)))
    files = {
        name for name in named if Path(name).suffix in (".json", ".py", ".toml", ".txt", ".md")
    }
    files |= {
        name for name in named if Path(name).suffix[1:] in ("csv", "html", "jsonl", "log", "bin")
    }
    files |= {name for name in named if name.endswith(".safetensors")}
    for name in named - files - {*model_names()}:
        assert set(name.split(".")) <= known, name


@pytest.mark.parametrize("page", USAGE)
def test_the_variables_of_the_environment_are_there(page: str) -> None:
    read = {
        name
        for path in [*ROOT.glob("*.py"), *ROOT.glob("kit/**/*.py")]
        for name in re.findall(r"\bKIT_[A-Z_]+\b", path.read_text("utf-8"))
    }
    assert read and set(re.findall(r"`(KIT_[A-Z_]+)`", prose(page))) == read


@pytest.mark.parametrize("page", USAGE)
def test_exit_codes_are_those_of_the_errors(page: str) -> None:
    from kit.errors import CannotRunError, UntrustedError, UsageError

    listed = {int(cell) for cell in first_cells(page) if cell.isdecimal()}
    errors = {error.exit_code for error in (UsageError, CannotRunError, UntrustedError)}
    assert listed == errors | {0, 1, 130}


def mapped(page: str) -> set[str]:
    """Every path that the map names, folders with a slash at their end."""
    named: set[str] = set()
    folders = [""]
    for line in blocks(page)[-1].splitlines():
        indent = len(line) - len(line.lstrip())
        head, _, words = line.strip().partition("  ")
        if indent < 20:  # else it continues the line above
            del folders[indent // 2 + 1 :]
            for name in head.split(", "):
                named.add(folders[-1] + name)
            if head.endswith("/"):
                folders.append(folders[-1] + head)
        else:
            words = line
        described = re.findall(r"(?:^|[;:, ] *)([\w-]+\.(?:py|txt|toml))(?=[:;,]|$)", words.strip())
        named |= {folders[-1] + name for name in described}
        named |= {folders[-1] + name for name in re.findall(r"; (\w+/)(?=:|$)", words)}
    return {name for name in named if not name.startswith("models/<name>/")}


@pytest.mark.parametrize("page", FRONT)
def test_the_map_names_what_is_there_and_every_file_of_the_kit(page: str) -> None:
    named = mapped(page)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing
    assert mapped(FRONT[0]) == mapped(page)
    for path in (ROOT / "kit").rglob("*"):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and "__pycache__" not in path.parts and path.name != "__init__.py":
            assert name in named or covered_by_folder(Path(name), named), name


def covered_by_folder(path: Path, named: set[str]) -> bool:
    """Whether the map names the file's folder as a whole: none of the files in it by itself."""
    folder = f"{path.parent.as_posix()}/"
    inside = [name for name in named if name.startswith(folder) and not name.endswith("/")]
    return folder in named and not inside
