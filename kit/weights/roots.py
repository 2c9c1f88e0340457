"""Where the caches of weights lie on this machine. Needs no package, as the doctor does not."""

from __future__ import annotations

import os
from pathlib import Path


def hf_root() -> Path:
    """The Hugging Face cache, by the environment at the time of the call, as the library has it."""
    env = os.environ.get
    named = env("HF_HUB_CACHE") or env("HUGGINGFACE_HUB_CACHE")
    home = env("HF_HOME") or f"{env('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return _expanded(named or f"{home}/hub")


def roots(source: str) -> tuple[Path, ...]:
    """The declared root folders of one local source."""
    if source == "hf-cache":
        return (hf_root(),)
    if source == "modelscope-cache":
        return (_expanded(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope"),)
    named = os.environ.get("KIT_WEIGHTS_CACHE", "").split(os.pathsep)
    return tuple(_expanded(root) for root in named if root)


def _expanded(path: str) -> Path:
    # Not Path.expanduser: that one raises for a user without a home, as in many containers.
    return Path(os.path.expanduser(os.path.expandvars(path))).absolute()  # noqa: PTH111
