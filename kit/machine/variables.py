"""Environment variables that libraries read as numbers while they are imported."""

from __future__ import annotations

import os

from kit.errors import CannotRunError, shown

# Each library passes the text to int(), whose error names no variable.
_NUMBERS = {
    "huggingface_hub": ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"),
    "timm": ("TIMM_FUSED_ATTN", "TIMM_USE_SCIPY_INTERP", "TIMM_USE_OLD_CACHE"),
    "transformers": ("NPU_FA2_SPARSE_MODE",),
}
LIBRARIES = tuple(_NUMBERS)


def check_numbers(*libraries: str) -> None:
    """Raise CannotRunError, naming the variable, where one of these could not be imported for it."""
    for name in (name for library in libraries for name in _NUMBERS[library]):
        if (value := os.environ.get(name)) is None:
            continue
        try:
            int(value)
        except ValueError:
            raise CannotRunError(
                f"the environment's {name} is {shown(value[:80])}, and its library takes a whole number",
                f"unset {name}, or set it to one",
            ) from None
