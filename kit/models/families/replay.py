"""Text step by step: the CPU's own greedy tokens, forced on any device, with a cache and without one.

What a device makes of its own tokens drifts apart after the first close call, and says nothing of the
steps behind it. Here every step is given the same tokens: step 0 is the prefill, each further one feeds
one token and the cache. The same tokens in one forward without a cache tell a fault of the cache from one
of the arithmetic. Two different prompts go in one batch, so that what leaks from one to the other is seen.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kit.accuracy.trace import CACHED, UNCACHED
from kit.models.adapter import ModelInput
from kit.models.families.making import GRID

if TYPE_CHECKING:
    from torch import Tensor, nn

TOKENS = "trace_ids"
STEPS = 8
# Beyond every vocabulary: None would be filled in from the model's own file.
_NO_TOKEN = 2**31 - 1


def with_tokens(model: nn.Module, chosen: ModelInput, prompt: Mapping[str, Tensor]) -> ModelInput:
    """The input with the CPU's tokens for `prompt`, where the model generates."""
    return replace(chosen, tensors={**chosen.tensors, **greedy_tokens(model, prompt)})


def greedy_tokens(model: nn.Module, prompt: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`trace_ids` int64 [2, 8]: the likeliest token after each step, for `prompt` (what generate() takes,
    batch 1) and another; nothing where the model generates no text."""
    import torch

    generates = getattr(model, "can_generate", None)
    if generates is None or not generates():
        return {}
    try:
        with torch.inference_mode():
            made = _generated(model, prompt, None, cached=True)
    except Exception:  # whatever a class raises that wants to be fed in its own way
        return {}
    return {TOKENS: made.sequences[:, -STEPS:].clone()} if len(made.logits) == STEPS else {}


def replayed(
    model: nn.Module, prompt: Mapping[str, Tensor], tokens: Tensor | None
) -> dict[str, Tensor]:
    """The logits before each of the `tokens`, with a cache and without, each [2, 8, vocabulary]; nothing
    where there are no tokens."""
    import torch

    if tokens is None:
        return {}
    return {
        name: torch.stack(_generated(model, prompt, tokens, cached=name == CACHED).logits, dim=1)
        for name in (CACHED, UNCACHED)
    }


def _generated(
    model: Any, prompt: Mapping[str, Tensor], tokens: Tensor | None, *, cached: bool
) -> Any:
    """What generate() returns of 8 steps of the prompt and its other, the `tokens` forced."""
    settings = copy.deepcopy(model.generation_config)
    settings.update(
        eos_token_id=_NO_TOKEN,  # every step is made, whatever was said before
        forced_eos_token_id=None,
        max_length=None,
        max_new_tokens=STEPS,
        do_sample=False,
        num_beams=1,
        use_cache=cached,
        return_dict_in_generate=True,
        output_logits=True,
    )
    if pieces := _pieces(model.config):
        settings.suppress_tokens = [*(settings.suppress_tokens or ()), *pieces]
    if settings.decoder_start_token_id is None and "decoder_input_ids" in prompt:
        settings.decoder_start_token_id = int(prompt["decoder_input_ids"][0, 0])
    return model.generate(
        **{name: _pair(name, each) for name, each in prompt.items()},
        generation_config=settings,
        logits_processor=[] if tokens is None else [_Forced(tokens)],
    )


def _pieces(config: Any) -> list[int]:
    """The tokens that stand for a piece of an image, a video or a sound: in a text that is made, one more
    of them than the input has is an error of the input."""
    return [
        value
        for name, value in vars(config).items()
        if name.startswith(("image_token_", "video_token_", "audio_token_")) and type(value) is int
    ]


def _pair(name: str, tensor: Tensor) -> Tensor:
    """Two rows: the tensor, and the same text, image or sound the other way round."""
    import torch

    same = name.startswith("decoder") or name == GRID
    return torch.cat([tensor, tensor if same else tensor.flip(-1)])


class _Forced:
    """A logits processor that leaves one token a step."""

    def __init__(self, tokens: Tensor) -> None:
        self._steps = iter(tokens.unbind(1))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        chosen = next(self._steps).unsqueeze(1)
        return scores.new_full(scores.shape, -1e9).scatter(1, chosen, 0.0)
