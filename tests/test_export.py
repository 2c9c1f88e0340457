"""python -m kit export: one model's repository, complete, the same every time, nothing private in it."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from conftest import QUICK, ROOT, Finished, Kit, Result, ended
from starting import start_python

from kit.errors import UsageError
from kit.models.known import load_adapter
from kit.publish import main as publish
from kit.publish import published_run
from kit.publish.contents import TESTS, is_generated
from kit.publish.privacy import refuse_private, shorten_paths
from kit.publish.published_run import describe_file
from kit.storage.fingerprint import describe_tensors

VIT_NAME, T5_NAME = "vit_tiny_patch16_224", "flan_t5_small"
MODELS = (VIT_NAME, T5_NAME)
Files = dict[str, bytes]


@pytest.fixture(scope="session")
def runs(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Kit]:
    """A judged run of ViT on the simulated NPU, or one of T5 on the CPU."""

    @cache
    def run(name: str) -> Kit:
        kit = Kit(tmp_path_factory.mktemp(name), simulated=name == VIT_NAME)
        made = finished(name, simulated=name == VIT_NAME)
        shutil.copytree(made.logs, kit.logs)
        return kit

    return run


@pytest.fixture(scope="session")
def published(runs: Callable[..., Kit]) -> Callable[..., Path]:
    """A model's repository, only to be read."""

    @cache
    def publish(name: str) -> Path:
        kit = runs(name)
        to = kit.scratch / "published"
        result = kit.command("export", name, "--to", to, "--logs", kit.logs)
        assert result.code == 0, result.err
        return to

    return publish


@pytest.fixture
def vit(published: Callable[..., Path], tmp_path: Path) -> Path:
    """ViT's repository, to be run and changed at will."""
    shutil.copytree(published(VIT_NAME), tmp_path / "vit")
    return tmp_path / "vit"


@pytest.fixture
def checkout(runs: Callable[..., Kit], tmp_path: Path) -> Path:
    """The kit with ViT's run in its logs, to be changed at will."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for path in ROOT.iterdir():
        if path.name in ("kit", "models", "tests", "docs", "installed_torch", "npu_host"):
            generated = shutil.ignore_patterns("__pycache__", ".*_cache")
            shutil.copytree(path, copy / path.name, ignore=generated)
        elif path.is_file() and path.name != ".git":
            shutil.copy(path, copy)
    shutil.copytree(runs(VIT_NAME).logs, copy / "logs")
    return copy


def inside(folder: Path, kit: Kit, *command: object, **extra: str) -> Result:
    """Run Python in a repository, as somebody who cloned it."""
    return ended(
        start_python(*command, env=kit.environment(**extra), cwd=folder, hidden=kit.hidden),
        timeout=1500,
    )


def export(folder: Path, kit: Kit, *arguments: object) -> Result:
    """The export command of a checkout."""
    return inside(folder, kit, "-m", "kit", "export", *arguments)


def tree(folder: Path) -> Files:
    """Every file but those that running Python there leaves."""
    paths = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        name.as_posix(): path.read_bytes()
        for name, path in paths.items()
        if not is_generated(name) and name.name != ".lock"
    }


def check_sums(files: Files) -> None:
    lines = files["SHA256SUMS"].decode().splitlines()
    listed = dict(reversed(line.split("  ", 1)) for line in lines)
    assert listed.keys() == files.keys() - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256(files[name]).hexdigest() == digest, name


@pytest.mark.parametrize("model", [VIT_NAME, pytest.param(T5_NAME, marks=pytest.mark.full)])
def test_a_repository_is_complete_and_has_nothing_else(
    published: Callable[..., Path], runs: Callable[..., Kit], model: str
) -> None:
    files = tree(published(model))
    check_sums(files)
    for script in ("inference.py", "compare_accuracy.py"):
        assert files[script] == (ROOT / script).read_bytes()
    for name in files:
        if name.startswith(("kit/", "installed_torch/", "npu_host/")) or name in TESTS:
            assert files[name] == (ROOT / name).read_bytes()
    assert {f"tests/{name}" for name in TESTS} <= files.keys()
    rooms = {name.split("/")[1] for name in files if name.startswith("kit/")}
    assert rooms >= {"accuracy", "devices", "evidence", "models", "report", "run", "weights"}
    assert not rooms & {"doctor", "lint", "publish"}
    assert {name.split("/")[1] for name in files if name.startswith("models/")} == {
        "__init__.py",
        model,
    }
    [other] = set(MODELS) - {model}
    for name, content in files.items():
        if name.startswith(("models/", "logs/")):
            assert load_adapter(other).info.hub_id.encode() not in content, name
        for private in (ROOT, runs(model).scratch, Path(sys.prefix), Path.home()):
            assert f"{private}/".encode() not in content, name
    evidence = {name.removeprefix("logs/") for name in files if name.startswith("logs/")}
    kept = tree(runs(model).logs).keys() - {".lock", "local_paths.json"}
    assert evidence == kept | {".gitkeep"}
    assert len(files) < 340, len(files)  # the checkout has some 480
    assert sum(map(len, files.values())) < 40_000_000


@pytest.mark.parametrize("model", [VIT_NAME, pytest.param(T5_NAME, marks=pytest.mark.full)])
@pytest.mark.full
def test_the_same_bytes_again(
    published: Callable[..., Path], runs: Callable[..., Kit], tmp_path: Path, model: str
) -> None:
    kit, first = runs(model), tree(published(model))
    again, archive = tmp_path / "again", tmp_path / "again.zip"
    command = ("export", model, "--to", again, "--logs", kit.logs, "--zip")
    assert kit.command(*command).code == 0
    assert tree(again) == first
    packed = archive.read_bytes()
    with zipfile.ZipFile(archive) as file:
        unpacked = {name.partition("/")[2]: file.read(name) for name in file.namelist()}
        assert {name.partition("/")[0] for name in file.namelist()} == {model}
    assert unpacked == first
    # It is an earlier export now, and may be replaced.
    assert kit.command(*command).code == 0
    assert tree(again) == first and archive.read_bytes() == packed
    assert not list(tmp_path.glob(".*"))


def test_git_takes_every_file_of_a_repository(vit: Path) -> None:
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=vit, check=True)
    listed = subprocess.run(
        ["git", "ls-files"], cwd=vit, check=True, capture_output=True, text=True
    )
    assert set(listed.stdout.split()) == {n for n in tree(vit) if not n.startswith(".git/")}


def test_a_repository_runs_its_only_model(vit: Path, npu: Kit) -> None:
    earlier = (vit / "logs" / "run.json").read_bytes()
    assert inside(vit, npu, "compare_accuracy.py", "--rejudge").code == 0
    result = inside(vit, npu, "inference.py", *QUICK)
    assert result.code == 0, result.err
    assert inside(vit, npu, "compare_accuracy.py", "--golden", "off").code == 0
    assert json.loads((vit / "logs" / "summary.json").read_text())["verdict"] == "PASS"
    [kept] = (vit / "logs" / "history").iterdir()
    assert (kept / "run.json").read_bytes() == earlier


def test_hashes_hold_after_git_has_rewritten_line_ends(vit: Path, tmp_path: Path) -> None:
    """Committed and cloned with core.autocrlf, as on Windows."""
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "core.autocrlf=true")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run(["git", *author, *command], cwd=vit, check=True, capture_output=True)
    clone = tmp_path / "clone"
    subprocess.run(["git", *author, "clone", "-q", str(vit), str(clone)], check=True)
    check_sums({n: content for n, content in tree(clone).items() if not n.startswith(".git/")})


def test_the_kit_itself_is_kept_as_it_is() -> None:
    """Its own scripts, records and images: what an export compares byte for byte."""
    assert "* -text" in (ROOT / ".gitattributes").read_text("utf-8").splitlines()


@pytest.mark.parametrize("model", [VIT_NAME, pytest.param(T5_NAME, marks=pytest.mark.full)])
def test_the_pages_of_a_repository_name_only_what_is_there(
    published: Callable[..., Path], kit: Kit, model: str
) -> None:
    files = tree(published(model))
    [other] = set(MODELS) - {model}
    pages = {name: text.decode() for name, text in files.items() if name.endswith(".md")}
    assert {"README.md", "KIT.md", "docs/usage.md", "docs/evidence.md"} <= pages.keys()
    named = {found for text in pages.values() for found in re.findall(r"-m kit ([\w-]+)", text)}
    assert "fetch" in named
    for command in named:
        assert inside(published(model), kit, "-m", "kit", command, "--help").code == 0, command
    for name, text in pages.items():
        assert other not in text, name
        for target, anchor in re.findall(r"\]\(([^)\s#:]*)(#[^)\s]*)?\)", text):
            place = posixpath.normpath(posixpath.join(posixpath.dirname(name), target or "."))
            assert any(f"{each}/".startswith(f"{place}/") for each in files) or not target, target
            there = pages[place if target else name] if anchor else ""
            titles = re.findall(r"^#+ (.+)$", there, re.MULTILINE)
            assert not anchor or anchor[1:] in [each.lower().replace(" ", "-") for each in titles]


def test_a_repository_has_tests_that_can_be_run(vit: Path, kit: Kit) -> None:
    pytest_there = ("-m", "pytest", "-n", "0", "-p", "no:cacheprovider")
    result = inside(vit, kit, *pytest_there, "tests/test_house.py", "tests/test_verdict.py")
    assert result.code == 0, result.out


@pytest.mark.full
@pytest.mark.parametrize("model", MODELS)
def test_all_tests_of_a_repository_pass(
    published: Callable[..., Path], kit: Kit, tmp_path: Path, model: str
) -> None:
    shutil.copytree(published(model), tmp_path / model)
    result = inside(tmp_path / model, kit, "-m", "pytest", "-v")
    assert result.code == 0, result.out
    assert "skipped" not in result.out.splitlines()[-1]
    carried = "test_every_model.py::test_simulated_npu_run_carries_every_field_of_the_report"
    other = VIT_NAME if model == T5_NAME else T5_NAME
    assert f"{carried}[{model}]" in result.out and f"[{other}]" not in result.out


@pytest.mark.parametrize("model", [VIT_NAME, pytest.param(T5_NAME, marks=pytest.mark.full)])
def test_the_report_is_the_front_page(
    published: Callable[..., Path], runs: Callable[..., Kit], model: str
) -> None:
    files = tree(published(model))
    report = files["logs/report.md"].decode()
    assert "](plots/" in report
    assert files["README.md"].decode() == report.replace("](plots/", "](logs/plots/")
    assert files["logs/report.md"] == (runs(model).logs / "report.md").read_bytes()


def test_a_report_that_somebody_improved_is_not_published(
    published: Callable[..., Path], checkout: Path, kit: Kit
) -> None:
    """And one that is missing is written."""
    report = (checkout / "logs" / "report.md").read_text("utf-8")
    assert "SELF_CHECK" not in report and "PASS" in report
    (checkout / "logs" / "report.md").write_text(report.replace("PASS", "SELF_CHECK"))
    result = export(checkout, kit, VIT_NAME, "--to", kit.scratch / "out")
    assert result.code == 4 and "is not what the evidence says" in result.error
    (checkout / "logs" / "report.md").unlink()
    assert export(checkout, kit, VIT_NAME, "--to", kit.scratch / "out").code == 0
    own = (published(VIT_NAME) / "README.md").read_bytes()
    assert (kit.scratch / "out" / "README.md").read_bytes() == own


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("accuracy_compare.log", "verdict PASS on Ascend910B4"),
        pytest.param(
            "pretrained_attempt.log",
            "RESULT: hub:model.safetensors (published)",
            marks=pytest.mark.full,
        ),
    ],
)
def test_a_log_that_somebody_improved_is_not_published(
    checkout: Path, kit: Kit, name: str, said: str
) -> None:
    log = checkout / "logs" / name
    log.write_text(f"{log.read_text('utf-8')}{said}\n")
    result = export(checkout, kit, VIT_NAME, "--to", kit.scratch / "out")
    assert result.code == 4 and f"{name} is not what the evidence says" in result.error


def test_without_a_run_the_front_page_claims_nothing(kit: Kit) -> None:
    (kit.scratch / "empty").mkdir()
    to = kit.scratch / "out"
    result = kit.command("export", VIT_NAME, "--to", to, "--logs", kit.scratch / "empty")
    assert result.code == 0 and "no run" in result.out
    assert "**Nothing has been run yet**" in (to / "README.md").read_text()
    assert [path.name for path in (to / "logs").iterdir()] == [".gitkeep"]
    assert not list((kit.scratch / "empty").iterdir())


def test_what_does_not_belong_stays_behind(
    published: Callable[..., Path], checkout: Path, kit: Kit
) -> None:
    expected = tree(published(VIT_NAME))
    for name in (
        f"models/{VIT_NAME}/model.safetensors",
        f"models/{VIT_NAME}/pytorch_model.bin",
        "kit/weights.pt",
        "kit/report/templates/draft.bin",
        f"models/{VIT_NAME}/a\nb.json",
        f"models/{VIT_NAME}/caf\u00e9.json",
        "logs/plots/foreign.svg",
        "logs/notes.log",
        "model.safetensors",
        "logs/weights.safetensors",
        "logs/history/20260101T000000Z-x/run.json",
        "logs/samples/device-00000.safetensors",
        "logs/module_calls.safetensors",
        "notes.txt",
        "models/another/adapter.py",
    ):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes(b"\0" * 100)
    (checkout / "logs" / "local_paths.json").write_text(
        '{"weights": "/home/alice/model.safetensors"}'
    )
    (checkout / "kit" / "link.json").symlink_to("/etc/hostname")
    os.mkfifo(checkout / "models" / VIT_NAME / "pipe.json")
    (checkout / "models" / VIT_NAME / "tokenizer.json").write_bytes(b" " * 6_000_000)
    result = export(checkout, kit, VIT_NAME, "--to", kit.scratch / "out")
    assert result.code == 0, result.err
    assert tree(kit.scratch / "out") == expected
    for name in ("model.safetensors", "pytorch_model.bin", "tokenizer.json"):
        assert f"left out: models/{VIT_NAME}/{name}" in result.out
    assert "left out: kit/link.json" in result.out and "left out: kit/weights.pt" in result.out
    assert "b.json" in result.out and "\nb.json" not in result.out


@pytest.mark.full
def test_large_tensors_are_left_out_and_named(
    runs: Callable[..., Kit], kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit that the run's inputs are over."""
    monkeypatch.setattr(published_run, "LARGEST_TENSORS", 100_000)
    shutil.copytree(runs(VIT_NAME).logs, kit.logs)
    record = kit.record
    record["arguments"]["localize"] = 1024
    calls = {"sha256": "0" * 64, "recorded": 9, "left_out": 0, "reason": None}
    (kit.logs / "run.json").write_text(json.dumps(record | {"module_calls": calls}))
    assert publish([VIT_NAME, "--to", str(kit.scratch / "out"), "--logs", str(kit.logs)]) == 0
    files = tree(kit.scratch / "out")
    assert "logs/inputs.safetensors" not in files
    assert b"- logs/module_calls.safetensors (what every module call" in files["README.md"]
    assert b"## Not in this repository" in files["README.md"]
    assert b"- logs/inputs.safetensors (over 0 MB" in files["README.md"]


@pytest.mark.parametrize(
    "dtype",
    "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool float8_e4m3fn float8_e5m2 "
    "complex64".split(),
)
def test_tensors_of_every_type_are_those_of_the_record(dtype: str) -> None:
    """The bytes of a file, read without torch, and the record, which torch wrote."""
    import torch
    from safetensors.torch import save

    tensors = {"output": torch.zeros(2, 3).to(getattr(torch, dtype))}
    assert describe_file("x.safetensors", save(tensors)) == describe_tensors(tensors)


def a_link(path: Path, private: Path) -> None:
    path.symlink_to(private)


def a_hard_link(path: Path, private: Path) -> None:
    path.hardlink_to(private)


def a_pipe(path: Path, private: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path, private: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    "name",
    [
        *("outputs.safetensors", "report.md"),
        *(
            pytest.param(name, marks=pytest.mark.full)
            for name in (
                *(
                    "run_npu.log",
                    "run.json",
                    "summary.json",
                    "charts.json",
                    "samples.jsonl",
                    "report.en.md",
                    ".lock",
                ),
                *("accuracy_compare.log", "pretrained_attempt.log", "golden.safetensors"),
            )
        ),
    ],
)
def test_no_link_is_followed_out_of_the_logs(
    runs: Callable[..., Kit], kit: Kit, tmp_path: Path, name: str
) -> None:
    """Symbolic and hard ones to a private file; a pipe, which nothing may wait for; a folder."""
    for place in (a_link, a_hard_link, a_pipe, a_folder):
        logs, private = tmp_path / f"logs_{place.__name__}", tmp_path / f"private_{place.__name__}"
        shutil.copytree(runs(VIT_NAME).logs, logs)
        private.write_text("the diary of alice")
        (logs / name).unlink(missing_ok=True)
        place(logs / name, private)
        result = kit.command("export", VIT_NAME, "--to", kit.scratch / "out", "--logs", logs)
        assert result.code == 4 and f"{name} is a link" in result.error
        assert not (kit.scratch / "out").exists()
        assert private.read_text() == "the diary of alice"


def test_pages_and_plots_are_drawn_afresh(
    published: Callable[..., Path], runs: Callable[..., Kit], tmp_path: Path
) -> None:
    """What lies under their names is never published: a chart with a script, links to private files."""
    logs, private = tmp_path / "logs", tmp_path / "private.svg"
    shutil.copytree(runs(VIT_NAME).logs, logs)
    private.write_text("the diary of alice")
    [chart, other, *_] = sorted((logs / "plots").glob("*.svg"))
    chart.write_text("<svg><script>alert(1)</script></svg>")
    other.unlink()
    other.symlink_to(private)
    (logs / "plots" / "foreign.svg").write_text("<svg><script>alert(2)</script></svg>")
    (logs / "plots" / "a\nb.svg").write_text("<svg/>")
    (logs / "report.html").unlink()
    (logs / "report.html").symlink_to(private)
    before = tree(logs)
    to = tmp_path / "out"
    result = runs(VIT_NAME).command("export", VIT_NAME, "--to", to, "--logs", logs)
    assert result.code == 0, result.err
    assert tree(to) == tree(published(VIT_NAME))
    assert tree(logs) == before  # an export changes nothing in the run


def test_foreign_text_under_a_name_of_the_kit(
    runs: Callable[..., Kit], kit: Kit, tmp_path: Path
) -> None:
    """Charts that are none end the export; samples of a run that had none stay behind."""
    logs = tmp_path / "logs"
    shutil.copytree(runs(VIT_NAME).logs, logs)
    to = ("--to", kit.scratch / "out", "--logs", logs)
    (logs / "samples.jsonl").write_text('{"diary": "of alice"}\n')
    assert kit.command("export", VIT_NAME, *to).code == 0
    assert not (kit.scratch / "out" / "logs" / "samples.jsonl").exists()
    (logs / "charts.json").write_text('{"diary": "of alice"}\n')
    result = kit.command("export", VIT_NAME, *to)
    assert result.code == 4 and "charts.json" in result.error


def test_pointers_of_git_lfs_are_not_published(checkout: Path, kit: Kit) -> None:
    """A clone without Git LFS has them in the place of tensors and of photographs."""
    for name, code in (("logs/outputs.safetensors", 4), ("kit/models/samples/photo.png", 3)):
        plain = (checkout / name).read_bytes()
        (checkout / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
        result = export(checkout, kit, VIT_NAME, "--to", kit.scratch / "out")
        assert result.code == code and "run git lfs pull" in result.error
        (checkout / name).write_bytes(plain)


TOKEN = "hf_" + "aB3" * 11
PRIVATE = {
    "notes.txt": (f"export HF_TOKEN={TOKEN}", "line 2 holds a Hugging Face token"),
    "a.log": ("Authorization: Bearer abc.def-123", "line 2 holds an Authorization header"),
    "h.log": ("curl -H 'x: bearer " + "abc123" * 5 + "'", "line 2 holds a bearer token"),
    "i.txt": ("API_KEY=sk-" + "a1B2" * 8, "line 2 holds an API key"),
    "k.txt": ("sk-ant-api03-" + "a1B2" * 8, "line 2 holds an API key"),
    "j.txt": ("sk-proj-" + "a1B2" * 8, "line 2 holds an API key"),
    "b.html": ("<a href='https://me:" + "s3cret@host/x'>", "a password in an address"),
    "key.txt": ("-----BEGIN OPENSSH " + "PRIVATE KEY-----", "a private key"),
    "c.md": ("see /" + "data/alice/x", "line 2 holds an absolute path"),
    "d.txt": ("at C:" + "\\Users\\alice\\x", "line 2 holds an absolute path"),
    "e.txt": ("in /" + "home/alice", "line 2 holds an absolute path"),
    "f.json": ('{"a": [{"b": "\\/data\\/alice"}]}', "a[0].b holds an absolute path"),
    "g.jsonl": ('{"a": "hf\\u005f' + "x" * 20 + '"}', "line 2, a holds a Hugging Face token"),
}


@pytest.mark.parametrize("name", PRIVATE)
def test_private_lines_are_found(name: str) -> None:
    line, said = PRIVATE[name]
    first = "{}" if name.endswith(".jsonl") else ""
    refuse_private({"ok.txt": b"https://host/a/b 1/2/3 ~/x .../y /usr/lib/x", "photo.png": b"\xff"})
    with pytest.raises(UsageError) as error:
        refuse_private({name: f"{first}\n{line}\n".encode()})
    assert error.value.message.startswith(name) and said in error.value.message
    assert TOKEN not in error.value.message


def test_secrets_end_the_export(checkout: Path, kit: Kit) -> None:
    log = checkout / "logs" / "run_npu.log"
    lines = len(log.read_text().splitlines())
    log.write_text(log.read_text() + f"token {TOKEN}\n")
    result = export(checkout, kit, VIT_NAME, "--to", kit.scratch / "out")
    assert result.code == 2 and f"logs/run_npu.log: line {lines + 1} holds" in result.error
    assert not (kit.scratch / "out").exists() and TOKEN not in result.err


def test_a_path_in_the_record_is_refused(checkout: Path, kit: Kit) -> None:
    said = "image /data/alice/photo.png"
    for name, at, key in (("run", "input", "description"), ("summary", None, "input")):
        path = checkout / "logs" / f"{name}.json"
        document = json.loads(path.read_text())
        held = document[at] if at else document
        plain, held[key] = held[key], said
        path.write_text(json.dumps(document))
    (checkout / "logs" / "report.md").unlink()
    log = checkout / "logs" / "accuracy_compare.log"
    log.write_text(log.read_text().replace(plain, said))
    result = export(checkout, kit, VIT_NAME, "--to", kit.scratch / "out")
    assert result.code == 2 and "holds an absolute path" in result.error


def test_logs_are_shortened(published: Callable[..., Path], checkout: Path, kit: Kit) -> None:
    log = checkout / "logs" / "run_npu.log"
    plain, short = (
        path.read_text() for path in (log, published(VIT_NAME) / "logs" / "run_npu.log")
    )
    alice = "/home/" + "alice"
    told = f'  File "{alice}/v/lib/python3.11/site-packages/timm/x.py", line 3\n'
    told += f"{checkout}/kit/x.py {alice}\n"
    log.write_text(plain + told + "/data/w/model.safetensors source /usr/local/Ascend/set_env.sh\n")
    result = export(checkout, kit, VIT_NAME, "--to", kit.scratch / "out")
    assert result.code == 0 and "paths were shortened in logs/run_npu.log" in result.out
    assert (kit.scratch / "out" / "logs" / "run_npu.log").read_text() == (
        short + '  File "~/v/lib/python3.11/site-packages/timm/x.py", line 3\n.../kit/x.py ~\n'
        ".../model.safetensors source /usr/local/Ascend/set_env.sh\n"
    )


def test_shortening_settles() -> None:
    text = "/data/my/v/site-packages/torch/x.py:3, /mnt/a/b.c; file:///srv/x/y D:\\a\\b.txt 1/2 /x"
    short = ".../site-packages/torch/x.py:3, .../b.c; .../y .../b.txt 1/2 /x"
    assert shorten_paths(text) == short == shorten_paths(short)


def test_evidence_that_does_not_belong_together_is_refused(
    published: Callable[..., Path], runs: Callable[..., Kit], checkout: Path, kit: Kit
) -> None:
    to = ("--to", kit.scratch / "out")
    result = kit.command("export", T5_NAME, *to, "--logs", runs(VIT_NAME).logs)
    assert result.code == 2
    assert f"holds a run of {VIT_NAME}, not of {T5_NAME}" in result.error
    # The summary of another run, then outputs that the record does not know.
    shutil.copy(runs("all_minilm_l6_v2").logs / "summary.json", kit.scratch / "summary.json")
    own = (checkout / "logs" / "summary.json").read_bytes()
    shutil.copy(kit.scratch / "summary.json", checkout / "logs" / "summary.json")
    assert export(checkout, kit, VIT_NAME, *to).code == 4
    (checkout / "logs" / "summary.json").write_bytes(own)
    shutil.copy(checkout / "logs" / "inputs.safetensors", checkout / "logs" / "outputs.safetensors")
    result = export(checkout, kit, VIT_NAME, *to)
    assert result.code == 4 and "outputs.safetensors" in result.error
    assert not (kit.scratch / "out").exists()


def foreign_file(to: Path) -> None:
    to.mkdir()
    (to / "thesis.txt").write_text("mine")


def worked_in(to: Path) -> None:
    (to / "README.md").write_text("mine")


def added_to(to: Path) -> None:
    (to / ".git").mkdir()
    (to / ".git" / "HEAD").write_text("mine")


def a_file(to: Path) -> None:
    to.write_text("mine")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (foreign_file, "thesis.txt"),
        (worked_in, "README.md"),
        (added_to, ".git/HEAD"),
        (a_file, "is a file or a link"),
    ],
)
def test_nobodys_work_is_replaced(
    published: Callable[..., Path], kit: Kit, prepare: Callable[[Path], None], said: str
) -> None:
    to, no_run = kit.scratch / "out", kit.scratch / "no_run"
    no_run.mkdir()
    if prepare in (worked_in, added_to):
        shutil.copytree(published(VIT_NAME), to)
    prepare(to)
    before = tree(to) if to.is_dir() else to.read_bytes()
    result = kit.command("export", VIT_NAME, "--to", to, "--logs", no_run)
    assert result.code == 2 and said in result.error
    assert (tree(to) if to.is_dir() else to.read_bytes()) == before


@pytest.mark.parametrize(
    "part",
    [
        ".",
        "models/x",
        *(pytest.param(part, marks=pytest.mark.full) for part in ("..", "kit/published")),
    ],
)
def test_no_export_into_the_kit_itself(checkout: Path, kit: Kit, part: str) -> None:
    before = tree(checkout)
    result = export(checkout, kit, VIT_NAME, "--to", checkout / part)
    assert result.code == 2 and "is part of this kit" in result.error
    assert tree(checkout) == before


def test_a_foreign_archive_stays(checkout: Path, kit: Kit) -> None:
    (kit.scratch / "out.zip").write_bytes(b"mine")
    result = export(checkout, kit, VIT_NAME, "--to", kit.scratch / "out", "--zip")
    assert result.code == 2 and "out.zip" in result.error
    assert (kit.scratch / "out.zip").read_bytes() == b"mine"


def new_is_begun(to: Path) -> bool:
    return any(to.parent.glob(f".{to.name}.export-*/new/*"))


def old_is_aside(to: Path) -> bool:
    return any(to.parent.glob(f".{to.name}.export-*/old"))


def work_is_there(to: Path) -> bool:
    return any(to.parent.glob(f".{to.name}.export-*"))


@pytest.mark.full  # the moments of a kill take half a minute
@pytest.mark.parametrize(
    "moment",
    [
        old_is_aside,
        pytest.param(work_is_there, marks=pytest.mark.full),
        pytest.param(new_is_begun, marks=pytest.mark.full),
    ],
)
def test_a_killed_export_leaves_the_earlier_one_or_none(
    published: Callable[..., Path], checkout: Path, kit: Kit, moment: Callable[[Path], bool]
) -> None:
    """Killed as soon as the moment is seen; whichever side of a rename that is, nothing is half there."""
    to, logs = kit.scratch / "out", kit.scratch / "no_run"
    logs.mkdir()
    assert export(checkout, kit, VIT_NAME, "--to", to, "--logs", logs).code == 0
    earlier, new = tree(to), tree(published(VIT_NAME))
    command = ("-m", "kit", "export", VIT_NAME, "--to", to)
    process = start_python(*command, env=kit.environment(), cwd=checkout, hidden=kit.hidden)
    while process.poll() is None and not moment(to):
        time.sleep(0.0002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not to.exists() or tree(to) in (earlier, new)
    result = export(checkout, kit, VIT_NAME, "--to", to)
    assert result.code == 0, result.err
    assert tree(to) == new
    assert not list(kit.scratch.glob(".out*"))


def test_an_earlier_export_comes_back_where_the_next_one_fails(
    vit: Path, checkout: Path, kit: Kit
) -> None:
    """What a kill between the two renames leaves, and then a disk that takes nothing."""
    to = kit.scratch / "out"
    aside = kit.scratch / ".out.export-killed"
    shutil.copytree(vit, aside / "old")
    logs = kit.scratch / "no_run"
    logs.mkdir()
    limited = "ulimit -f 1; exec " + " ".join(
        [sys.executable, "-m", "kit", "export", VIT_NAME, "--to", str(to), "--logs", str(logs)]
    )
    process = subprocess.run(
        ["bash", "-c", limited], cwd=checkout, env=kit.environment(), capture_output=True, text=True
    )
    assert process.returncode == 3 and "cannot be written" in process.stderr
    assert tree(to) == tree(vit)
    assert {path.name for path in kit.scratch.iterdir()} == {
        "checkout",
        "home",
        "no_run",
        "out",
        "vit",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing-like-it", "--to", "x"), "has no folder under models/"),
        ((str(ROOT / "tests" / "small_vit"), "--to", "x"), "has no folder under models/"),
        (("vit_tiny_patch16_22", "--to", "x"), "did you mean"),
        ((VIT_NAME, "--to", ""), "--to: it is empty"),
        ((VIT_NAME, "--to", "x", "--logs", "nowhere"), "there is no such folder"),
        ((VIT_NAME,), "--to"),
    ],
)
def test_wrong_usage(kit: Kit, arguments: tuple[str, ...], said: str) -> None:
    result = kit.command("export", *arguments)
    assert result.code == 2 and said in result.err
