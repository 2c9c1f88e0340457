"""The chain of sources: explicit paths, every cache layout, refusals, labels that lead back."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import COMMIT, LoopbackHub, safetensors_bytes
from tiny_hub import clean_environment

from kit.errors import UntrustedError, UsageError
from kit.models.declaration import ModelInfo
from kit.weights.sources import Located, locate, resolve

ROOT = Path(__file__).resolve().parent.parent
DATA = safetensors_bytes(1_000_000)
OTHER = safetensors_bytes(1_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
WEIGHTS = "model.safetensors"
TOKENIZER = b'{"tokens": ["a"]}'
DAMAGED = DATA[:-1] + bytes([DATA[-1] ^ 1])

INFO = ModelInfo(
    name="tiny",
    hub_id="timm/tiny_patch16.in1k",
    revision=COMMIT,
    vendor="timm",
    task="test",
    pipeline_tag="test",
    library="none",
    license="none",
    architecture="none",
    parameters=1,
    tensors=1,
    published={WEIGHTS: SHA256, "tokenizer.json": hashlib.sha256(TOKENIZER).hexdigest()},
    companions=("tokenizer.json",),
)
UNPUBLISHED = dataclasses.replace(INFO, published={})
REPOSITORY = "models--timm--tiny_patch16.in1k"


@pytest.fixture(autouse=True)
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Three empty caches by the first word of their labels, and a clean environment."""
    clean_environment(monkeypatch)
    variables = {
        "hf-cache": "HF_HUB_CACHE",
        "modelscope": "MODELSCOPE_CACHE",
        "weights-cache": "KIT_WEIGHTS_CACHE",
    }
    for label, variable in variables.items():
        (tmp_path / label).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / label))
    return {label: tmp_path / label for label in variables}


def put(path: Path, data: bytes = DATA) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def put_in_hf_cache(root: Path, data: bytes, *, etag: str, commit: str = COMMIT) -> Path:
    """The library's layout: a blob, and a link to it in the snapshot."""
    put(root / REPOSITORY / "blobs" / etag, data)
    pointer = root / REPOSITORY / "snapshots" / commit / WEIGHTS
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.symlink_to(f"../../blobs/{etag}")
    return pointer


def find(info: ModelInfo = INFO, *, offline: bool = True, **options: Any) -> Located:
    return locate(info, offline=offline, log=lambda line: None, **options)


def outcomes(located: Located) -> list[tuple[str, str]]:
    return [(attempt.source, attempt.outcome) for attempt in located.attempts]


# ---- --weights PATH ----------------------------------------------------------------------------


def test_an_explicit_file_is_the_only_source(tmp_path: Path) -> None:
    path = put(tmp_path / "mine.safetensors")
    located = find(path=path)
    assert located.file is not None and located.file.path == path
    assert (located.file.bytes, located.file.sha256) == (len(DATA), SHA256)
    assert located.file.hash_origin == "published" and located.file.revision == COMMIT
    assert located.label == "file:mine.safetensors"
    assert outcomes(located) == [("file", "found")]
    assert located.pretrained_used is True and located.downloaded is False


def test_a_good_file_of_unknown_origin_is_computed(tmp_path: Path) -> None:
    located = find(path=put(tmp_path / WEIGHTS, OTHER))
    assert located.file is not None and located.file.hash_origin == "computed"
    assert located.file.revision is None
    assert located.pretrained_used is None
    assert "matches no published hash" in located.pretrained_reason


def test_an_explicit_folder_holds_the_weights_and_the_companions(tmp_path: Path) -> None:
    put(tmp_path / "folder" / WEIGHTS)
    tokenizer = put(tmp_path / "folder" / "tokenizer.json", TOKENIZER)
    located = find(path=tmp_path / "folder")
    assert located.label == f"file:{WEIGHTS}"
    assert located.companions == {"tokenizer.json": tokenizer}
    # A fine-tuned model's own tokenizer is the user's word; the adapter proves it before its use.
    tokenizer.write_bytes(b"{}")
    assert find(path=tmp_path / "folder").companions == {"tokenizer.json": tokenizer}


def header(value: Any) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text


def zip_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", "x" * 100)
    return buffer.getvalue()


def span(first: Any, last: Any, shape: Any = (4,)) -> dict[str, Any]:
    return {"dtype": "U8", "shape": shape, "data_offsets": [first, last]}


UNUSABLE = {
    "empty": (WEIGHTS, b"", "is empty"),
    "pointer": (WEIGHTS, b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "page": (WEIGHTS, b"<!DOCTYPE html><title>Sign in", "is a web page (HTML)"),
    "gguf": (WEIGHTS, b"GGUF\x03\0\0\0" + bytes(64), "is a GGUF file of weights"),
    "onnx": (WEIGHTS, b"\x08\x08\x12\x07pytorch" + bytes(64), "is an ONNX model"),
    "npy": (WEIGHTS, b"\x93NUMPY\x01\0" + bytes(64), "is a NumPy array"),
    "hdf5": ("tf_model.h5", b"\x89HDF\r\n\x1a\n" + bytes(64), "is an HDF5 file"),
    "gzip": (WEIGHTS, b"\x1f\x8b\x08" + bytes(64), "is a gzip archive"),
    "noise": (WEIGHTS, bytes(range(100, 200)), "is no safetensors file"),
    "truncated": (WEIGHTS, DATA[:-1], "bytes long, not"),
    "longer": (WEIGHTS, DATA + b"x", "bytes long, not"),
    "cut-header": (WEIGHTS, DATA[:40], "is a damaged safetensors file"),
    "huge-header": (WEIGHTS, b"\xff" * 100, "is no safetensors file"),
    "no-json": (WEIGHTS, header(b"{nonsense"), "damaged safetensors header"),
    "deep-json": (WEIGHTS, header(b'{"a":' + b"[" * 200_000), "damaged safetensors header"),
    "list-of-names": (WEIGHTS, header({"w": [1, 2]}), "damaged safetensors header"),
    "no-shape": (WEIGHTS, header({"w": {"dtype": "U8", "data_offsets": [0, 0]}}), "damaged"),
    "negative": (WEIGHTS, header({"w": span(-4, 0)}), "damaged safetensors header"),
    "float-offset": (WEIGHTS, header({"w": span(0.0, 4)}) + b"1234", "damaged"),
    "wrong-shape": (WEIGHTS, header({"w": span(0, 4, (5,))}) + b"1234", "shape and bytes"),
    "gap": (WEIGHTS, header({"w": span(4, 8)}) + b"12345678", "overlaps or gaps"),
    "pickle": (WEIGHTS, b"\x80\x04\x95" + b"x" * 100, "is a pickle, as torch.save"),
    "zip": (WEIGHTS, zip_bytes(), "is a pickle, as torch.save"),
    "bin": ("pytorch_model.bin", zip_bytes(), "is a pickle, as torch.save"),
    "msc": ("model.msc", b"\x80\x04\x95" + bytes(100), "is a pickle, as torch.save"),
}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.msc", "weights"])
def test_a_sound_file_is_one_under_any_name(name: str, tmp_path: Path) -> None:
    path = put(tmp_path / name, DATA)
    assert find(path=path).file is not None


def test_a_folder_without_the_file_says_what_lies_beside_it(tmp_path: Path) -> None:
    put(tmp_path / "pytorch_model.bin", zip_bytes())
    put(tmp_path / "model-00001-of-00002.safetensors", DATA)
    with pytest.raises(UsageError) as caught:
        find(path=tmp_path)
    assert "model-00001-of-00002.safetensors (a safetensors file)" in caught.value.message
    assert "pytorch_model.bin (a pickle, as torch.save writes it)" in caught.value.message
    assert "python -m kit fetch MODEL --from-pickle" in caught.value.message


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_file_is_wrong_usage(name: str, tmp_path: Path) -> None:
    file_name, data, words = UNUSABLE[name]
    path = put(tmp_path / file_name, data)
    with pytest.raises(UsageError) as caught:
        find(path=path)
    assert words in caught.value.message
    assert caught.value.message.startswith(f"--weights {path} ")
    cures = {
        "pointer": "run git lfs pull where it was cloned",
        "page": "a page came in its place: download the file itself",
        "gzip": "unpack it",
    }
    own = "pass the model's model.safetensors or the folder that holds it"
    pickled = "is a pickle" in words
    assert caught.value.message.endswith("in a child process" if pickled else cures.get(name, own))
    assert pickled is ("python -m kit fetch MODEL --from-pickle" in caught.value.message)
    assert path.read_bytes() == data


def test_a_path_that_is_no_file_is_wrong_usage(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "dangling.safetensors").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    for name in ("pipe.safetensors", "dangling.safetensors", "empty", "absent", "x" * 5000):
        with pytest.raises(UsageError, match="pass the model's"):
            find(path=tmp_path / name)


def test_a_header_of_640_bytes_is_not_taken_for_a_pickle(tmp_path: Path) -> None:
    text = json.dumps({"__metadata__": {"format": "pt"}, "w": span(0, 4)}).encode().ljust(640)
    path = put(tmp_path / WEIGHTS, header(text) + b"1234")
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert find(path=path).file is not None


def test_an_explicit_file_needs_only_the_standard_library(tmp_path: Path) -> None:
    path = put(tmp_path / WEIGHTS)
    script = (
        "import json, sys; from pathlib import Path\n"
        "from kit.models.declaration import ModelInfo; from kit.weights.sources import locate\n"
        "info = ModelInfo(**json.loads(sys.argv[1]))\n"
        "assert locate(info, path=Path(sys.argv[2]), log=print).file\n"
        "print(sorted(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, json.dumps(dataclasses.asdict(INFO)), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in ("urllib.request", "huggingface_hub", "filelock", "tqdm", "torch", "safetensors"):
        assert f"'{name}" not in run.stdout


# ---- caches ------------------------------------------------------------------------------------

DOTLESS = "timm/tiny_patch16___in1k"
LAYOUTS = [
    ("hf-cache", f"{REPOSITORY}/snapshots/{COMMIT}"),
    ("hf-cache", f"{REPOSITORY}/snapshots/{'d' * 40}"),
    ("modelscope", "models/timm--tiny_patch16.in1k/snapshots/master"),
    ("modelscope", "models/timm--tiny_patch16.in1k/snapshots/main"),
    ("modelscope", "models/timm--tiny_patch16.in1k/snapshots/v1.0.0"),
    ("modelscope", f"models/{DOTLESS}"),
    ("modelscope", f"hub/models/{DOTLESS}"),
    ("modelscope", f"hub/{DOTLESS}"),
    ("modelscope", DOTLESS),
    ("modelscope", "hub/models/timm/tiny_patch16.in1k"),
    ("weights-cache", DOTLESS),
    ("weights-cache", "timm/tiny_patch16.in1k"),
]


@pytest.mark.parametrize(("kind", "folder"), LAYOUTS)
def test_every_layout_is_found_and_named_so_that_it_is_found_again(
    kind: str, folder: str, roots: dict[str, Path]
) -> None:
    path = put(roots[kind] / folder / WEIGHTS)
    tokenizer = put(roots[kind] / folder / "tokenizer.json", TOKENIZER)
    located = find()
    assert located.file is not None
    assert (located.file.path, located.file.hash_origin) == (path, "published")
    assert located.label == f"{kind}:{folder}/{WEIGHTS}"
    assert located.companions == {"tokenizer.json": tokenizer}
    assert resolve(located.label, INFO) == path
    path.unlink()
    assert resolve(located.label, INFO) is None


def test_several_flat_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "b" / DOTLESS / WEIGHTS)
    both = os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")])
    monkeypatch.setenv("KIT_WEIGHTS_CACHE", both)
    located = find()
    assert located.label == f"weights-cache:{DOTLESS}/{WEIGHTS}"
    assert resolve(located.label, INFO) == path


@pytest.mark.parametrize(
    "variables",
    [
        {"HF_HOME": "home"},
        {"HUGGINGFACE_HUB_CACHE": "home/hub"},
        {"XDG_CACHE_HOME": "xdg"},
        {"HOME": "user"},
    ],
)
def test_the_cache_root_is_the_librarys(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    script = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    put(Path(run.stdout.strip()) / REPOSITORY / "snapshots" / COMMIT / WEIGHTS)
    assert find().file is not None


def test_unfinished_files_of_modelscope_are_passed_over(roots: dict[str, Path]) -> None:
    snapshots = roots["modelscope"] / "models/timm--tiny_patch16.in1k/snapshots"
    put(snapshots / "._____temp" / WEIGHTS)
    put(snapshots / "master" / f"{WEIGHTS}.incomplete")
    assert find().file is None


def test_without_a_published_hash_the_blobs_name_is_the_truth(roots: dict[str, Path]) -> None:
    put_in_hf_cache(roots["hf-cache"], DATA, etag=SHA256)
    located = find(UNPUBLISHED)
    assert located.file is not None
    assert (located.file.hash_origin, located.file.revision) == ("hub", COMMIT)
    assert located.pretrained_used is True


def test_a_damaged_blob_is_refused_without_a_published_hash(roots: dict[str, Path]) -> None:
    put_in_hf_cache(roots["hf-cache"], DAMAGED, etag=SHA256)
    located = find(UNPUBLISHED)
    assert located.file is None
    assert located.attempts[0].outcome == "refused" and "hub's" in located.attempts[0].reason


@pytest.mark.parametrize(
    "bad",
    [DAMAGED, DATA[:-10], OTHER, b"\x80\x04 pickle"],
    ids=[
        "damaged",
        "cut",
        "another",
        "pickle",
    ],  # a safetensors file may differ from process to process
)
def test_a_file_that_fails_is_left_alone_and_the_next_source_is_taken(
    bad: bytes, roots: dict[str, Path]
) -> None:
    planted = [
        put_in_hf_cache(roots["hf-cache"], bad, etag=SHA256),
        put(roots["modelscope"] / "models" / DOTLESS / WEIGHTS, bad),
    ]
    good = put(roots["weights-cache"] / DOTLESS / WEIGHTS)
    located = find()
    assert located.file is not None and located.file.path == good
    assert [outcome for _, outcome in outcomes(located)] == ["refused"] * 3 + ["found"]
    assert all(path.read_bytes() == bad for path in planted)


@pytest.mark.parametrize("linked", [True, False])
def test_a_damaged_file_in_the_way_is_left_and_the_hubs_file_is_used_from_then_on(
    linked: bool, roots: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if linked:
        bad = put_in_hf_cache(roots["hf-cache"], DAMAGED, etag=SHA256)
    else:
        bad = put(roots["hf-cache"] / REPOSITORY / "snapshots" / COMMIT / WEIGHTS, DAMAGED)
    with LoopbackHub({INFO.hub_id: {WEIGHTS: DATA}}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        located = find(offline=False)
    assert located.file is not None and located.downloaded
    assert located.file.path.read_bytes() == DATA
    assert bad.read_bytes() == DAMAGED
    again = find()
    assert again.file is not None and again.file.path == located.file.path
    assert located.label is not None and again.label == located.label
    assert resolve(located.label, INFO) == again.file.path


LABEL = f"modelscope:models/{DOTLESS}/{WEIGHTS}"


@pytest.fixture
def linked(roots: dict[str, Path], tmp_path: Path) -> Path:
    """A file on another disk, to whose folder one of the cache's folders is a link."""
    link = roots["modelscope"] / "models" / DOTLESS
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere")
    return put(tmp_path / "elsewhere" / WEIGHTS)


def test_a_link_out_of_the_cache_is_refused_where_nothing_tells_the_bytes(linked: Path) -> None:
    assert ("modelscope-cache", "refused") in outcomes(find(UNPUBLISHED))
    assert resolve(LABEL, UNPUBLISHED) is None


def test_where_a_link_leads_does_not_matter_where_the_hash_is_known(linked: Path) -> None:
    located = find()
    assert located.file is not None and located.file.path.samefile(linked)
    assert (located.label, located.pretrained_used) == (LABEL, True)
    found = resolve(LABEL, INFO)
    assert found is not None and found.samefile(linked)
    put(linked, OTHER)
    assert ("modelscope-cache", "refused") in outcomes(find())


def test_a_model_of_the_hubs_cache_may_lie_on_another_disk(
    roots: dict[str, Path], tmp_path: Path
) -> None:
    put_in_hf_cache(tmp_path / "disk", DATA, etag=SHA256)
    (roots["hf-cache"] / REPOSITORY).symlink_to(tmp_path / "disk" / REPOSITORY)
    for info, origin in ((INFO, "published"), (UNPUBLISHED, "hub")):
        located = find(info)
        assert located.file is not None and located.file.hash_origin == origin
        assert located.label is not None and resolve(located.label, info) is not None


def test_known_bytes_that_are_no_file_are_not_opened(linked: Path) -> None:
    linked.unlink()
    os.mkfifo(linked)
    assert ("modelscope-cache", "absent") in outcomes(find())


@pytest.mark.parametrize(
    ("kind", "folder"),
    [
        ("modelscope", "models/AI-ModelScope/tiny_patch16___in1k"),
        ("modelscope", "hub/AI-ModelScope/tiny_patch16.in1k"),
        ("modelscope", "models/AI-ModelScope--tiny_patch16.in1k/snapshots/master"),
        ("weights-cache", "copies/tiny_patch16.in1k"),
    ],
)
def test_a_copy_under_another_owners_name_counts_by_its_bytes(
    kind: str, folder: str, roots: dict[str, Path]
) -> None:
    path = put(roots[kind] / folder / WEIGHTS)
    put(path.with_name("tokenizer.json"), b"another owner's")
    located = find()
    assert located.file is not None and located.pretrained_used is True
    assert located.label == f"{kind}:{folder}/{WEIGHTS}"
    assert resolve(located.label, INFO) == path
    assert located.companions == {}  # its hash is not known, and the owner is another
    assert find(UNPUBLISHED).file is None
    put(path, OTHER)
    assert find().file is None


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "MODELSCOPE_CACHE", "KIT_WEIGHTS_CACHE"])
@pytest.mark.parametrize("root", ["x" * 300, "file", "~nobody-here/cache"])
def test_a_root_that_cannot_be_entered_is_an_empty_one(
    variable: str, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, root)
    located = find()
    assert located.file is None and located.companions == {}
    assert {outcome for _, outcome in outcomes(located)} == {"absent", "skipped"}


def test_offline_asks_nobody_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackHub({INFO.hub_id: {WEIGHTS: DATA}}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        located = find(offline=True)
        assert located.attempts[-1].outcome == "skipped"
        assert "--offline is set" in located.attempts[-1].reason
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert "HF_HUB_OFFLINE is set" in find(offline=False).attempts[-1].reason
        assert hub.requests == []
    assert located.pretrained_used is False
    assert located.pretrained_reason.startswith("no weights: hf-cache: no readable")


def test_attempts_name_no_path_of_this_machine(roots: dict[str, Path], tmp_path: Path) -> None:
    put_in_hf_cache(roots["hf-cache"], DAMAGED, etag=SHA256)
    assert str(tmp_path) not in repr(find().attempts)


def test_companions_come_from_any_cache(roots: dict[str, Path], tmp_path: Path) -> None:
    folder = roots["hf-cache"] / REPOSITORY / "snapshots" / COMMIT
    tokenizer = put(folder / "tokenizer.json", TOKENIZER)
    located = find(path=put(tmp_path / "mine.safetensors"))
    assert located.companions == {"tokenizer.json": tokenizer}


# ---- names that would lead out -----------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"hub_id": "../../etc"},
        {"hub_id": "org/.."},
        {"hub_id": "/etc/passwd"},
        {"hub_id": "org/a/b"},
        {"hub_id": "org--x/name"},
        {"hub_id": "org/na me"},
        {"hub_id": ""},
        {"revision": "../main"},
        {"revision": "/main"},
        {"weights": "../model.safetensors"},
        {"weights": "/model.safetensors"},
        {"weights": "a\\..\\b.safetensors"},
        {"weights": "pytorch_model.bin"},
        {"companions": ("../../.ssh/id_rsa",)},
        {"companions": ("a//b",)},
    ],
)
def test_a_name_cannot_leave_the_caches(changes: dict[str, Any], roots: dict[str, Path]) -> None:
    with LoopbackHub({}) as hub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(UsageError):
            find(dataclasses.replace(INFO, **changes), offline=False)
        assert hub.requests == []
    assert not any(any(root.iterdir()) for root in roots.values())


@pytest.mark.parametrize(
    "label",
    [
        "",
        "hf-cache:",
        "hf-cache:../../etc/passwd",
        f"hf-cache:{REPOSITORY}/../../x/{WEIGHTS}",
        "hf-cache:/etc/passwd",
        "modelscope:a//b",
        "modelscope:a\\..\\b",
        "weights-cache:a/\0/b",
        "weights-cache:./a",
        "file:../x.safetensors",
        "file:a/b.safetensors",
        "file:",
        "http://host/model.safetensors",
        "elsewhere:model.safetensors",
    ],
)
def test_a_malformed_label_is_not_trusted(label: str, tmp_path: Path) -> None:
    with pytest.raises(UntrustedError):
        resolve(label, INFO, hint=tmp_path)


def test_a_label_finds_only_files_that_this_model_may_have(roots: dict[str, Path]) -> None:
    put(roots["hf-cache"] / "models--org--other" / "snapshots" / COMMIT / WEIGHTS)
    assert resolve(f"hf-cache:models--org--other/snapshots/{COMMIT}/{WEIGHTS}", INFO) is None


def test_a_files_label_leads_only_to_the_path_the_user_named(tmp_path: Path) -> None:
    path = put(tmp_path / "mine.safetensors")
    assert resolve("file:mine.safetensors", INFO) is None
    assert resolve("file:mine.safetensors", INFO, hint=path) == path
    assert resolve("file:mine.safetensors", INFO, hint=tmp_path) == path
    assert resolve("file:other.safetensors", INFO, hint=path) is None
    assert resolve("file:absent.safetensors", INFO, hint=tmp_path / "absent.safetensors") is None
