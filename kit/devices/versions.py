"""Versions of torch and torch_npu, as texts: nothing is imported to compare them."""

from __future__ import annotations

import re


def versions_match(npu_version: str, torch_version: str) -> bool:
    """Whether a torch_npu is for this torch; versions that cannot be read are taken to match."""
    ours, theirs = release_of(npu_version), release_of(torch_version)
    return ours is None or theirs is None or ours == theirs


def release_of(version: str) -> str | None:
    """2.9.0.post2, 2.9.0rc1 and a 2.9.0a0+git of an Ascend image all belong to 2.9.0."""
    match = re.match(r"\d+\.\d+\.\d+", version)
    return match[0] if match else None
