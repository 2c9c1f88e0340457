"""How numba compiles the loops: what of the arithmetic may be reordered, and what LLVM lacks by itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import config, njit
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32] | NDArray[np.float64]
    Double = NDArray[np.float64]
    Loop = TypeVar("Loop", bound=Callable[..., Any])

_config: Any = config  # numba's types know but a part of its settings
_jit: Any = partial(njit, error_model="numpy")
# LLVM keeps to 256-bit vectors where a processor has wider ones, for the sake of programs that use them
# only here and there. These loops do little else, and take a third less time. Before the first
# compilation, and not where the user has set numba's own variable.
_features = get_host_cpu_features()
if getattr(_config, "CPU_FEATURES", None) is None and "+avx512f" in _features:
    _config.CPU_FEATURES = f"{_features},-prefer-256-bit"


def kept(function: Loop) -> Loop:
    """Compile what Python calls, with all that it calls, and keep the machine code for later processes.

    numba notices changes of the function's own file only, not of what it calls: so the folder is named
    by the sources' contents. Where no folder can be written, each process compiles for itself.
    """
    own, _config.CACHE_DIR = _config.CACHE_DIR, _config.CACHE_DIR or str(_FOLDER)
    try:
        compiled: Loop = _jit(function, nogil=True, cache=True)
    except RuntimeError:
        compiled = _jit(function, nogil=True)
    finally:
        _config.CACHE_DIR = own
    return compiled


def _loop(*reordered: str) -> Callable[[Loop], Loop]:
    """Compile what only compiled functions call: without what Python would need for that."""
    options = {"fastmath": set(reordered), "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    loop: Callable[[Loop], Loop] = _jit(**options)
    return loop


def _folder() -> Path:
    here = Path(__file__).parent
    sources = [*sorted(here.glob("*.py")), here.parent / "part_sums.py", here.parent / "totals.py"]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "npu-adaptation-kit", f"loops-{digest[:16]}")


_FOLDER = _folder()
exact = _loop()
# Sums may be reordered; NaN and infinity keep their meaning.
summed = _loop("reassoc", "contract", "nsz")
# For loops whose results are thrown away where the sums have shown that a value is not finite. Products
# and sums are not contracted: a limit must count the same elements everywhere.
finite = _loop("reassoc", "nsz", "nnan")
# Nothing may be reordered: the rounding is what the steps say.
fused = _loop("contract", "nnan")
# Sums of what such steps give.
sums_of_fused = _loop("contract", "nnan", "nsz", "reassoc")


def _choice(order: str) -> Callable[[float, float], float]:
    """Of two numbers of one type, neither of them NaN, the one that is `order` the other."""

    def typed(_context: Any, a: Any, b: Any) -> Any:
        def build(_: Any, builder: Any, __: Any, pair: Any) -> Any:
            first = builder.fcmp_ordered(order, *pair, flags=("nnan", "nsz"))
            return builder.select(first, *pair, flags=("nnan", "nsz"))

        return a(a, b), build

    return intrinsic(typed)  # type: ignore[return-value]


# max() and min() respect NaN, which keeps LLVM from vectorising a loop's largest value.
larger, smaller = _choice(">"), _choice("<")


def _add_to_exponent(_context: Any, number: Any, power: Any) -> Any:
    width, fraction = (64, 52) if number.bitwidth == 64 else (32, 23)

    def build(_: Any, builder: Any, __: Any, pair: Any) -> Any:
        whole = ir.IntType(width)
        bits, shift = (builder.bitcast(each, whole) for each in pair)
        bits = builder.add(bits, builder.shl(shift, ir.Constant(whole, fraction)))
        return builder.bitcast(bits, pair[0].type)

    return number(number, power), build


# number * 2^k, for two numbers of one type (fp32 or fp64) of which the lowest bits of the second are k, in
# two's complement; neither the number nor the result may be other than normal.
add_to_exponent: Callable[[float, float], float] = intrinsic(_add_to_exponent)  # type: ignore[assignment]
