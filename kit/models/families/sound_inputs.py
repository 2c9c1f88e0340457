"""Sound: its samples, or a spectrogram by the model's own processor, else a seeded one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.errors import CannotRunError, visible
from kit.models.families.making import PROCESSOR, Making, uniform
from kit.models.families.sound import read_sound, sample_sound
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor

_SAMPLING_RATE = 16_000
_FASTEST = 1_000_000


def input_values(making: Making) -> Tensor | None:
    """A sound, float32 [1, samples] or [1, channels, samples]; a spectrogram [1, frames, bins]
    where the config speaks of one."""
    if (extractor := making.processor("feature_extractor")) is not None:
        return _extracted(making, extractor, "input_values")
    bins, frames = making.size("num_mel_bins"), making.size("max_length")
    if bins and frames:
        _say_seeded_spectrogram(making)
        return uniform("input_values", 1, frames, bins)
    rate = making.size("sampling_rate", default=_SAMPLING_RATE) or _SAMPLING_RATE
    sound = _sound(making, rate, f" ({PROCESSOR} is not at hand)")
    channels = getattr(making.config, "audio_channels", None)
    return sound.expand(1, channels, -1).clone() if channels else sound.unsqueeze(0)


def input_features(making: Making) -> Tensor | None:
    """A spectrogram: [1, bins, frames] for Whisper's kind, [1, frames, bins] for others."""
    if (extractor := making.processor("feature_extractor")) is not None:
        return _extracted(making, extractor, "input_features")
    _say_seeded_spectrogram(making)
    if bins := making.size("input_feat_per_channel", "feature_projection_input_dim"):
        return uniform("input_features", 1, 128, bins)
    bins = making.size("num_mel_bins", default=80) or 80
    if positions := making.size("max_source_positions"):
        return uniform("input_features", 1, bins, 2 * positions)
    return uniform("input_features", 1, 128, bins)


def _extracted(making: Making, extractor: Any, name: str) -> Tensor | None:
    rate = getattr(extractor, "sampling_rate", _SAMPLING_RATE)
    with making.using_processor():
        if type(rate) is not int or not 0 < rate <= _FASTEST:
            raise ValueError(f"sampling_rate is {rate!r}, and no number of samples a second")
    if name not in extractor.model_input_names:
        return None
    sound = _sound(making, rate)
    with making.using_processor():
        tensor: Tensor = extractor(sound.numpy(), sampling_rate=rate, return_tensors="pt")[name]
    return tensor


def _sound(making: Making, rate: int, remark: str = "") -> Tensor:
    """The user's sound or the kit's own, float32 [samples] at `rate` Hz."""
    value = making.take_value()
    path = sample_sound() if value is None else Path(value)
    sound, own = read_sound(path, rate)
    seconds = len(sound) / rate
    resampled = "" if own == rate else f", resampled from {own} Hz"
    making.said.append(
        f"sound {visible(path.name)} ({seconds:.1f} s at {rate} Hz{resampled}){remark}"
    )
    return sound


def _say_seeded_spectrogram(making: Making) -> None:
    """Raises CannotRunError where the user gave a sound: only the model's own file says how it is seen."""
    if making.value is not None and not making.value_used:
        raise CannotRunError(Reason("sound_needs", file=PROCESSOR), Reason("put_beside"))
    making.said.append(f"seeded spectrogram ({PROCESSOR} is not at hand)")
