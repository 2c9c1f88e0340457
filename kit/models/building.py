"""Building a model as its library does, without filling its parameters and without keeping them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kit.errors import CannotRunError
from kit.machine.memory import available_bytes
from kit.models.declaration import CONFIG
from kit.words import Reason

if TYPE_CHECKING:
    from torch import nn

# torch's own words.
_REFUSED = re.compile(r"tried to allocate (\d+) bytes")

# In-place fills of a parameter, and what an initialisation does to the filled one: a file or the kit's own
# initialisation will replace it. torch.nn.init's own functions fill where no mode sees it.
_FILLS = frozenset(
    "normal_ uniform_ trunc_normal_ log_normal_ exponential_ bernoulli_ random_ fill_ zero_ "
    "kaiming_uniform_ kaiming_normal_ erfinv_ mul_ add_ clamp_".split()
)


def built(make: Callable[[], nn.Module]) -> nn.Module:
    """The model that `make` constructs, in eval mode: parameters on the meta device, buffers as made.

    Buffers that no state_dict holds (position ids, rotary frequencies, attention masks) are worked out
    by the library's own construction, often on the device of a parameter: on the meta device they would
    be lost, and no file gives them back. So all is built on the CPU, the filling of parameters left out
    (memory that nobody writes to is not taken), and the parameters let go afterwards. A parameter shared
    by two modules stays one object. Raises CannotRunError where the system refuses a tensor's memory.
    """
    from torch import nn

    with _skipped_fills():
        try:
            model = make()
        except RuntimeError as error:
            if (asked := _REFUSED.search(str(error))) is None:
                raise
            free = available_bytes()
            needed = int(asked[1])
            raise CannotRunError(
                Reason("large_tensor", needed=needed)
                if free is None
                else Reason("large_tensor_of", needed=needed, free=free),
                Reason("larger_machine", file=CONFIG),
            ) from error
    empty: dict[int, nn.Parameter] = {}
    kept = []  # alive until the end: an id names one object only while it lives
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                kept.append(parameter)
                made = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
                module._parameters[name] = empty.setdefault(id(parameter), made)
    return model.eval()


def _skipped_fills() -> Any:
    from torch import nn
    from torch.overrides import TorchFunctionMode

    class SkippedFills(TorchFunctionMode):
        """Returns a parameter as it is where it would be filled in place."""

        def __torch_function__(
            self,
            func: Callable[..., Any],
            types: Any,
            args: tuple[Any, ...] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:
            given = kwargs or {}
            filled = args[0] if args else given.get("tensor")
            if getattr(func, "__name__", "") in _FILLS and isinstance(filled, nn.Parameter):
                return filled
            return func(*args, **given)

    return SkippedFills()
