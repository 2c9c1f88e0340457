"""Options and flags of torch.npu, with the real ones' manners.

From torch_npu/npu/npu_config.py of the 2.13.0 wheel: `allow_hf32` takes only a bool, a misspelt
attribute vanishes without a word when set and reads None, and `config` can only be written.
"""

from __future__ import annotations

from typing import Any

from .. import _devices, _errors, _options

_ALLOWED_VALUES = {
    "ACL_PRECISION_MODE": ("allow_fp32_to_fp16", "must_keep_origin_dtype"),
    "ACL_OP_SELECT_IMPL_MODE": ("high_performance", "high_precision"),
    "ACL_OP_DEBUG_LEVEL": ("0", "1", "2", "3", "4"),
    "ACL_OP_COMPILER_CACHE_MODE": ("disable", "enable", "force"),
}


def set_option(option: dict[str, Any]) -> None:
    """Set options by their ACL names."""
    if not isinstance(option, dict):
        raise TypeError("npu option must be a dict." + _errors.signature("ERR00001"))
    for name, value in option.items():
        allowed = _ALLOWED_VALUES.get(name)
        if allowed is not None and str(value) not in allowed:
            raise ValueError(
                f"value of {name} should be in {list(allowed)} but got {value}"
                + _errors.signature("ERR00001")
            )
    _options.set_options({name: str(value) for name, value in option.items()})


def set_compile_mode(jit_compile: bool = False) -> None:
    """Whether to compile kernels for each shape."""
    _options.set_options({"jitCompile": _switch(jit_compile)})


def is_jit_compile_false() -> bool:
    """Whether kernels come precompiled."""
    _devices.initialize()
    return not _options.jit_compile()


class _npuConfig:
    """torch.npu.config."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "allow_internal_format":
            _options.set_options({"ALLOW_INTERNAL_FORMAT": _switch(value)})


class _allowHF32Matmul:
    """torch.npu.matmul."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "allow_hf32":
            _options.set_options({"ALLOW_MATMUL_HF32": _switch(_checked_bool(value))})

    def __getattr__(self, name: str) -> bool | None:
        return _options.matmul_hf32() if name == "allow_hf32" else None


class _allowHF32Conv:
    """torch.npu.conv."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "allow_hf32":
            _options.set_options({"ALLOW_CONV_HF32": _switch(_checked_bool(value))})

    def __getattr__(self, name: str) -> bool | None:
        return _options.conv_hf32() if name == "allow_hf32" else None


def _switch(value: Any) -> str:
    return "enable" if value else "disable"


def _checked_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(
            f"allow_hf32 must be a bool, but got {type(value).__name__}"
            + _errors.signature("ERR00002")
        )
    return value
