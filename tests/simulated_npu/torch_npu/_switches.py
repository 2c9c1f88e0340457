"""The SIM_NPU_* environment variables, read once, when the package is imported.

What each one does is told in the table of the package's docstring; this module only says how their
text is read. A name or a value that cannot be read raises at import: a test whose switch is
misspelt would otherwise pass because nothing happened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

_EVERY_CALL = "*"
_PLAN = re.compile(r"(aten::[\w.]+):(\*|[1-9]\d*)(\+?)(?::(.*))?", re.DOTALL)


@dataclass(frozen=True)
class OnCall:
    """Something planted in one call of one operator, in every call of it, or in all from one on."""

    op: str
    """`aten::name` for every overload of it, or `aten::name.overload` for that one."""
    call: int | None
    """Counted from 1 over the process; None: every call."""
    onwards: bool
    """Whether every later call is meant, too."""
    argument: str | None
    """What stood after the call number: a scale, or the text of an error."""


@dataclass(frozen=True)
class Switches:
    """One field a switch: SIM_NPU_DELAY_MS is `delay_ms`, and so on."""

    devices: int = 1
    exact: bool = False
    chip: str = "910B4"
    gelu: str = "tanh"
    bits: int | None = None
    rounding: str = "nearest"
    accumulation: str = "fp32"
    block: int | None = None
    subnormals: str = "keep"
    plant: OnCall | None = None
    cache: tuple[int, str] | None = None
    """A step of a text, from 0, and what is wrong with the caches there."""
    fallback: Mapping[str, int] = field(default_factory=dict)
    """By operator, the call (counted from 1) at which it first falls back."""
    fallback_text: str | None = None
    fault: OnCall | None = None
    nan: OnCall | None = None
    raise_: OnCall | None = None
    async_: OnCall | None = None
    abort: OnCall | None = None
    oom: int | None = None
    nonrepeatable: float = 0.0
    delay_ms: float = 0.0
    delay_op: str | None = None
    sync_fail: bool = False
    sync_share: float = 1.0
    hang: bool = False
    import_error: str | None = None
    init_error: str | None = None
    stdout: bool = False
    cann: str | None = None


def _flag(text: str) -> bool:
    return {"0": False, "1": True}[text]


def _choice(*allowed: str) -> dict[str, str]:
    return {text: text for text in allowed}


def _within(least: int, most: int) -> Callable[[str], int]:
    def read_number(text: str) -> int:
        if not least <= int(text) <= most:
            raise ValueError(f"expected {least} to {most}")
        return int(text)

    return read_number


def _on_call(text: str) -> OnCall:
    found = _PLAN.fullmatch(text)
    if found is None:
        raise ValueError("expected aten::op:N, N a call number from 1, N+ or *")
    op, call, onwards, argument = found.groups()
    return OnCall(op, None if call == _EVERY_CALL else int(call), bool(onwards), argument)


def _scaled_call(text: str) -> OnCall:
    plan = _on_call(text)
    float(plan.argument or 1)
    return plan


def _raising_call(text: str) -> OnCall:
    plan = _on_call(text)
    if not plan.argument:
        raise ValueError("expected aten::op:N:TEXT")
    return plan


def _step_and_kind(text: str) -> tuple[int, str]:
    step, kind = text.split(":")
    return int(step), kind


def _calls_by_op(text: str) -> dict[str, int]:
    found = [re.fullmatch(r"(aten::[\w.]+)(?::([1-9]\d*))?", part) for part in text.split(",")]
    if None in found:
        raise ValueError("expected aten::op or aten::op:N, N a call number from 1")
    return {match[1]: int(match[2] or 1) for match in found if match}


def _missing_library(text: str) -> str:
    """What the real package's import says on a host without CANN (seen by running its wheel)."""
    if text == "1":
        return "libhccl.so: cannot open shared object file: No such file or directory"
    return text


_READERS: Mapping[str, Callable[[str], Any]] = {
    "devices": {"0": 0, "1": 1, "2": 2}.__getitem__,
    "exact": _flag,
    "chip": _choice("910B4", "910A").__getitem__,
    "gelu": _choice("tanh", "erf").__getitem__,
    "bits": _within(1, 23),
    "rounding": _choice("nearest", "zero").__getitem__,
    "accumulation": _choice("fp32", "fp64").__getitem__,
    "block": _within(1, 2**20),
    "subnormals": _choice("keep", "flush").__getitem__,
    "plant": _raising_call,
    "cache": _step_and_kind,
    "fallback": _calls_by_op,
    "fallback_text": str,
    "fault": _scaled_call,
    "nan": _on_call,
    "raise_": _raising_call,
    "async_": _raising_call,
    "abort": _raising_call,
    "oom": int,
    "nonrepeatable": float,
    "delay_ms": float,
    "delay_op": str,
    "sync_fail": _flag,
    "sync_share": float,
    "hang": _flag,
    "import_error": _missing_library,
    "init_error": str,
    "stdout": _flag,
    "cann": str,
}


def read(environment: Mapping[str, str]) -> Switches:
    """The switches that `environment` sets; an empty value counts as not set."""
    names = {f"SIM_NPU_{each.name.rstrip('_').upper()}": each.name for each in fields(Switches)}
    given = {name: text for name, text in environment.items() if name.startswith("SIM_NPU_")}
    unknown = sorted(given.keys() - names.keys())
    if unknown:
        raise ValueError(f"unknown switches {unknown}; there are {sorted(names)}")
    values = {}
    for name, text in given.items():
        if text:
            try:
                values[names[name]] = _READERS[names[name]](text)
            except (KeyError, ValueError) as error:
                raise ValueError(f"{name}={text!r} cannot be read: {error}") from error
    return Switches(**values)


SWITCHES = read(os.environ)
