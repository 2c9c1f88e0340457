"""What the console is told of the weights: where they are from, and what to know of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from kit.evidence.logs import log
from kit.evidence.types.shared import Weights
from kit.weights.fitting import Account, random_heads

if TYPE_CHECKING:
    from kit.weights.casting import Cast


def tell_weights(before: Weights | None, now: Weights, seed: int) -> None:
    """What of the weights was not yet on record: where they are from, which heads are random, the cast."""
    if before is None:
        _tell_origin(now)
        if now.files and now.contents:
            tell_contents(now.contents, seed)
        before = now
    if (outputs := now.outputs_of_random_heads) != before.outputs_of_random_heads:
        log.warning(f"left out of the verdict, for their heads are random: {', '.join(outputs)}")
    if now.cast and now.cast is not before.cast:
        tell_cast(now.cast)


def _tell_origin(weights: Weights) -> None:
    if not weights.files:
        log.warning(f"RANDOM WEIGHTS (seed {weights.seed}): no pretrained weights were found")
        log.debug(weights.pretrained_reason)
        for attempt in weights.attempts:
            log.warning(f"  {attempt.source}: {attempt.line}")
        return
    file = weights.files[0]
    log.info(
        f"weights {weights.weight_path}: sha256 {file.sha256[:12]}... ({file.hash_origin}), "
        f"{weights.parameters:,} parameters"
    )


def tell_contents(account: Account, seed: int) -> None:
    """What of a file is not simply loaded, a line each."""
    for name, what in account.legacy.items():
        log.info(f"legacy tensor {name}: {what}")
    if account.renamed:
        log.info(f"{len(account.renamed)} tensors have new names in the library")
    if account.converted:
        log.info(f"{len(account.converted)} tensors are made by the library of the file's")
    if account.unused:
        log.warning(f"of no part of this architecture: {_some(account.unused)}")
    if account.nonfinite:
        count = sum(account.nonfinite.values())
        log.warning(
            f"{count:,} elements of the file are NaN or infinite, in {_some(account.nonfinite)}"
        )
    if heads := random_heads(account):
        log.warning(f"RANDOM HEAD (seed {seed}): no file carries {_some(heads)}")


def tell_cast(cast: Cast) -> None:
    """What the cast to the dtype of the run broke, and what it left alone."""
    if cast.kept_float32:
        log.info(f"{len(cast.kept_float32)} tensors stay float32, as the library keeps them")
    for what, lost in (("infinite", cast.became_infinite), ("0", cast.became_zero)):
        if lost:
            log.warning(
                f"cast to {cast.dtype}: {sum(lost.values()):,} elements became {what} in {_some(lost)}"
            )


def _some(names: Collection[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(list(names)[:3]) + more
