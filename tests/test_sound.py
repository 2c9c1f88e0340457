"""A sound as the input: a WAV file of the user's, read as it is or refused with what it is."""

from __future__ import annotations

import hashlib
import json
import wave
from pathlib import Path

import pytest
import torch
from conftest import QUICK, Kit
from small_transformers import save_small

from kit.errors import CannotRunError, UsageError
from kit.models.adapter import Adapter
from kit.models.derived import from_folder
from kit.models.families.sound import check_sound, read_sound, sample_sound

RATE = 16_000


def write(
    path: Path, samples: bytes, *, width: int = 2, channels: int = 1, rate: int = RATE
) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setsampwidth(width)
        file.setnchannels(channels)
        file.setframerate(rate)
        file.writeframes(samples)
    return path


@pytest.mark.parametrize(
    ("samples", "width", "channels", "values"),
    [
        (b"\x00\x00\xff\x7f\x00\x80", 2, 1, [0.0, 32767 / 32768, -1.0]),
        (b"\x80\x00\xff", 1, 1, [0.0, -1.0, 127 / 128]),
        (b"\x00\x00\x00\x40" * 2, 4, 1, [0.5, 0.5]),
        (b"\x00\x40\x00\x00\x00\x80\x00\x00", 2, 2, [0.25, -0.5]),
    ],
)
def test_samples_of_every_width_and_the_mean_of_channels(
    samples: bytes, width: int, channels: int, values: list[float], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.wav", samples, width=width, channels=channels)
    sound, rate = read_sound(path, RATE)
    assert torch.equal(sound, torch.tensor(values)) and rate == RATE


def test_what_is_no_sound_that_can_be_read(tmp_path: Path) -> None:
    text, cut, still = (tmp_path / f"{name}.wav" for name in ("text", "cut", "still"))
    text.write_text("no sound at all")
    whole = write(tmp_path / "whole.wav", b"\0" * 100).read_bytes()
    cut.write_bytes(whole[:20])
    still.write_bytes(whole[:24] + b"\0" * 4 + whole[28:])  # 0 Hz
    refused = {
        text: "not a readable WAV file",
        cut: "not a readable WAV file",
        tmp_path: "not a readable WAV file (it is a folder)",
        tmp_path / "nowhere.wav": "not a readable WAV file",
        write(tmp_path / "24.wav", b"\0" * 9, width=3): "24 bits a sample",
        write(tmp_path / "empty.wav", b""): "0 s of sound",
        still: "not a readable WAV file",
        write(tmp_path / "long.wav", b"\0" * 700, width=1, rate=1): "700 s of sound",
    }
    for path, words in refused.items():
        with pytest.raises(UsageError) as raised:
            check_sound(path)
        assert words in raised.value.message


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 44_100, 48_000])
def test_a_sound_of_another_rate_is_the_same_sound(rate: int, tmp_path: Path) -> None:
    """Two tones that both rates have; what only the higher one has is left out."""

    def tones(at: int, *hertz: int) -> torch.Tensor:
        time = torch.arange(at, dtype=torch.float64) / at
        return torch.stack([(2 * torch.pi * each * time).sin() for each in hertz]).mean(0)

    high = [20_000] if rate > 40_000 else [200]
    given = (tones(rate, 440, 3000, *high) * 32767).round().short()
    sound, own = read_sound(write(tmp_path / "a.wav", given.numpy().tobytes(), rate=rate), RATE)
    expected = tones(RATE, 440, 3000, 200) if high == [200] else tones(RATE, 440, 3000) * 2 / 3
    assert own == rate and len(sound) == RATE
    assert (sound - expected).abs().max() < 1e-4


def test_the_sound_that_ships_is_the_one_that_is_described() -> None:
    path = sample_sound()
    assert hashlib.sha256(path.read_bytes()).hexdigest() in path.with_suffix(".txt").read_text()
    sound, _ = read_sound(path, RATE)
    assert len(sound) == 2 * RATE and 0.1 < sound.std() < 1


@pytest.fixture(scope="module")
def hubert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hubert") / "saved"
    save_small("hubert", folder)
    return folder


def test_a_model_hears_the_users_sound(kit: Kit, hubert: Path) -> None:
    tone = (torch.linspace(0, 500, RATE // 2).sin() * 9000).short()
    path = write(kit.scratch / "tone.wav", tone.numpy().tobytes())
    result = kit.infer("--model", hubert, *QUICK, "--input", path)
    assert result.code == 0, result.err
    assert kit.record["input"]["description"].startswith("sound tone.wav (0.5 s at 16000 Hz)")
    assert kit.record["input"]["tensors"]["input_values"]["shape"] == [1, RATE // 2]
    assert kit.record["arguments"]["input"] == "tone.wav"
    path.write_text("no sound")
    result = kit.infer("--model", hubert, *QUICK, "--input", path)
    assert result.code == 2 and "--input" in result.error and "readable WAV" in result.error


def test_how_a_spectrogram_is_made_only_the_models_own_file_says(tmp_path: Path) -> None:
    save_small("whisper", tmp_path / "saved")
    adapter: Adapter = from_folder(tmp_path / "saved")
    path = write(tmp_path / "a.wav", b"\0" * 2 * RATE)
    with pytest.raises(CannotRunError, match=r"needs the model's preprocessor_config\.json"):
        adapter.load_input(str(path), {})
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=2)
    parts = {"feature_extractor": extractor.to_dict(), "processor_class": "WhisperProcessor"}
    forms = {"preprocessor_config.json": extractor.to_dict(), "processor_config.json": parts}
    for name, document in forms.items():
        own = tmp_path / name.partition(".")[0] / name
        own.parent.mkdir()
        own.write_text(json.dumps(document))
        given = [adapter.load_input(value, {name: own}).tensors for value in (str(path), None)]
        assert given[0]["input_features"].shape == given[1]["input_features"].shape == (1, 80, 200)
        assert not torch.equal(given[0]["input_features"], given[1]["input_features"])
    (own.parent / name).write_text('{"processor_class": "WhisperProcessor"}')
    assert "seeded spectrogram" in adapter.load_input(None, {name: own}).description
