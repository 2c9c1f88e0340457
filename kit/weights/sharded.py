"""A checkpoint in several safetensors files: the index that names them, and what it must not name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.errors import shown
from kit.storage.file_kinds import why_no_json
from kit.weights.weight_file import DamagedFileError, check_safetensors
from kit.words import Reason

# The largest models have some hundred thousand tensors.
_INDEX_LIMIT_BYTES = 100_000_000
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.safetensors")


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """`shards` are plain file names beside the index, in their order, each with the tensors that the index
    says it holds; `total_bytes` is what the index says of all tensors together, None where it does not."""

    shards: Mapping[str, frozenset[str]]
    total_bytes: int | None


def index_of(weights: str) -> str:
    """The name of the index that stands for a weights file in several parts."""
    return f"{weights}.index.json"


def is_index(path: Path) -> bool:
    """Whether a file is named as an index: what it holds, read_index() says."""
    return path.name.endswith(".index.json")


def read_index(path: Path) -> ShardIndex:
    """The index in a file. Raises DamagedFileError where it is none or names a file that is not beside it,
    OSError."""
    if path.stat().st_size > _INDEX_LIMIT_BYTES:
        raise DamagedFileError(Reason("index_too_large"))
    content = path.read_bytes()
    try:
        document = json.loads(content)
        tensors = dict(document["weight_map"])
        total = (document.get("metadata") or {}).get("total_size")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        what, cure = why_no_json(content, error)
        raise DamagedFileError(Reason("no_index", why=what), cure) from error
    shards: dict[str, set[str]] = {}
    for tensor, shard in tensors.items():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard) or ".." in shard:
            raise DamagedFileError(
                Reason("index_names_other", shard=shown(shard)[:100], tensor=shown(tensor)[:100])
            )
        shards.setdefault(shard, set()).add(tensor)
    if not shards:
        raise DamagedFileError(Reason("index_empty"))
    return ShardIndex(
        shards={name: frozenset(shards[name]) for name in sorted(shards)},
        total_bytes=total if type(total) is int and total >= 0 else None,
    )


def check_shard(path: Path, index: ShardIndex, name: str) -> None:
    """Raise DamagedFileError unless the file is sound and holds what the index says of the shard `name`;
    OSError."""
    if lost := index.shards[name] - check_safetensors(path):
        raise DamagedFileError(Reason("lacks_tensors", count=len(lost), first=min(lost)))


def check_folder(path: Path) -> ShardIndex:
    """The index at `path`, with every shard sound beside it. Raises DamagedFileError, which names the shard
    that is missing or damaged; OSError."""
    index = read_index(path)
    missing = [name for name in index.shards if not (path.parent / name).is_file()]
    if missing:
        raise DamagedFileError(
            Reason(
                "shards_missing",
                count=len(missing),
                total=len(index.shards),
                names=[*missing[:3], *(["..."] if len(missing) > 3 else [])],
            )
        )
    for name in index.shards:
        try:
            check_shard(path.parent / name, index, name)
        except DamagedFileError as error:
            raise DamagedFileError(
                Reason("shard_damaged", name=name, why=error.reason), error.cure
            ) from error
    return index
