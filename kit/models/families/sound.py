"""A sound as an input: the kit's own, and anybody's WAV file."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import UsageError, shown, words_of
from kit.storage.names import check_regular
from kit.words import Reason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_LONGEST_SECONDS = 600
# Bytes of a sample: 8 bits are unsigned, the wider ones signed.
_WIDTHS = {1: "u1", 2: "<i2", 4: "<i4"}


def sample_sound() -> Path:
    """The sound that ships with the kit (kit/models/samples/sound.txt says whose it is)."""
    return Path(__file__).parents[1] / "samples" / "sound.wav"


def check_sound(path: Path) -> None:
    """Raise UsageError where `path` is no WAV file of whole numbers, empty, or longer than ten minutes."""
    try:
        check_regular(path)
        with wave.open(str(path)) as file:
            width, seconds = file.getsampwidth(), file.getnframes() / file.getframerate()
    except (OSError, EOFError, wave.Error, ZeroDivisionError) as error:
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


def read_sound(path: Path, rate: int) -> tuple[Tensor, int]:
    """The sound at `rate` Hz, float32 [samples], the mean of its channels, within [-1, 1] before it was
    resampled; and the file's own rate in Hz. Raises UsageError as check_sound()."""
    import numpy as np
    import torch

    check_sound(path)
    with wave.open(str(path)) as file:
        own, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
        samples = np.frombuffer(file.readframes(file.getnframes()), _WIDTHS[width])
    half = 2.0 ** (8 * width - 1)
    scaled = (samples.astype("float64") - (half if width == 1 else 0.0)) / half
    sound = scaled[: len(scaled) // channels * channels].reshape(-1, channels).mean(1)
    if own != rate:
        sound = _resampled(sound, max(1, round(len(sound) * rate / own)))
    return torch.from_numpy(sound).float(), own


def _resampled(sound: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """`length` samples of the same time, with the frequencies that both rates can hold."""
    import numpy as np

    frequencies = np.fft.rfft(sound)[: length // 2 + 1]
    return np.fft.irfft(frequencies, length) * (length / len(sound))
