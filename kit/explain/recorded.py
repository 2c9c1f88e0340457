"""The device's module calls from the file that inference.py --localize wrote."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from kit.errors import CannotRunError, UntrustedError, words_of
from kit.evidence.logs import MODULE_CALLS, Logs
from kit.evidence.types.run import RecordedCalls
from kit.explain.frames import WHOLE, Frame, watched
from kit.explain.localise import Calls, Forward
from kit.explain.recorded_call import CALLS, RecordedCall, exchange
from kit.explain.values import on_cpu
from kit.storage.file_kinds import check_at_hand
from kit.storage.hashes import sha256_of
from kit.words import Reason


@dataclass(frozen=True, kw_only=True)
class Recording:
    """module_calls.safetensors of a run, the very file that the run wrote."""

    path: Path

    def calls(self, forward: Forward, reference: nn.Module, inputs: Mapping[str, Tensor]) -> Calls:
        """The calls of the device: those of the reference, with the recorded tensors in the place of its
        own. `inputs` are the reference's. Of one whose form is another, or that is not recorded, it is
        said why nothing is known; so it is of one that the reference does not make."""

        def calls(ended: Callable[[Frame], None]) -> None:
            with _opened(self.path, reference) as (tensor, recorded):

                def replaced(frame: Frame) -> None:
                    _replace(frame, recorded.pop(frame.key, None), tensor)
                    ended(frame)

                # Other modules, with the same weights: those of the reference are run singly meanwhile.
                shared = {id(weight): weight for weight in reference.parameters()}
                model = copy.deepcopy(reference, shared)
                with watched(model, replaced):
                    forward(model, inputs)
                for name, number in recorded:
                    ended(Frame(name, number, (), {}, lost="the CPU makes no such call"))

        return calls


def recording_of(logs: Logs, described: RecordedCalls) -> Recording:
    """The file of a run in `logs`. Raises CannotRunError where it is not there, UntrustedError where it is
    another one."""
    path = logs.path(MODULE_CALLS)
    if described.sha256 is None or not path.is_file():
        raise CannotRunError(
            f"{MODULE_CALLS} is not there ({described.reason or 'it may have been left out'})",
            "take it from where inference.py --localize wrote it",
        )
    try:
        check_at_hand(path)
        found = sha256_of(path)
    except OSError as error:
        raise _damaged(words_of(error)) from error
    if found != described.sha256:
        raise UntrustedError(Reason("other_sha256", name=MODULE_CALLS), Reason("run_again"))
    return Recording(path=path)


@contextmanager
def _opened(
    path: Path, reference: nn.Module
) -> Iterator[tuple[Callable[[str], Tensor], dict[tuple[str, int], RecordedCall]]]:
    """What gives a tensor by its name in the file, and the recorded calls by their module and number."""
    from safetensors import SafetensorError, safe_open

    modules = {name or WHOLE for name, _ in reference.named_modules()}
    with ExitStack() as stack:
        try:
            file = stack.enter_context(safe_open(path, "pt"))
            listed = (file.metadata() or {}).get(CALLS, "")
            calls = msgspec.json.decode(listed, type=list[RecordedCall])
            named = {name for each in calls for name in each.tensors}
            if not named <= {*file.keys()} or not {each.module for each in calls} <= modules:
                raise ValueError("it tells of tensors or modules that there are not")
        except (OSError, SafetensorError, ValueError) as error:
            raise _damaged(str(error).replace(str(path), MODULE_CALLS)) from error
        yield file.get_tensor, {(each.module, each.call): each for each in calls}


def _replace(frame: Frame, recorded: RecordedCall | None, tensor: Callable[[str], Tensor]) -> None:
    """Have what the device took and gave in the place of what the reference did."""
    if recorded is None:
        frame.forget()
        frame.lost = f"it is not in {MODULE_CALLS}"
        return
    own: list[Tensor] = []

    def keep(each: Tensor) -> Tensor:
        own.append(each)
        return each

    try:
        alike = exchange(frame, keep) == recorded.form and len(own) == len(recorded.tensors)
    except ValueError:
        alike = False
    if not alike:
        frame.forget()
        frame.lost = "on the device it took or gave something of another form"
        return
    left = iter(recorded.tensors)
    exchange(frame, lambda each: _widened(tensor(next(left)), each))


def _widened(recorded: Tensor, own: Tensor) -> Tensor:
    """As watching has it; where the reference's is complex, of pairs."""
    if own.is_complex() and recorded.is_floating_point() and recorded.shape[-1:] == (2,):
        return torch.view_as_complex(recorded)
    return on_cpu(recorded)


def _damaged(why: str) -> UntrustedError:
    return UntrustedError(
        Reason("missing_or_damaged", name=MODULE_CALLS, why=why), Reason("run_again")
    )
