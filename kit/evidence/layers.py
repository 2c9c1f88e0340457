"""layers.csv: every call of every module of one forward, with its errors."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields

from kit.errors import UntrustedError, words_of
from kit.evidence.logs import LAYERS, Logs
from kit.evidence.types.explanation import LayersFile
from kit.storage.file_kinds import check_at_hand
from kit.words import Reason

_SHOWN = 12
# Errors that are predicted are far above fp32's own from here on (relative L2).
_VISIBLE = 2.0**-17
# An own error over the predicted one: of a module that computed as predicted, and of one that did not.
_AS_PREDICTED, _WITHOUT = (0.5, 2.0), 0.1
_LARGEST_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One call, by the columns of the file. Errors are relative L2 against the CPU's fp32: accumulated
    along the forward, own and predicted on what the call took on the device, of all and of the worst row.
    None where it is not known; then `not_checked` says why."""

    order: int
    module: str
    call: int
    kind: str
    output_shapes: str
    accumulated_relative_l2: float | None
    own_relative_l2: float | None = None
    predicted_relative_l2: float | None = None
    explained_up_to: float | None = None
    own_worst_row: float | None = None
    predicted_worst_row: float | None = None
    over_band: float | None = None
    unexplained: bool = False
    not_checked: str


_COLUMNS = [field.name for field in fields(LayerRow)]
_READ: Mapping[str, Callable[[str], object]] = {
    "int": int,
    "str": str,
    "float | None": lambda text: float(text) if text else None,
    "bool": {"True": True, "False": False}.__getitem__,
}


def write_layers(logs: Logs, rows: Sequence[LayerRow]) -> LayersFile:
    """Write the file; what a summary says of it. Figures that are not known are empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    table.writerows(astuple(row) for row in rows)
    content = text.getvalue()
    logs.write_text(LAYERS, content)
    checked = sum(not row.not_checked for row in rows)
    return LayersFile(
        sha256=hashlib.sha256(content.encode("utf-8")).hexdigest(),
        checked=checked,
        not_checked=len(rows) - checked,
    )


def read_layers(logs: Logs, described: LayersFile) -> list[LayerRow]:
    """The rows. Raises UntrustedError where the file is not there, or not the one that is described,
    CannotRunError where it cannot be read now."""
    try:
        path = logs.path(LAYERS)
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError(f"larger than {_LARGEST_BYTES} bytes")
        check_at_hand(path)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != described.sha256:
            raise ValueError("its sha256 is not the summary's")
        head, *rows = csv.reader(io.StringIO(content.decode("utf-8")))
        if head != _COLUMNS:
            raise ValueError("it has other columns")
        return [_row(row) for row in rows]
    except (OSError, ValueError, LookupError, csv.Error) as error:
        why = words_of(error)
        raise UntrustedError(
            Reason("missing_or_damaged", name=LAYERS, why=why), Reason("run_again")
        ) from error


def _row(texts: Sequence[str]) -> LayerRow:
    kinds = (str(field.type) for field in fields(LayerRow))
    values = [_READ[kind](text) for kind, text in zip(kinds, texts, strict=True)]
    return LayerRow(**dict(zip(_COLUMNS, values, strict=True)))  # type: ignore[arg-type]


def arithmetic_by_calls(rows: Sequence[LayerRow]) -> Reason | None:
    """In how many module calls the device's arithmetic shows, of those where it should; None where it
    should in none. A flag only allows an arithmetic: libraries may take it for some operators and shapes
    (on an H200 TF32 for products of many rows, and for no depthwise convolution)."""
    ratios = [
        own / predicted
        for row in rows
        if (own := row.own_relative_l2) is not None
        and (predicted := row.predicted_relative_l2 or 0.0) > _VISIBLE
    ]
    if not ratios:
        return None
    least, most = _AS_PREDICTED
    return Reason(
        "arithmetic_by_calls",
        calls=len(ratios),
        shown=sum(least <= ratio <= most for ratio in ratios),
        without=sum(ratio < _WITHOUT for ratio in ratios),
    )


def layers_table(rows: Sequence[LayerRow]) -> list[str]:
    """The worst of them by their own error over what is explained, in the order of the forward."""
    checked = [row for row in rows if not row.not_checked]
    worst = sorted(checked, key=lambda row: -(row.over_band or 0.0))[:_SHOWN]
    lines = [
        f"{len(checked)} module calls checked, {len(rows) - len(checked)} not; the worst by their own "
        "error:",
        f"  {'own':>9} {'predicted':>9} {'over band':>9} {'accumulated':>11}  module",
    ]
    if shown := arithmetic_by_calls(rows):
        lines.insert(0, f"{shown}")
    for row in sorted(worst, key=lambda row: row.order):
        accumulated = row.accumulated_relative_l2
        lines.append(
            f"  {row.own_relative_l2:9.2e} {row.predicted_relative_l2:9.2e} {row.over_band:9.3g} "
            f"{'-' if accumulated is None else f'{accumulated:.2e}':>11}  {row.module} ({row.kind})"
        )
    return lines
