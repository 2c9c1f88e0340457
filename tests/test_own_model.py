"""Models that no library has: a declaration and an adapter of one's own, in a checkout of its own."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path

import numpy
import pytest
import torch
from conftest import QUICK, ROOT, Kit, Result, ended
from real_weights import SILERO, SPEECH, unpacked
from safetensors.torch import load_file
from starting import start_python


class Checkout:
    """The kit with one more model, in `kit.scratch`."""

    def __init__(self, kit: Kit, name: str, declaration: str, adapter: str) -> None:
        self.kit, self.name = kit, name
        for each in ("kit", "models", "inference.py", "compare_accuracy.py"):
            place = shutil.copytree if (ROOT / each).is_dir() else shutil.copy
            place(ROOT / each, kit.scratch / each)
        self.folder = kit.scratch / "models" / name
        self.folder.mkdir()
        (self.folder / "model.toml").write_text(declaration)
        (self.folder / "adapter.py").write_text(adapter)

    def infer(self, *arguments: object) -> Result:
        return self._run("inference.py", "--model", self.name, *QUICK, *arguments)

    def compare(self, *arguments: object) -> Result:
        return self._run("compare_accuracy.py", *arguments)

    def _run(self, script: str, *arguments: object) -> Result:
        kit = self.kit
        logs = ("--logs", kit.logs)
        process = start_python(
            kit.scratch / script, *arguments, *logs, env=kit.environment(), hidden=kit.hidden
        )
        return ended(process)


OWN_DECLARATION = f"""
name = "me/own"
hub_id = "me/own"
revision = "{"0" * 40}"
vendor = "me"
task = "voice activity"
pipeline_tag = "voice-activity-detection"
library = "torch"
license = "mit"
architecture = "Own"
"""
OWN_ADAPTER = """
from kit.models.adapter import Adapter, ModelInput, OutputSpec


class Own(Adapter):
    primary = "speech"
    outputs = {"speech": OutputSpec(role="features")}

    def check_input(self, value):
        pass

    def build(self):
        import torch
        from torch import nn

        with torch.device("meta"):
            return nn.Sequential(nn.Conv1d(1, 8, 9, stride=4), nn.ReLU(), nn.Conv1d(8, 1, 9)).eval()

    def load_input(self, value, companions):
        import torch

        sound = torch.linspace(-1, 1, 512).sin()[None, None]
        return ModelInput(tensors={"sound": sound}, description="a rise")

    def forward(self, model, inputs):
        return {"speech": model(inputs["sound"])}


ADAPTER = Own
"""


def test_a_model_of_ones_own_needs_a_declaration_and_an_adapter(kit: Kit) -> None:
    """The form with code: a module that no library has."""
    checkout = Checkout(kit, "own", OWN_DECLARATION, OWN_ADAPTER)
    for result in (checkout.infer(), checkout.compare()):
        assert result.code == 0, result.err
    assert kit.record["model"]["adapter"] == "own"
    assert kit.summary["verdict"] == "SELF_CHECK"


def test_modules_that_will_not_be_watched_cost_no_verdict(npu: Kit) -> None:
    plain = 'return {"speech": model(inputs["sound"])}'
    unwatched = "if '_call_impl' in vars(model): raise TypeError('nobody looks in here')\n        "
    assert plain in OWN_ADAPTER
    adapter = OWN_ADAPTER.replace(plain, unwatched + plain)
    checkout = Checkout(npu, "own", OWN_DECLARATION, adapter)
    for result in (checkout.infer(), checkout.compare("--localize")):
        assert result.code == 0, result.err
    explanation = npu.summary["explanation"]
    broke_off = "looking for it broke off (TypeError: nobody looks in here)"
    assert npu.summary["verdict"] == "PASS"
    assert explanation["first_bad_module_reason"] == broke_off and explanation["layers"] is None
    assert broke_off in result.out
    assert "nobody looks in here" in (npu.logs / "report.md").read_text("utf-8")


SILERO_DECLARATION = """
name = "silero-vad"
hub_id = ""
revision = ""
vendor = "Silero"
task = "voice activity detection"
pipeline_tag = "voice-activity-detection"
library = "torch"
license = "mit"
architecture = "SileroVAD"
weights = "silero_vad_16k.safetensors"
parameters = 309633
tensors = 15

[published]
"silero_vad_16k.safetensors" = "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1"
"""
SILERO_ADAPTER = """
import wave

import numpy
import torch
from torch import nn

from kit.errors import UsageError
from kit.models.adapter import Adapter, ModelInput, OutputSpec


class SileroVAD(nn.Module):
    def __init__(self):
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, sound):
        # Each 512 samples with the 64 before them: 32 ms at 16 kHz.
        chunks = nn.functional.pad(sound, (64, 0)).unfold(1, 576, 512)[0]
        real, imaginary = self.stft_conv(nn.functional.pad(chunks, (0, 64), "reflect")[:, None]).chunk(2, 1)
        x = (real**2 + imaginary**2).sqrt()
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = convolution(x).relu()
        state, speech = None, []
        for step in x.squeeze(-1).split(1):
            state = self.lstm_cell(step, state)
            speech.append(self.final_conv(state[0].relu()[..., None]).sigmoid().flatten())
        return torch.stack(speech, 1)


class Silero(Adapter):
    primary = "speech"
    outputs = {"speech": OutputSpec(role="features")}

    def check_input(self, value):
        if value is not None and not value.endswith(".wav"):
            raise UsageError("is no .wav file", "give 16 kHz, 16 bits, mono")

    def build(self):
        with torch.device("meta"):
            return SileroVAD().eval()

    def load_input(self, value, companions):
        with wave.open(value or str(self.place / "speech.wav")) as file:
            sound = numpy.frombuffer(file.readframes(file.getnframes()), "<i2") / numpy.float32(32768)
        return ModelInput(tensors={"sound": torch.from_numpy(sound)[None]}, description="speech")

    def forward(self, model, inputs):
        return {"speech": model(inputs["sound"])}


ADAPTER = Silero
"""


@pytest.mark.full
def test_trained_weights_of_a_model_of_ones_own(
    npu: Kit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """silero-vad: 20 lines of torch, the package's weights, and what its authors' own program says."""
    shared = tmp_path_factory.getbasetemp().parent
    data = unpacked(SILERO, shared) / "silero_vad" / "data"
    checkout = Checkout(npu, "silero_vad", SILERO_DECLARATION, SILERO_ADAPTER)
    speech = shutil.copy(
        unpacked(SPEECH, shared) / "moonshine_onnx" / "assets" / "beckett.wav",
        checkout.folder / "speech.wav",
    )
    weights = ("--weights", data / "silero_vad_16k.safetensors", "--require-pretrained")
    for result in (checkout.infer(*weights), checkout.compare()):
        assert result.code == 0, result.err
    summary = npu.summary
    assert (summary["pretrained_used"], summary["simulated"]) == (True, True)
    assert (summary["verdict"], summary["match_within_1_percent"]) == ("PASS", True)
    assert summary["max_abs_diff"] > 1e-6, "HF32 convolutions show"
    ours = load_file(npu.logs / "outputs.safetensors")["speech"]
    theirs = authors_program(data, Path(speech))
    assert torch.allclose(ours, theirs, atol=5e-3)
    assert (theirs > 0.5).any() and (theirs < 0.1).any()


# The authors' names in their program; its own weights are of a later training.
THEIRS = {
    "stft.forward_basis_buffer": "stft_conv.weight",
    **{
        f"encoder.{layer - 1}.reparam_conv.{kind}": f"conv{layer}.{kind}"
        for layer in range(1, 5)
        for kind in ("weight", "bias")
    },
    **{
        f"decoder.rnn.{kind}_{of}": f"lstm_cell.{kind}_{of}"
        for kind in ("weight", "bias")
        for of in ("ih", "hh")
    },
    **{f"decoder.decoder.2.{kind}": f"final_conv.{kind}" for kind in ("weight", "bias")},
}


def authors_program(data: Path, speech: Path) -> torch.Tensor:
    """Chances of speech [1, chunks] by the authors' TorchScript, with the weights of the run."""
    with wave.open(str(speech)) as file:
        sound = numpy.frombuffer(file.readframes(file.getnframes()), "<i2") / numpy.float32(32768)
    model, weights = (
        torch.jit.load(data / "silero_vad.jit"),
        load_file(data / "silero_vad_16k.safetensors"),
    )
    own = model.state_dict()
    with torch.no_grad():
        for name, ours in THEIRS.items():
            own[f"_model.{name}"].copy_(weights[ours])
        told = [
            model(each[None], 16000)
            for each in torch.from_numpy(sound).split(512)
            if len(each) == 512
        ]
    return torch.cat(told, 1)
