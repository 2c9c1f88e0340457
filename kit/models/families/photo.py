"""A photograph as an input: the kit's own, and opening and checking anybody's."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import UsageError, shown, visible, words_of
from kit.storage.names import check_regular
from kit.words import Reason

if TYPE_CHECKING:
    from PIL import Image

# Preprocessing scales the short side up first: a line of pixels would take gigabytes.
_LONGEST_RATIO = 50
# A quarter of a gigabyte once decoded, and as much again while it is turned upright.
_MOST_PIXELS = 64_000_000


def sample_photo() -> Path:
    """The photograph that ships with the kit (kit/models/samples/photo.txt says whose it is)."""
    return Path(__file__).parents[1] / "samples" / "photo.png"


def chosen_photo(value: str | None) -> tuple[Image.Image, str]:
    """The user's image or the kit's photograph, in RGB, and what is said of it. Raises UsageError."""
    path = sample_photo() if value is None else Path(value)
    check_photo(path)
    image = open_upright(path)
    return image, f"image {visible(path.name)} ({image.width}x{image.height} pixels)"


def check_photo(path: Path) -> None:
    """Raise UsageError where `path` is not an image file that Pillow can read."""
    try:
        check_regular(path)
        width, height = open_upright(path).size
    except (ImportError, UsageError):
        raise  # Pillow is not there: no fault of the file; or it is told what is wrong
    # Pillow raises SyntaxError, ValueError and others besides OSError on damaged files.
    except Exception as error:
        raise UsageError(
            Reason("no_image", file=shown(path), said=words_of(error)), Reason("give_image")
        ) from error
    if max(width, height) > _LONGEST_RATIO * min(width, height):
        line = Reason("a_line", file=shown(path), width=width, height=height)
        raise UsageError(line, Reason("give_photograph"))


def check_size(height: int, width: int, file: str) -> None:
    """Raise UsageError where a file asks for an image of more pixels than are made in a moment."""
    if height * width > _MOST_PIXELS:
        size = f"{height} x {width} pixels"
        beyond = Reason("beyond_limit", file=file, name="size", value=size, limit=str(_MOST_PIXELS))
        raise UsageError(beyond, Reason("correct_it"))


def open_upright(path: Path) -> Image.Image:
    """The image in RGB, turned as its EXIF orientation says. Raises what Pillow raises, UsageError for more
    pixels than are decoded in a moment."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused below
        opened = Image.open(path)
    with opened as image:
        if image.width * image.height > _MOST_PIXELS:
            raise UsageError(
                Reason(
                    "many_pixels",
                    file=shown(path),
                    width=image.width,
                    height=image.height,
                    most=_MOST_PIXELS // 10**6,
                ),
                Reason("scale_down"),
            )
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):  # 16 bits: convert() alone would clip them to white
            upright = upright.convert("I").point(lambda value: value / 256)
        return upright.convert("RGB")
