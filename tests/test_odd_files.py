"""Odd files and names in a run's way: pipes where files are wanted, names that act on a terminal, a photo
as large as a poster. Nothing waits, nothing is run first and refused after."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, SMALL, VIT, Kit, Result, ended
from starting import start_python

PHOTO = ROOT / "kit" / "models" / "samples" / "photo.png"
BOUND_SECONDS = 60  # none of these takes a tenth of it; what hangs, hangs for ever


def in_the_place_of(path: Path, kind: str) -> None:
    """Put something that is no file where `path` was."""
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path has 108 bytes at most
        try:
            socket.socket(socket.AF_UNIX).bind(path.name)
        finally:
            os.chdir(here)


# ---- files that are none -----------------------------------------------------------------------


def commands(kit: Kit) -> list[tuple[str, ...]]:
    return [
        ("compare_accuracy.py", "--logs", str(kit.logs)),
        ("compare_accuracy.py", "--logs", str(kit.logs), "--rejudge"),
        ("-m", "kit", "report", "--logs", str(kit.logs)),
        ("-m", "kit", "diff", str(kit.logs), str(kit.logs)),
        (
            "-m",
            "kit",
            "export",
            VIT[1],
            "--to",
            str(kit.scratch / "out"),
            "--logs",
            str(kit.logs),
        ),
        ("inference.py", *SMALL, "--logs", str(kit.logs)),
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("run.json", "fifo"),
        ("summary.json", "device"),
        *(
            pytest.param(name, kind, marks=pytest.mark.full)
            for name in (
                "charts.json",
                "outputs.safetensors",
                "inputs.safetensors",
                "reference.safetensors",
                "summary.json",
                "samples.jsonl",
            )
            for kind in ("fifo", "socket", "folder")
        ),
        pytest.param("run_npu.log", "fifo", marks=pytest.mark.full),
        pytest.param("local_paths.json", "fifo", marks=pytest.mark.full),
        pytest.param("report.md", "fifo", marks=pytest.mark.full),
        pytest.param("samples/device-00000.safetensors", "fifo", marks=pytest.mark.full),
        pytest.param("plots/bars.svg", "fifo", marks=pytest.mark.full),
    ],
)
def test_what_is_no_file_is_told_and_never_waited_for(
    judged_run: Kit, name: str, kind: str
) -> None:
    in_the_place_of(judged_run.logs / name, kind)
    before = sorted(path.name for path in judged_run.logs.iterdir() if path.name != ".lock")
    for command in commands(judged_run):
        first, *rest = command
        script = [str(ROOT / first), *rest] if first.endswith(".py") else command
        process = start_python(*script, env=judged_run.environment())
        result = ended(process, BOUND_SECONDS)
        assert result.code == 4, (command, result.err)
        told = f"{name} in " in result.error and result.error.endswith("; remove it")
        assert told or ("export" in command and f"{name} is a link" in result.error)
    # No result that was there is lost to it.
    assert before == sorted(path.name for path in judged_run.logs.iterdir() if path.name != ".lock")


@pytest.mark.parametrize("option", ["--weights", "--input", "--data"])
@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_an_argument_that_is_no_file(kit: Kit, tmp_path: Path, option: str, kind: str) -> None:
    in_the_place_of(tmp_path / "model.safetensors", kind)
    model = ("--model", "flan_t5_small", "--offline") if option == "--data" else SMALL
    process = kit.popen("inference.py", *model, option, tmp_path / "model.safetensors")
    result = ended(process, BOUND_SECONDS)
    assert result.code == 2 and option in result.error
    assert not kit.logs.exists()


def test_the_weights_of_a_comparison_that_are_no_file(judged_run: Kit, tmp_path: Path) -> None:
    in_the_place_of(tmp_path / "w.safetensors", "fifo")
    record = judged_run.logs / "run.json"
    document = json.loads(record.read_text())
    document["weights"]["files"] = [
        {"name": "w", "bytes": 1, "sha256": "0" * 64, "hash_origin": "computed", "revision": None}
    ]
    record.write_text(json.dumps(document))
    process = judged_run.popen("compare_accuracy.py", "--weights", tmp_path / "w.safetensors")
    assert ended(process, BOUND_SECONDS).code in (2, 3, 4)


# ---- names -------------------------------------------------------------------------------------

UNFIT = ["back\\slash", "two\nlines", "\x1b[31mred", "\x7f", "line\u2028sep", "\u0085"]


@pytest.mark.parametrize("name", UNFIT)
def test_weights_of_a_name_that_no_record_can_hold(
    kit: Kit, tmp_path: Path, weights_of: Callable[[str], Path], name: str
) -> None:
    path = tmp_path / f"{name}.safetensors"
    path.symlink_to(weights_of(SMALL[1]))
    result = kit.infer(*SMALL, "--weights", path)
    assert result.code == 2 and "no record can hold" in result.error
    assert result.error.isprintable() and not kit.logs.exists()


@pytest.mark.parametrize(
    "name",
    [
        *("模型　权重", "-dash"),
        *(
            pytest.param(name, marks=pytest.mark.full)
            for name in ("a b", "e\u0301'quote\"", "x" * 200, "👩\u200d💻")
        ),
    ],
)
def test_weights_of_an_odd_name_that_a_record_can_hold(
    kit: Kit, tmp_path: Path, weights_of: Callable[[str], Path], name: str
) -> None:
    path = tmp_path / f"{name}.safetensors"
    path.symlink_to(weights_of(SMALL[1]))
    result = kit.infer(*SMALL, "--device", "cpu", "--weights", path)
    assert result.code == 0, result.err
    assert kit.record["weights"]["weight_path"] == f"file:{name}.safetensors"
    assert kit.compare("--golden", "off").code == 0


@pytest.mark.parametrize("name", ["two\nlines.png", "back\\slash.png", "\x1b[2J.png"])
def test_a_sample_of_a_name_that_no_record_can_hold(kit: Kit, tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(PHOTO, tmp_path / "data" / name)
    result = kit.infer(*SMALL, "--data", tmp_path / "data")
    assert result.code == 2 and "rename the file" in result.error and result.error.isprintable()
    assert not kit.logs.exists()


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31m"])
def test_a_data_folder_of_a_name_that_no_record_can_hold(
    kit: Kit, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    shutil.copy(PHOTO, tmp_path / name)
    result = kit.infer(*SMALL, "--data", tmp_path / name)
    assert result.code == 2 and "rename it" in result.error and result.error.isprintable()


def test_a_photo_whose_name_acts_on_a_terminal_is_shown_escaped(kit: Kit, tmp_path: Path) -> None:
    photo = tmp_path / "red\x1b[31m\nphoto.png"
    shutil.copy(PHOTO, photo)
    result = kit.infer(*SMALL, "--device", "cpu", "--input", photo)
    assert result.code == 0, result.err
    assert (
        "\x1b" not in result.out + result.err
        and "input image red\\x1b[31m\\nphoto.png" in result.out
    )
    assert kit.compare("--golden", "off").code == 0


def test_a_logs_folder_whose_name_acts_on_a_terminal_is_shown_escaped(kit: Kit) -> None:
    kit.logs = kit.scratch / "a'\x1b[31m\n\u202eb"
    result = kit.infer(*SMALL, "--device", "cpu")
    assert result.code == 0, result.err
    shown = "a\\'\\x1b[31m\\n\\u202eb"
    *_, done, last = result.out.splitlines()
    assert done.endswith(f"--logs $'{kit.scratch}/{shown}'")
    assert last.startswith("RESULT ") and f"record=$'{kit.scratch}/{shown}/run.json'" in last
    read = subprocess.run(["bash", "-c", f'{last[7:]}; stat -c %s "$record"'], check=True)
    assert read.returncode == 0
    result = kit.compare("--golden", "off")
    assert result.code == 0 and "\x1b" not in result.out + result.err
    (kit.logs / "run.json").write_text("{")
    result = kit.compare()
    assert result.code == 4 and result.error.isprintable()


def test_a_working_directory_that_is_no_utf_8(
    kit: Kit, tmp_path: Path, weights_of: Callable[[str], Path]
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(weights_of(SMALL[1]))
    environment = kit.environment()

    def run(script: str, *arguments: str) -> Result:
        return ended(start_python(ROOT / script, *arguments, env=environment, cwd=folder))

    result = run("inference.py", *SMALL, "--device", "cpu", "--weights", "model.safetensors")
    assert result.code == 2 and "no UTF-8" in result.error
    result = run("inference.py", *SMALL, "--device", "cpu")
    assert result.code == 0 and "Traceback" not in result.err, result.err
    result = run("compare_accuracy.py", "--golden", "off")
    assert result.code == 0 and "Traceback" not in result.err, result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--device", "npu:\u0663"),
        ("--device", "npu:" + "9" * 5000),
    ],
)
def test_a_number_that_nothing_can_be_done_with(kit: Kit, arguments: tuple[str, ...]) -> None:
    result = kit.infer(*SMALL, *arguments)
    assert result.code == 2 and arguments[0] in result.err and "Traceback" not in result.err
    assert not kit.logs.exists()


# ---- bounds ------------------------------------------------------------------------------------


def test_a_photo_as_large_as_a_poster_is_refused_in_a_moment(kit: Kit, tmp_path: Path) -> None:
    """169 million pixels in a file of half a megabyte."""
    from PIL import Image

    Image.new("L", (13_000, 13_000)).save(tmp_path / "poster.png", compress_level=1)
    process = kit.popen("inference.py", *SMALL, "--input", tmp_path / "poster.png")
    result = ended(process)
    assert result.code == 2 and "13000x13000 pixels are more than 64 million" in result.error
    assert "Warning" not in result.err


@pytest.mark.parametrize(
    "umask", [0o077, *(pytest.param(each, marks=pytest.mark.full) for each in (0o022, 0o027))]
)
def test_the_umask_is_heeded(kit: Kit, umask: int) -> None:
    begin = (
        f"import os, runpy; os.umask({umask}); runpy.run_path('inference.py', run_name='__main__')"
    )
    arguments = (*SMALL, "--device", "cpu", "--logs", kit.logs)
    assert ended(start_python("-c", begin, *arguments, env=kit.environment())).code == 0
    for name in ("run.json", "outputs.safetensors", "inputs.safetensors", "run_npu.log"):
        assert (kit.logs / name).stat().st_mode & 0o777 == 0o666 & ~umask, name


def test_sigterm_ends_what_waits(kit: Kit) -> None:
    """As the last resort: a shell's time-out on whatever still waits."""
    process = kit.popen("inference.py", *SMALL, "--device", "cpu", "--iterations", "1000000")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 130
