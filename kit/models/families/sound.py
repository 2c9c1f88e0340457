"""A sound as an input: the kit's own, and anybody's WAV file."""

from __future__ import annotations

import math
import wave
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import UsageError, shown, words_of
from kit.storage.names import check_regular
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor

_LONGEST_SECONDS = 600
# Bytes of a sample: 8 bits are unsigned, the wider ones signed.
_WIDTHS = {1: "u1", 2: "<i2", 4: "<i4"}


def synthetic_sound(rate: int) -> Tensor:
    """A second of a rising tone with two overtones, float32 [rate], within [-0.7, 0.7]."""
    import torch

    time = torch.arange(rate, dtype=torch.float64) / rate
    phase = 2 * math.pi * (110 * time + 165 * time**2)
    tone = 0.4 * phase.sin() + 0.2 * (2 * phase).sin() + 0.1 * (3 * phase).sin()
    return tone.float()


def check_sound(path: Path) -> None:
    """Raise UsageError where `path` is no WAV file of whole numbers, empty, or longer than ten minutes."""
    try:
        check_regular(path)
        with wave.open(str(path)) as file:
            width, seconds = file.getsampwidth(), file.getnframes() / file.getframerate()
    except (OSError, EOFError, wave.Error) as error:
        what = words_of(error) or Reason("ends_early")
        raise UsageError(
            Reason("no_sound", file=shown(path), said=what), Reason("give_sound")
        ) from error
    if width not in _WIDTHS:
        bits = Reason("sample_bits", file=shown(path), bits=8 * width)
        raise UsageError(bits, Reason("give_sound"))
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise UsageError(
            Reason("sound_seconds", file=shown(path), seconds=seconds),
            Reason("give_seconds", most=_LONGEST_SECONDS),
        )


def read_sound(path: Path, rate: int) -> Tensor:
    """The sound, float32 [samples] in [-1, 1], the mean of its channels. Raises UsageError as
    check_sound(), and for another rate than `rate` Hz: both sides would have to resample alike."""
    import numpy as np
    import torch

    check_sound(path)
    with wave.open(str(path)) as file:
        if file.getframerate() != rate:
            other = Reason("other_rate", file=shown(path), given=file.getframerate(), wanted=rate)
            raise UsageError(other, Reason("resample"))
        width, channels = file.getsampwidth(), file.getnchannels()
        samples = np.frombuffer(file.readframes(file.getnframes()), _WIDTHS[width])
    half = 2.0 ** (8 * width - 1)
    scaled = (samples.astype("float64") - (half if width == 1 else 0.0)) / half
    return torch.from_numpy(
        scaled[: len(scaled) // channels * channels].reshape(-1, channels).mean(1)
    ).float()
