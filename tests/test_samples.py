"""More than one sample: --data through both scripts, and the figures over all of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, ROOT, SMALL, T5, Kit, write_tokenizer
from msgspec import convert
from PIL import Image

from kit.accuracy.judged_samples import WorstSample
from kit.accuracy.repeats import Repeat
from kit.accuracy.sample_verdicts import judge_samples, wilson
from kit.accuracy.spec import OutputSpec
from kit.evidence import sample_files
from kit.evidence.contradictions import find_contradictions
from kit.evidence.logs import Logs
from kit.evidence.sample_files import DEVICE, SampleWriter, read_samples
from kit.evidence.schema import parse
from kit.evidence.types.run import FinishedRun, Run
from kit.evidence.types.shared import Shard

SAME = Repeat(bit_identical=True, relative_l2=0.0, nonfinite_agree=True)
NAMES = [f"img{number}.png" for number in range(5)]


def photos(folder: Path) -> Path:
    """A folder of five small images, no two alike, beside what is no image."""
    folder.mkdir()
    for number, name in enumerate(NAMES):
        image = Image.linear_gradient("L").rotate(40 * number).resize((60 + number, 50))
        image.convert("RGB").save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("five")
    kit = Kit(scratch, simulated=True)
    result = kit.infer(*SMALL, "--data", photos(scratch / "photos"), "--batch-size", 2)
    assert result.code == 0, result.err
    assert "5 samples of photos run in batches of up to 2" in result.out
    assert kit.compare().code == 0
    return scratch


@pytest.fixture
def five(_finished: Path, npu: Kit) -> Kit:
    """A finished and compared run over five images, to be tampered with; they are in five/photos."""
    shutil.copytree(_finished / "logs", npu.logs)
    shutil.copytree(_finished / "photos", npu.scratch / "photos")
    (npu.logs / "local_paths.json").write_text(json.dumps({"data": str(npu.scratch / "photos")}))
    return npu


def lines(kit: Kit) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (kit.logs / "samples.jsonl").read_text().splitlines()]


def test_every_sample_is_judged(five: Kit) -> None:
    recorded, samples = five.record["samples"], five.summary["samples"]
    assert [entry["name"] for entry in recorded["inputs"]] == NAMES
    assert len({entry["fingerprint"] for entry in recorded["inputs"]}) == 5
    assert (recorded["count"], recorded["batch_size"]) == (5, 2)
    assert five.record["arguments"]["data"] == "photos"
    assert (samples["count"], samples["passed"], samples["verdict"]) == (5, 5, "PASS")
    assert samples["reason"] is None
    assert samples["top1"] == pytest.approx(
        {"output": "logits", "agree": 5, "count": 5, "rate": 1.0, "low": 0.5655, "high": 1.0},
        abs=1e-4,
    )
    told = lines(five)
    assert [line["sample"] for line in told] == NAMES
    for name in ("features", "logits"):
        errors = {line["sample"]: line["outputs"][name]["relative_l2"] for line in told}
        output = samples["outputs"][name]
        worst = max(errors, key=lambda sample: errors[sample])
        assert output["worst"] == {"sample": worst, "relative_l2": errors[worst]}
        assert output["mean_relative_l2"] == pytest.approx(sum(errors.values()) / 5)
        assert 0 < output["mean_max_abs_diff"] <= output["max_max_abs_diff"]
    assert "5 of 5 samples pass" in (five.logs / "accuracy_compare.log").read_text()
    for name in ("run.json", "summary.json", "samples.jsonl", "accuracy_compare.log"):
        assert "/photos" not in (five.logs / name).read_text(), "a path of this machine"


def test_rejudging_needs_no_data_and_a_new_run_archives_the_samples(five: Kit) -> None:
    first, told = five.summary, lines(five)
    shutil.rmtree(five.scratch / "photos")
    assert five.compare("--rejudge").code == 0
    assert (five.summary, lines(five)) == (first, told)
    assert five.infer(*SMALL).code == 0
    assert not (five.logs / "samples").exists() and not (five.logs / "samples.jsonl").exists()
    [earlier] = (five.logs / "history").iterdir()
    assert (earlier / "samples" / "device-00000.safetensors").exists()
    assert (earlier / "samples.jsonl").exists()
    assert five.summary["samples"] is None
    assert five.summary["null_reasons"]["samples"] == "no --data was given"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def turn(path: Path) -> None:
    Image.open(path).rotate(90).save(path)


@pytest.mark.parametrize(
    ("tamper", "path", "words"),
    [
        (flip, "logs/samples/device-00000.safetensors", "device-00000.safetensors has another"),
        (
            Path.unlink,
            "logs/samples/device-00000.safetensors",
            "device-00000.safetensors is missing",
        ),
    ],
)
def test_evidence_that_is_another_one(
    five: Kit, tamper: Callable[[Path], object], path: str, words: str
) -> None:
    tamper(five.scratch / path)
    result = five.compare()
    assert result.code == 4
    assert words in result.error
    assert five.summary["verdict"] == "INVALID"
    assert not (five.logs / "samples.jsonl").exists()


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (turn, "input of sample 'img3.png' is not the one"),
        (Path.unlink, "does not hold the run's sample 'img3.png'"),
        (lambda path: path.write_text("no image"), "img3.png cannot be read"),
    ],
)
def test_samples_of_this_machine_that_are_others(
    five: Kit, tamper: Callable[[Path], object], words: str
) -> None:
    """The evidence is not at fault: what was found before stands."""
    before = {path.name: path.read_bytes() for path in five.logs.iterdir() if path.is_file()}
    tamper(five.scratch / "photos" / "img3.png")
    result = five.compare()
    assert result.code == 2
    assert words in result.error
    assert all(
        (five.logs / name).read_bytes() == content
        for name, content in before.items()
        if name != "run_npu.log"
    )


def test_reference_shard_that_is_another_one(five: Kit) -> None:
    flip(five.logs / "samples" / "reference-00000.safetensors")
    assert five.compare("--rejudge").code == 4


def test_samples_folder_that_is_a_link_is_not_written_through(five: Kit) -> None:
    (five.logs / "samples").rename(five.scratch / "outside")
    (five.logs / "samples").symlink_to(five.scratch / "outside")
    shutil.rmtree(five.scratch / "photos")
    photos(five.scratch / "photos")
    assert five.compare().code == 4


def test_data_elsewhere_on_this_machine(five: Kit) -> None:
    (five.scratch / "photos").rename(five.scratch / "moved")
    result = five.compare()
    assert result.code == 3
    assert "--data PATH" in result.error
    assert five.summary["verdict"] == "PASS", "what was found before stands"
    # One more image changes nothing: the run's are taken by name.
    turned = five.scratch / "moved" / "img0b.png"
    shutil.copy(five.scratch / "moved" / "img0.png", turned)
    assert five.compare("--data", five.scratch / "moved").code == 0
    assert five.summary["samples"]["count"] == 5


@pytest.mark.parametrize(
    ("call", "code", "reason"),
    [
        # One convolution a forward: five for the input, two for the first batch, two more.
        (9, 1, "1 of 5 samples do not pass; the worst, 'img4.png' is FAIL: features: relative L2"),
        pytest.param(6, 4, "two runs of the device differ", marks=pytest.mark.full),
    ],
)
def test_planted_fault_in_one_batch(npu: Kit, call: int, code: int, reason: str) -> None:
    data = photos(npu.scratch / "photos")
    switches = {"SIM_NPU_FAULT": f"aten::convolution:{call}:3.0"}
    assert npu.infer(*SMALL, "--data", data, "--batch-size", 2, **switches).code == 0
    result = npu.compare()
    assert result.code == code
    summary = npu.summary
    assert {output["verdict"] for output in summary["outputs"].values()} == {"PASS"}
    assert summary["verdict"] == summary["samples"]["verdict"] == {1: "FAIL", 4: "INVALID"}[code]
    assert reason in summary["samples"]["reason"]
    assert any(reason in blocker for blocker in summary["submission_blockers"])
    if code == 1:
        assert summary["samples"]["outputs"]["logits"]["worst"]["sample"] == "img4.png"
        assert [line["verdict"] for line in lines(npu)] == ["PASS"] * 4 + ["FAIL"]


def write_bytes_tokenizer(path: Path) -> None:
    """A tokenizer.json whose tokens are the bytes of the text."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number + 3 for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(path))


@pytest.mark.parametrize("model", ["small_t5", pytest.param(T5[1], marks=pytest.mark.full)])
def test_texts_of_several_lengths(
    kit: Kit, tmp_path: Path, weights_of: Callable[[str], Path], model: str
) -> None:
    folder, lengths = tmp_path / "with_tokenizer", [6, 4]
    if model == T5[1]:
        folder.mkdir()
        (folder / "model.safetensors").symlink_to(weights_of(model))
        write_tokenizer(folder / "tokenizer.json")
        arguments = [*T5, "--weights", folder]
    else:
        shutil.copytree(ROOT / "tests" / model, folder)
        (folder / "model.safetensors").symlink_to(weights_of(str(folder)))
        write_bytes_tokenizer(folder / "tokenizer.json")
        arguments, lengths = ["--model", folder, *QUICK], [16, 11]
    (tmp_path / "texts.txt").write_text("How old are you?\nyou are old\r\nHow old?\nunused\n")
    result = kit.infer(*arguments, "--data", tmp_path / "texts.txt", "--samples", 2)
    assert result.code == 0, result.err
    assert kit.record["samples"]["batch_size"] == 1
    shards = convert(kit.record["samples"]["files"], list[Shard])
    stored = list(read_samples(Logs(kit.logs), shards))
    assert [row["encoder_last_hidden_state"].shape[1] for row in stored] == lengths
    assert kit.compare("--golden", "off").code == 0
    assert [line["sample"] for line in lines(kit)] == ["line 1", "line 2"]
    assert kit.summary["verdict"] == "SELF_CHECK"
    assert kit.summary["samples"]["outputs"].keys() == {"logits", "encoder_last_hidden_state"}
    assert kit.summary["samples"]["top1"]["agree"] == 2


def test_texts_without_a_tokenizer(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("How old are you?\n")
    result = kit.infer(*T5, "--data", tmp_path / "texts.txt")
    assert result.code == 3
    assert "tokenizer.json" in result.error
    assert kit.record["weights"] is None, "known before the model is loaded"


@pytest.mark.parametrize(
    ("model", "content", "arguments", "words"),
    [
        (SMALL, None, (), "there is no such path"),
        (SMALL, {}, (), "holds no image itself"),
        (SMALL, {"a.txt": b"text"}, (), "holds no image itself"),
        (SMALL, {"a.png": None, "b.png": b"no image"}, (), "b.png: not a readable image"),
        (SMALL, {"a.png": None, "b.HEIC": b"", "c.png": b""}, (), "left out b.HEIC: only files"),
        (SMALL, {"a.png": None}, ("--weights", ""), "--weights: it is empty"),
        (SMALL, b"How old are you?\n", (), "is no folder, and small_vit takes a folder of images"),
        (T5, {}, (), "is a folder, and google/flan-t5-small takes a text file"),
        (T5, b"", (), "holds no line of text"),
        (T5, b"one\n\nthree\n", (), "line 2: is empty"),
        (T5, b"\xff\xfe", (), "cannot be read"),
        (SMALL, {"a.png": None}, ("--samples", "0"), "--samples"),
        (SMALL, {"a.png": None}, ("--batch-size", "0"), "--batch-size"),
    ],
)
def test_bad_data(
    kit: Kit,
    model: tuple[str, ...],
    content: bytes | dict[str, bytes | None] | None,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    data = kit.scratch / "data"
    if isinstance(content, dict):
        data.mkdir()
        for name, written in content.items():
            if written is None:
                Image.new("RGB", (40, 40)).save(data / name)
            else:
                (data / name).write_bytes(written)
    elif content is not None:
        data.write_bytes(content)
    result = kit.infer(*model, "--data", data, *arguments)
    assert result.code == 2
    assert words in result.err and "Traceback" not in result.err
    assert not (kit.logs / "run.json").exists()


def test_the_root_is_no_data(kit: Kit) -> None:
    result = kit.infer(*SMALL, "--data", "/")
    assert result.code == 2 and "the root has no name for a record" in result.error


def test_samples_without_data_and_more_than_there_are(kit: Kit) -> None:
    result = kit.infer(*SMALL, "--samples", 3)
    assert result.code == 2
    assert "--data" in result.error
    data = photos(kit.scratch / "photos")
    result = kit.infer(*QUICK, *SMALL, "--data", data, "--samples", 9)
    assert result.code == 0
    assert "--samples 9" in result.err and "holds 5" in result.err
    assert (kit.record["samples"]["count"], kit.record["arguments"]["samples"]) == (5, 9)
    record = kit.record
    record["samples"] = None
    run = FinishedRun.of(parse(Run, record))
    [found] = [text for text in find_contradictions(run, _adapter()) if "--data" in text]
    assert "not there together" in found


def _adapter() -> Any:
    from kit.models.known import load_adapter

    return load_adapter("vit_tiny_patch16_224")


def test_shards_hold_no_more_than_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_files, "SHARD_BYTES", 100)
    logs = Logs(tmp_path)
    writer = SampleWriter(logs, DEVICE)
    rows = [{"a.b": torch.full((1, 15), float(number))} for number in range(5)]
    for row in rows:
        writer.add(row)
    files = writer.finish()
    assert [file.samples for file in files] == [2, 2, 1]
    for row, found in zip(rows, read_samples(logs, files), strict=True):
        assert torch.equal(row["a.b"], found["a.b"])
    assert SampleWriter(logs, DEVICE).finish() == []
    assert not list((tmp_path / "samples").iterdir()), "an earlier run's shards are gone"


def test_worst_sample_is_named_and_what_is_missing_is_invalid() -> None:
    reference = torch.arange(10.0).reshape(1, 10)
    sides = {
        "good": {"logits": reference},
        "far": {"logits": reference * 1.5},
        "nothing": {},
        "other top-1": {"logits": reference.flip(1)},
    }
    told: list[Any] = []
    found = judge_samples(
        {"logits": OutputSpec(role="logits")},
        [(name, {"logits": reference}, device) for name, device in sides.items()],
        {"logits": SAME},
        ranked="logits",
        tell=told.append,
    )
    assert (found.passed, found.failed, found.invalid) == (1, 2, 1)
    assert found.verdict == "INVALID"
    assert found.reason and "3 of 4" in found.reason and "'nothing' is INVALID" in found.reason
    logits = found.outputs["logits"]
    assert logits.worst == WorstSample(sample="nothing", relative_l2=None)
    assert logits.measured == 3 and (logits.max_relative_l2 or 0) > 0.5
    assert found.top1 and (found.top1.agree, found.top1.count) == (2, 4)
    assert len(told) == 4


@pytest.mark.parametrize(
    ("agree", "count", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_wilson_interval(agree: int, count: int, low: float, high: float) -> None:
    assert wilson(agree, count) == pytest.approx((low, high), abs=5e-5)
