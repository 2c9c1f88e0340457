"""A package without code for an Ascend host: it stops pip where there is no torch to be left alone.

PyPI's torch would be a CUDA build of several GB there, beside which torch_npu aborts the process.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "installed_torch"))

from pins import installed, write_wheel


def build_wheel(
    wheel_directory: str,
    config_settings: object = None,
    metadata_directory: str | None = None,
) -> str:
    """PEP 517: write the wheel, which holds nothing but metadata, and return its name."""
    if installed("torch") is None:
        sys.exit(
            "requirements-npu.txt is for hosts that have torch and torch_npu; this Python has no "
            "torch: install the pair that matches CANN first, or take requirements.txt"
        )
    return write_wheel(Path(wheel_directory), "npu_host", {})
