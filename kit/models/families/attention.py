"""transformers computes attention in one of several ways: one is taken, and goes on record."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self, get_args

from kit.errors import UsageError
from kit.models.adapter import Adapter, Attention
from kit.models.building import built
from kit.words import Reason

if TYPE_CHECKING:
    from torch import nn


class ChoosesAttention(Adapter):
    """An adapter of a transformers model: eager or sdpa attention, else what the library chooses.

    Eager is eager in every part of the model; sdpa is sdpa in the model itself and in each part that has
    it, which is the library's own choice wherever a class has it.
    """

    def with_attention(self, wanted: Attention) -> Self:
        """The adapter that builds with this implementation of attention; build() raises UsageError where
        the class does not have it."""
        known = copy.copy(self)
        known.attention = wanted
        return known

    def as_built(self, model: nn.Module) -> Self:
        """The adapter with the implementation that the library chose."""
        chosen = _attention_of(model)
        return self.with_attention(chosen) if chosen in get_args(Attention) else self

    def _built(self, make: Callable[[Any], nn.Module], config: Any) -> nn.Module:
        """What `make` constructs of a copy of the config, with the chosen attention. Raises UsageError."""
        config = copy.deepcopy(config)
        if self.attention == "eager":
            config._attn_implementation = "eager"
        model = built(partial(make, config))
        if self.attention not in (None, _attention_of(model)):
            import transformers

            raise UsageError(
                Reason(
                    "no_such_attention",
                    version=transformers.__version__,
                    wanted=str(self.attention),
                    architecture=self.info.architecture,
                ),
                Reason("leave_attention"),
            )
        return model


def _attention_of(model: nn.Module) -> Any:
    """What the model's config says; a class without attention says eager, too."""
    return getattr(getattr(model, "config", None), "_attn_implementation", None)
