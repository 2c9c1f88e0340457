"""Models that nobody wrote a line for: by a folder, a name of timm's or a hub id, through both scripts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from conftest import QUICK, ROOT, VIT, Kit, ended
from small_transformers import TYPES, save_small
from starting import start_python

from kit.accuracy.comparison import compare
from kit.accuracy.repeats import compare_runs
from kit.errors import UnsupportedError, UsageError
from kit.evidence.declared import adapter_of
from kit.evidence.documents import read_record
from kit.evidence.logs import Logs
from kit.models.adapter import Adapter, Attention
from kit.models.derived import from_folder, from_timm_registry
from kit.run.reference import run_references
from kit.weights.load import load_weights

WEIGHTS = "model.safetensors"
# One of each kind: encoder, decoder, encoder-decoder, state space, mixture of experts, image, segmentation,
# detection, sound, speech to text, image and text, image as tokens of a text, image in patches; and Marian,
# whose files lack what the library computes.
DOZEN = (
    *("bert", "llama", "t5", "mamba", "mixtral", "swin", "segformer", "detr"),
    *("wav2vec2", "whisper", "clip", "llava", "qwen2_vl", "marian"),
)
# Of the types that are here, those whose runs cannot be compared, and why.
NOT_COMPARABLE = {
    "mobilevit": "so small, and by the library's own initialisation, its logits are exactly zero",
    "vilt": "it draws patches of the image at random in every forward",
}
Saved = Callable[[str], Path]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A small model's folder as save_pretrained writes it, made once a session; nobody may change it."""
    made: dict[str, Path] = {}

    def make(model_type: str) -> Path:
        if model_type not in made:
            made[model_type] = tmp_path_factory.mktemp("saved") / model_type
            save_small(model_type, made[model_type])
        return made[model_type]

    return make


def ran(adapter: Adapter, weights: list[Path]) -> tuple[Adapter, str, dict[str, torch.Tensor]]:
    """The adapter with its outputs, the verdict of a run on the CPU against another, and the outputs."""
    model = adapter.build()
    load_weights(adapter, model, weights, seed=0)
    inputs = adapter.load_input(None, {}).tensors
    with torch.inference_mode():
        outputs = adapter.forward(model, inputs)
        repeats = compare_runs(outputs, adapter.forward(model, inputs))
    adapter = adapter.with_outputs({name: tuple(each.shape) for name, each in outputs.items()})
    reference = run_references(adapter, model, inputs, "off")
    return adapter, compare(adapter.outputs, reference, outputs, repeats).verdict, outputs


@pytest.mark.parametrize("model_type", DOZEN)
def test_a_type_of_model_runs_and_compares(model_type: str, saved: Saved) -> None:
    folder = saved(model_type)
    adapter, verdict, outputs = ran(from_folder(folder), [folder / WEIGHTS])
    assert verdict == "PASS"
    assert adapter.info.architecture == TYPES[model_type]["class"]
    assert adapter.primary in outputs and adapter.outputs.keys() == outputs.keys()
    if model_type in ("llama", "t5", "whisper"):
        assert adapter.outputs["logits"].role == "logits"
    if model_type in ("segformer", "detr"):
        # Classes stand in the second dimension of a map, boxes in none.
        other = {"segformer": "logits", "detr": "pred_boxes"}[model_type]
        assert adapter.outputs[other].role == "features"


@pytest.mark.full
@pytest.mark.parametrize("model_type", [each for each in TYPES if each not in DOZEN])
def test_every_other_type_does(model_type: str, saved: Saved) -> None:
    if model_type in NOT_COMPARABLE:
        pytest.skip(NOT_COMPARABLE[model_type])
    folder = saved(model_type)
    assert ran(from_folder(folder), [folder / WEIGHTS])[1] == "PASS"


@pytest.mark.parametrize(
    "model_type",
    [
        "electra",
        "clip",
        *(
            pytest.param(name, marks=pytest.mark.full)
            for name in TYPES
            if name not in ("electra", "clip", *NOT_COMPARABLE)
        ),
    ],
)
def test_a_folder_through_both_scripts(model_type: str, npu: Kit, saved: Saved) -> None:
    folder = saved(model_type)
    result = npu.infer("--model", folder, *QUICK, "--require-pretrained")
    assert result.code == 0, result.err
    model = npu.record["model"]
    assert (model["adapter"], model["hub_id"]) == (None, None)
    assert "RANDOM" not in result.err and npu.record["weights"]["pretrained_used"] is None
    # Another machine: the folder is not there, its weights are elsewhere.
    (npu.logs / "local_paths.json").unlink()
    elsewhere = npu.scratch / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(folder / WEIGHTS, elsewhere)
    assert "--weights PATH" in npu.compare().error
    result = npu.compare("--weights", elsewhere)
    assert result.code == 0, result.err
    assert npu.summary["verdict"] == "PASS"
    assert "in no repository" in npu.summary["null_reasons"]["source_url"]
    assert str(folder.parent) not in (npu.logs / "report.md").read_text("utf-8")


def test_the_attention_that_was_chosen_is_the_references_too(saved: Saved, npu: Kit) -> None:
    model = ("--model", saved("clip"), *QUICK)
    result = npu.infer(*model, "--attention", "eager")
    assert result.code == 0, result.err
    assert npu.record["arguments"]["attention"] == npu.record["model"]["attention"] == "eager"
    assert npu.compare().code == 0
    assert npu.summary["attention"] == "eager"
    assert "--attention eager" in (npu.logs / "report.md").read_text("utf-8")
    # The reference builds what the record says, and the record of another one is of another run.
    kept = adapter_of(Logs(npu.logs), read_record(Logs(npu.logs)))
    parts: Any = kept.build()
    assert {each.config._attn_implementation for each in (parts, parts.vision_model)} == {"eager"}


@pytest.mark.parametrize(
    ("model_type", "by_library", "lacking"),
    [("electra", "sdpa", None), ("llava", "sdpa", None), ("roformer", "eager", "sdpa")],
)
def test_a_class_has_the_attention_that_its_library_gives_it(
    model_type: str, by_library: str, lacking: str | None, saved: Saved
) -> None:
    adapter = from_folder(saved(model_type))
    assert adapter.attention is None
    assert adapter.as_built(adapter.build()).attention == by_library
    for wanted in get_args(Attention):
        chosen = adapter.with_attention(wanted)
        if wanted == lacking:
            with pytest.raises(UsageError, match="has no sdpa attention for RoFormer"):
                chosen.build()
        else:
            assert chosen.as_built(chosen.build()).attention == wanted


def test_no_other_library_has_a_choice_of_attention(kit: Kit) -> None:
    result = kit.infer(*VIT, "--attention", "sdpa")
    assert result.code == 2 and not kit.logs.exists()
    assert "--attention sdpa: timm has no choice of it; leave it out" in result.error


@pytest.fixture
def electra_run(saved: Saved, kit: Kit) -> Kit:
    """A finished run of a folder on the CPU."""
    assert kit.infer("--model", saved("electra"), *QUICK).code == 0
    return kit


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_act": "relu"}, "is not what the record says (sha256)"),
        (None, "has no config.json"),
    ],
)
def test_a_config_that_was_changed_is_not_believed(
    changes: dict[str, Any] | None, words: str, electra_run: Kit
) -> None:
    config = electra_run.logs / "model" / "config.json"
    if changes is None:
        config.unlink()
    else:
        config.write_text(json.dumps(json.loads(config.read_text("utf-8")) | changes))
    result = electra_run.compare()
    assert result.code == 4
    assert words in result.error
    assert electra_run.summary["verdict"] == "INVALID"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"auto_map": {"AutoModel": "mine.Mine"}}, "names code of its own (auto_map)"),
        ({"quantization_config": {"bits": 4}}, "is of quantised weights"),
        ({"quantization": {"group_size": 64, "bits": 4}}, "is of quantised weights"),
        ({"architectures": ["os"]}, "names the class 'os', which is none of transformers"),
        ({"architectures": ["BertModel"]}, "names the class 'BertModel', which is none"),
        ({"model_type": "not_yet_born"}, "has no model of the type 'not_yet_born'"),
    ],
)
def test_what_the_kit_cannot_run_is_unsupported(
    changes: dict[str, Any], words: str, saved: Saved, kit: Kit
) -> None:
    folder = copy_with(saved("electra"), kit.scratch / "changed", changes)
    result = kit.infer("--model", folder, *QUICK)
    assert result.code == 3
    assert words in result.error
    if (kit.logs / "run.json").exists():  # it began: the record says how it ended
        assert kit.record["status"] == "UNSUPPORTED"
        assert kit.record["error"]["message"] in kit.record["reason_codes"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, beyond 1000"),
        ({"hidden_size": 10**15}, "beyond"),
        ({"model_type": None}, "has no model_type"),
        ({"hidden_size": "wide"}, "config.json"),
        ({"vocab_size": -5}, "cannot build ElectraForPreTraining"),
    ],
)
def test_a_config_beyond_its_bounds_is_bad_input(
    changes: dict[str, Any], words: str, saved: Saved, tmp_path: Path
) -> None:
    folder = copy_with(saved("electra"), tmp_path / "changed", changes)
    with pytest.raises(UsageError) as raised:
        from_folder(folder).build()
    assert words in raised.value.message


def test_every_step_is_made_of_a_text_that_ends_at_once(saved: Saved) -> None:
    folder = saved("t5")
    adapter = from_folder(folder)
    model: Any = adapter.build()
    load_weights(adapter, model, [folder / WEIGHTS], seed=0)
    tokens = adapter.traced(model, adapter.load_input(None, {})).tensors["trace_ids"]
    assert tokens.shape == (2, 8) and (tokens[:, :-1] == model.config.eos_token_id).any()


def test_an_image_in_patches_of_no_size_is_unsupported(saved: Saved, tmp_path: Path) -> None:
    config = json.loads((saved("qwen2_vl") / "config.json").read_text("utf-8"))
    config["vision_config"]["spatial_merge_size"] = 0
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match="needs image_grid_thw, which nobody can guess"):
        from_folder(tmp_path).load_input(None, {})


def test_an_old_config_that_takes_the_names_off_its_output(saved: Saved, tmp_path: Path) -> None:
    folder = copy_with(
        saved("electra"), tmp_path / "old", {"torchscript": True, "return_dict": False}
    )
    adapter, verdict, outputs = ran(from_folder(folder), [folder / WEIGHTS])
    assert verdict == "PASS" and adapter.primary in outputs and "0" not in outputs


def test_an_input_that_nobody_can_guess_is_unsupported(tmp_path: Path) -> None:
    config = {"model_type": "decision_transformer", "architectures": ["DecisionTransformerModel"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match="none of which the kit can make"):
        from_folder(tmp_path).load_input(None, {})


def test_inputs_that_do_not_go_together_are_unsupported(saved: Saved) -> None:
    folder = saved("electra")
    adapter = from_folder(folder)
    model = adapter.build()
    load_weights(adapter, model, [folder / WEIGHTS], seed=0)
    lengths = {"input_ids": 5, "token_type_ids": 7}
    given = {name: torch.ones((1, each), dtype=torch.int64) for name, each in lengths.items()}
    with pytest.raises(UnsupportedError, match="does not run on inputs made by its config"):
        adapter.forward(model, given)


def test_an_image_in_patches_is_cut_by_its_own_processor(saved: Saved, tmp_path: Path) -> None:
    adapter = from_folder(saved("qwen2_vl"))
    own = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 16, "merge_size": 2}
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(own | {"min_pixels": 1024, "max_pixels": 20000}))
    made = adapter.load_input(None, {file.name: file}).tensors
    frames, rows, columns = made["image_grid_thw"][0].tolist()
    assert frames * rows * columns == len(made["pixel_values"]) and rows < columns
    assert int((made["input_ids"] == 299).sum()) == rows * columns // 4


def test_a_tokenizer_beside_the_weights_reads_the_text(saved: Saved, kit: Kit) -> None:
    words = "[UNK] all human beings are born free and equal in dignity rights".split()
    folder = copy_with(saved("electra"), kit.scratch / "with_tokenizer", {})
    write_words(folder / "tokenizer.json", words)
    result = kit.infer("--model", folder, *QUICK, "--input", "free and equal human beings")
    assert result.code == 0, result.err
    assert kit.record["input"]["description"] == "free and equal human beings"
    assert kit.record["input"]["input_tokens"] == 5
    adapter, beside = from_folder(folder), {"tokenizer.json": folder / "tokenizer.json"}
    assert adapter.load_input("free free free free", beside).input_tokens == 4
    write_words(folder / "tokenizer.json", ["[UNK]", "nothing"])
    result = kit.infer("--model", folder, *QUICK)
    assert result.code == 3
    assert "tokenizer.json is not this model's" in result.error


def test_a_folder_without_weights_still_says_how_its_text_is_read(saved: Saved, npu: Kit) -> None:
    folder = copy_with(saved("electra"), npu.scratch / "config_only", {})
    (folder / WEIGHTS).unlink()
    write_words(folder / "tokenizer.json", "[UNK] all human beings are born free".split())
    texts = npu.scratch / "texts.txt"
    texts.write_text("all human beings are born\nborn free\n")
    result = npu.infer("--model", folder, *QUICK, "--data", texts)
    assert result.code == 0, result.err
    weights, fed = npu.record["weights"], npu.record["input"]
    assert "RANDOM WEIGHTS" in result.err and weights["pretrained_used"] is False
    assert "not at hand" not in fed["description"] and fed["input_tokens"] == 13
    found = {each["target"]: each["outcome"] for each in weights["attempts"]}
    assert found == {"file:model.safetensors": "absent", "file:tokenizer.json": "found"}
    # The reference's samples are read by the same file.
    assert npu.compare().code == 0
    assert npu.summary["samples"]["count"] == 2


def test_a_name_of_timms_needs_no_network(kit: Kit) -> None:
    result = kit.infer("--model", "timm/test_vit.r160_in1k", *QUICK)
    assert result.code == 0, result.err
    assert "RANDOM WEIGHTS" in result.err
    assert kit.record["model"]["hub_id"] == "timm/test_vit.r160_in1k"
    assert kit.record["input"]["tensors"]["pixel_values"]["shape"] == [1, 3, 160, 160]
    assert kit.compare().code == 0
    assert kit.summary["verdict"] == "SELF_CHECK"


def test_timms_local_folder(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    adapter = from_timm_registry("test_resnet")
    assert adapter is not None
    config = json.loads(adapter.files["config.json"])
    config["num_classes"] = 0
    (tmp_path / "config.json").write_text(json.dumps(config))
    folder = from_folder(tmp_path)
    model = folder.build()
    load_weights(folder, model, [], seed=3)
    save_file(model.state_dict(), tmp_path / WEIGHTS)
    adapter, verdict, outputs = ran(from_folder(tmp_path), [tmp_path / WEIGHTS])
    assert verdict == "PASS"
    assert outputs.keys() == {"features"} and adapter.primary == "features"
    config["model_args"] = {"checkpoint_path": "/etc/passwd"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="may not set checkpoint_path"):
        from_folder(tmp_path).build()


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"in_chans": 1}, (1, 1, 160, 160)),
        ({"in_chans": 12}, (1, 12, 160, 160)),
        ({"img_size": [64, 128], "dynamic_img_size": False}, (1, 3, 64, 128)),
    ],
)
def test_timms_input_is_what_the_model_was_built_for(
    arguments: dict[str, Any], shape: tuple[int, ...], tmp_path: Path
) -> None:
    adapter = from_timm_registry("test_vit")
    assert adapter is not None
    config = json.loads(adapter.files["config.json"]) | {"model_args": arguments}
    (tmp_path / "config.json").write_text(json.dumps(config))
    adapter, verdict, _ = ran(from_folder(tmp_path), [])
    made = adapter.load_input(None, {})
    assert verdict == "PASS" and tuple(made.tensors["pixel_values"].shape) == shape
    assert ("in grey" in made.description) is (shape[1] != 3)


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_parameters_that_are_let_go_again_are_not_filled(name: str) -> None:
    ours = from_timm_registry(name)
    assert ours is not None
    drawn = torch.get_rng_state()
    ours.build()
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    "name", ["timm:swin_tiny_patch4_window7_224", "timm:vit_small_r26_s32_224", *DOZEN, "roformer"]
)
def test_buffers_are_those_of_the_librarys_own_construction(name: str, saved: Saved) -> None:
    """No file holds them: position ids, rotary frequencies, relative positions, Swin's masks."""
    library, _, timm_name = name.rpartition(":")
    ours = from_timm_registry(timm_name) if library else from_folder(saved(name))
    assert ours is not None
    built = ours.build()
    computed = set()
    if library:
        import timm

        ordinary: torch.nn.Module = timm.create_model(timm_name)
    else:
        import transformers

        config = transformers.AutoConfig.from_pretrained(saved(name))
        ordinary = getattr(transformers, TYPES[name]["class"])(config)
        computed = set(getattr(ordinary, "_keys_to_ignore_on_save", None) or ())
    parameters = dict(ordinary.named_parameters())
    assert {key: each.shape for key, each in built.named_parameters()} == {
        key: each.shape for key, each in parameters.items() if key not in computed
    }
    assert all(each.is_meta for each in built.parameters())
    buffers = dict(ordinary.named_buffers()) | {key: parameters[key] for key in computed}
    assert dict(built.named_buffers()).keys() == buffers.keys()
    for key, buffer in built.named_buffers():
        assert torch.equal(buffer, buffers[key]), key


def test_new_writes_a_folder_that_runs(saved: Saved, tmp_path: Path) -> None:
    for name in ("kit", "models"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "inference.py", tmp_path)
    kit = Kit(tmp_path)
    commands: tuple[tuple[object, ...], ...] = (
        ("-m", "kit", "new", saved("clip"), "--name", "small_clip"),
        (tmp_path / "inference.py", "--model", "small_clip", *QUICK, "--logs", kit.logs),
    )
    for command in commands:
        result = ended(start_python(*command, env=kit.environment(), cwd=tmp_path))
        assert result.code == 0, result.err
    assert kit.record["model"]["adapter"] == "small_clip"
    assert "logits_per_image" in kit.record["model"]["outputs"]
    assert "RANDOM WEIGHTS" in result.err


def copy_with(folder: Path, to: Path, changes: dict[str, Any]) -> Path:
    """A copy of a model's folder whose config.json has these values; None takes one out."""
    shutil.copytree(folder, to)
    config = json.loads((to / "config.json").read_text("utf-8")) | changes
    config = {name: value for name, value in config.items() if value is not None}
    (to / "config.json").write_text(json.dumps(config))
    return to


def write_words(path: Path, words: list[str]) -> None:
    """A tokenizer.json that knows these words, the first for all others."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=words[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(path))
