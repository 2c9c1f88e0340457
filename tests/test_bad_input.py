"""Bad input: one clear line with the next step, the right exit code, and nothing in logs/ lost."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import QUICK, SMALL, Kit
from safetensors.torch import save_file

from kit.models.known import model_names


@pytest.fixture
def earlier(kit: Kit) -> Kit:
    """Logs with something in them, which a usage error must leave as they are."""
    kit.logs.mkdir()
    for name in ("run.json", "summary.json", "run_npu.log"):
        (kit.logs / name).write_text("{}" if name.endswith("json") else "kept")
    return kit


def untouched(kit: Kit) -> bool:
    return (kit.logs / "run_npu.log").read_text() == "kept" and not (kit.logs / "history").exists()


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("flan_t5_smal", "did you mean flan_t5_small?"),
        ("google/flan-t5-smal", "did you mean flan_t5_small?"),
        ("vit_tiny_patch16_225", "did you mean vit_tiny_patch16_224?"),
        ("nothing-like-it", f"give one of {', '.join(model_names())}, a hub id"),
        ("../models/flan_t5_small/x", "give one of"),
        ("resnet18.never_trained", "give one of"),
        ("/etc", "/etc has no config.json; give a folder that save_pretrained or timm wrote"),
    ],
)
def test_unknown_model(earlier: Kit, wanted: str, hint: str) -> None:
    result = earlier.infer("--model", wanted)
    assert result.code == 2
    assert hint in result.error
    assert untouched(earlier)


def test_a_model_folder_elsewhere_is_never_imported(earlier: Kit, tmp_path: Path) -> None:
    folder = tmp_path / "flan_t5_small"
    folder.mkdir()
    (folder / "adapter.py").write_text("open('imported', 'w')")
    (folder / "model.toml").write_text('name = "mine"')
    result = earlier.infer("--model", folder)
    assert result.code == 2
    assert "has no config.json" in result.error
    assert untouched(earlier)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_input_that_is_no_image(earlier: Kit, tmp_path: Path, content: bytes) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(content)
    result = earlier.infer(*SMALL, "--input", photo)
    assert result.code == 2
    assert "not a readable image" in result.error and "JPEG or PNG" in result.error
    assert untouched(earlier)


def test_input_that_is_a_line_of_pixels(earlier: Kit, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (1, 3000)).save(tmp_path / "line.png")
    result = earlier.infer(*SMALL, "--input", tmp_path / "line.png")
    assert result.code == 2
    assert "1x3000 pixels" in result.error
    assert untouched(earlier)


def test_long_text_is_no_path(kit: Kit) -> None:
    result = kit.infer("--offline", "--input", "How old are you? " * 400)
    assert result.code == 3
    assert "tokenizer.json" in result.error


def test_environment_that_cannot_be_read(npu: Kit) -> None:
    bad = {"KIT_PROBE_SECONDS": "1m"}
    assert npu.run("inference.py", "--help", **bad).code == 0
    result = npu.infer(*SMALL, "--device", "npu:0", **bad)
    assert result.code == 2
    assert "KIT_PROBE_SECONDS" in result.error


BAD_NUMBER = {"HF_HUB_ETAG_TIMEOUT": "10 s", "KIT_TESTS_COLD": "1"}


@pytest.mark.parametrize("entry", ["infer", "compare", "fetch", "report"])
def test_a_number_of_a_librarys_that_is_none(kit: Kit, entry: str) -> None:
    bad = BAD_NUMBER
    if entry in ("infer", "compare"):
        result = kit.run({"infer": "inference.py", "compare": "compare_accuracy.py"}[entry], **bad)
    else:
        result = kit.command(entry, *(["flan_t5_small"] if entry == "fetch" else []), **bad)
    assert result.code == 3 and not kit.logs.exists()
    assert "HF_HUB_ETAG_TIMEOUT is '10 s'" in result.error and result.err.count("\n") == 1


def test_it_stops_nothing_that_needs_no_library(kit: Kit) -> None:
    """The help of everything, a text that is looked through, and doctor, which says what to do."""
    for script in ("inference.py", "compare_accuracy.py"):
        assert kit.run(script, "--help", **BAD_NUMBER).code == 0
    assert kit.command("fetch", "--help", **BAD_NUMBER).code == 0
    report = kit.scratch / "report.md"
    report.write_text("- cosine: 0.9\n")
    assert kit.command("lint-report", report, **BAD_NUMBER).code == 0
    found = kit.command("doctor", "--json", "--offline", **BAD_NUMBER)
    [check] = [each for each in json.loads(found.out)["checks"] if each["name"] == "variables"]
    assert found.code == 3 and check["state"] == "broken"
    assert "HF_HUB_ETAG_TIMEOUT is '10 s'" in check["found"]
    assert check["cure"] == "unset HF_HUB_ETAG_TIMEOUT, or set it to one"


@pytest.mark.full
def test_it_does_not_stop_judge(kit: Kit) -> None:
    outputs = kit.scratch / "outputs.safetensors"
    save_file({"out": torch.linspace(-1, 1, 100)}, outputs)
    assert kit.command("judge", outputs, outputs, **BAD_NUMBER).code == 0


def test_console_that_goes_away_does_not_fail_the_run(kit: Kit) -> None:
    process = kit.popen("inference.py", *SMALL)
    assert process.stdout and process.stderr
    process.stdout.close()
    process.stderr.close()
    assert process.wait(120) == 0
    assert kit.record["status"] == "SUCCESS"


@pytest.mark.parametrize("missing", ["nowhere.png", "."])
def test_input_file_that_cannot_be_read(earlier: Kit, missing: str) -> None:
    result = earlier.infer(*SMALL, "--input", missing)
    assert result.code == 2
    assert untouched(earlier)


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_empty_text(earlier: Kit, text: str) -> None:
    result = earlier.infer("--offline", "--input", text)
    assert result.code == 2
    assert "--input is empty" in result.error
    assert untouched(earlier)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--iterations", "-1"),
        ("--iterations", "0"),
        ("--iterations", "many"),
        ("--warmup", "-1"),
        ("--seed", "-5"),
        ("--seed", "9" * 20),
        ("--download-timeout", "0"),
        ("--download-timeout", "nan"),
        ("--device", "tpu:0"),
        ("--device", "npu:-1"),
        ("--dtype", "float8"),
        ("--nonsense",),
    ],
)
def test_wrong_arguments(earlier: Kit, arguments: tuple[str, ...]) -> None:
    result = earlier.infer(*arguments)
    assert result.code == 2
    assert arguments[0] in result.err and "Traceback" not in result.err
    assert untouched(earlier)


def damaged_weights(kind: str, good: Path, folder: Path) -> Path:
    path = folder / "model.safetensors"
    data = good.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "one byte short":
        path.write_bytes(data[:-1])
    elif kind == "header cut":
        path.write_bytes(data[:100])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "absurd header length":
        path.write_bytes(struct.pack("<Q", 2**62) + data[8:])
    elif kind == "text":
        path.write_text("<html>404</html>" * 100)
    elif kind == "pickle by content":
        path.write_bytes(pickle.dumps({"weights": 1}))
    elif kind == "pickle by name":
        path = folder / "pytorch_model.bin"
        path.write_bytes(pickle.dumps({"weights": 1}))
    elif kind == "missing":
        path = folder / "nowhere.safetensors"
    elif kind == "foreign":
        import numpy
        from safetensors.numpy import save_file

        save_file({"other.weight": numpy.zeros((3, 3), "float32")}, path)
    elif kind == "renamed tensor":
        header["head.weights"] = header.pop("head.weight")
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    elif kind == "wrong shape":
        header["head.weight"]["shape"] = header["head.weight"]["shape"][::-1]
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return path


UNREADABLE = [
    "truncated",
    "one byte short",
    "header cut",
    "empty",
    "absurd header length",
    "text",
    "pickle by content",
    "pickle by name",
    "missing",
]


@pytest.mark.parametrize("kind", UNREADABLE)
def test_weights_that_are_no_safetensors_file(
    earlier: Kit, tmp_path: Path, kind: str, weights_of: Callable[[str], Path]
) -> None:
    path = damaged_weights(kind, weights_of("vit_tiny_patch16_224"), tmp_path)
    result = earlier.infer(*SMALL, "--weights", path)
    assert result.code == 2
    assert path.name in result.error
    assert untouched(earlier)


@pytest.mark.parametrize("kind", ["foreign", "renamed tensor", "wrong shape"])
def test_weights_of_another_model(
    earlier: Kit, tmp_path: Path, kind: str, weights_of: Callable[[str], Path]
) -> None:
    path = damaged_weights(kind, weights_of("vit_tiny_patch16_224"), tmp_path)
    result = earlier.infer(*SMALL, "--weights", path)
    assert result.code == 2
    assert "does not fit" in result.error and "give the weights of this model" in result.error
    # The run had begun: it is on record as failed, and the earlier one is in the history.
    assert earlier.summary["status"] == "FAILED"
    [history] = (earlier.logs / "history").iterdir()
    assert (history / "run_npu.log").read_text() == "kept"


@pytest.mark.full
def test_t5_checkpoint_without_its_head_is_refused(
    kit: Kit, tmp_path: Path, weights_of: Callable[[str], Path]
) -> None:
    """transformers loads it with a tied head and empty missing_keys: silently another model."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights_of("flan_t5_small"))
    del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    result = kit.infer("--offline", *QUICK, "--weights", tmp_path / "model.safetensors")
    assert result.code == 2
    assert "1 missing (lm_head.weight)" in result.error


def test_logs_that_are_a_file(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for script in (kit.infer, kit.compare):
        result = script("--logs", tmp_path / "file")
        assert result.code == 2
        assert "--logs" in result.error
    assert (tmp_path / "file").read_text() == "mine"


def test_logs_that_cannot_be_written(kit: Kit) -> None:
    """/proc refuses new folders and files even to root."""
    result = kit.infer(*SMALL, "--logs", "/proc/self/logs")
    assert result.code == 3
    assert "cannot write to /proc/self/logs" in result.error and "--logs" in result.error


def test_compare_without_a_run(kit: Kit) -> None:
    result = kit.compare()
    assert result.code == 2
    assert "run inference.py first" in result.error
    kit.logs.mkdir()
    result = kit.compare()
    assert result.code == 2
    assert "run inference.py" in result.error


def test_an_argument_that_the_locale_does_not_read_is_not_called_broken(kit: Kit) -> None:
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = kit.infer("--model", "模型", **ascii_only)
    assert result.code == 2 and "is UTF-8, and this locale is ascii" in result.error
    assert result.error.endswith("set PYTHONUTF8=1")
