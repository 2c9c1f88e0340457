"""Modules of every shape: a healthy one is not accused, a wrong one is, what cannot be checked says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from conftest import ROOT
from starting import kept_environment, start_python

MODULES = """
import copy, torch
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from torch import nn
from kit.explain.localise import first_bad, localise, running
from kit.explain.frames import WHOLE
from kit.explain.recorded import recording_of
from kit.explain.recording import record_calls
from kit.evidence.logs import Logs
from tempfile import TemporaryDirectory
from types import SimpleNamespace

QUIET = SimpleNamespace(synchronize=lambda: None)

@dataclass
class Result:
    hidden: torch.Tensor
    more: tuple

class Cache:
    def __init__(self):
        self.seen = []

class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared, self.act = nn.Linear(8, 8), nn.ReLU(inplace=True)
        self.pair, self.caching, self.gain = Pair(), Caching(), 1.0
    def forward(self, x):
        cache = Cache()
        x = self.shared(self.shared(x))
        self.act(x)
        first, (second, third) = self.pair(x, scale=torch.tensor(2.0))
        x = self.caching(first + second * third, cache=cache)
        return Result(self.caching(x, cache=cache) * self.gain, (x, None))

class Pair(nn.Module):
    def forward(self, x, scale):
        return x * scale, [x.sin(), x.cos()]

class Caching(nn.Module):
    def forward(self, x, cache):
        cache.seen.append(x)
        return sum(cache.seen) / len(cache.seen)

def doubled(module, args, output): return output * 2
def shifted(module, args): return (args[0] + 1, *args[1:])

class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.after = nn.Linear(8, 8), nn.Linear(8, 8)
        with torch.no_grad():
            self.normed = nn.utils.weight_norm(nn.Linear(8, 8))
        self.before.register_forward_pre_hook(shifted)
        self.after.register_forward_hook(doubled)
        self.register_forward_hook(doubled)
    def forward(self, x):
        return self.normed(self.after(self.before(x)))

class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU(inplace=True)
    def forward(self, x):
        x = x + 0
        self.act(input=x)
        return x * 2

class Writing(nn.Module):
    def forward(self, x):
        x.add_(1)

class Written(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Writing()
    def forward(self, x):
        x = x + 0
        self.inner(x)
        return x * 2

class Raising(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8)
    def forward(self, x, good):
        x = self.inner(x)
        if not good: raise KeyError("bad")
        return x

class Catching(nn.Module):
    def __init__(self):
        super().__init__()
        self.tried, self.then = Raising(), nn.Linear(8, 8)
    def forward(self, x):
        try:
            self.tried(x, good=False)
        except KeyError:
            x = x * 2
        return self.then(self.tried(x, good=True))

class Scaling(nn.Module):
    def forward(self, x):
        return x * 3

class Faulty(nn.Module):
    def forward(self, x):
        return x.sin() * self.gain

class Chain(nn.Module):
    def __init__(self, *inner):
        super().__init__()
        self.inner = nn.Sequential(*inner, Faulty())
    def forward(self, x):
        return Result(self.inner(x), ())

class Counting(nn.Module):
    def forward(self, x):
        return (x.argmax(-1) + self.off).view(-1, 1)

class Rounding(nn.Module):
    def forward(self, x):
        return (x * 1.0).argmax(-1) + self.off, x

class Ids(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
    def forward(self, x):
        self.inner(x)
        return x

class Lazy(nn.Module):
    def forward(self, parts):
        return sum(parts)

class Feeding(nn.Module):
    def __init__(self):
        super().__init__()
        self.lazy = Lazy()
    def forward(self, x):
        return self.lazy(part * 2 for part in (x, x))

class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x) * self.gain

class Back(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Spectrum()
    def forward(self, x):
        return torch.fft.irfft(self.inner(x), n=8)

class Opaque:
    __slots__ = ("tensor",)

class Hiding(nn.Module):
    def forward(self, x):
        hidden = Opaque()
        hidden.tensor = x * 1.0
        return hidden

class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Hiding()
    def forward(self, x):
        return self.inner(x).tensor

def check_what_is_recorded(forward, reference, device, inputs, layers, lost):
    with TemporaryDirectory() as folder:
        logs, adapter = Logs(Path(folder)), SimpleNamespace(forward=forward)
        told = record_calls(
            adapter, device, inputs, QUIET, logs, dtype=torch.float32, most_mib=1)
        assert told.left_out == len(lost) and told.recorded + len(lost) == len(layers), told
        again = recording_of(logs, told).calls(forward, reference, inputs)
        found = localise(
            forward, reference, inputs, again, [], dtype=torch.float32, folder=Path(folder))
        assert {layer.name for layer in found if "it is not in" in layer.skipped} == {*lost, *(
            name.rpartition(".")[0] for name in lost)}
        assert lost or found == layers

def checked(reference, more=(), where=WHOLE, wrongly=(), lost=()):
    reference = reference.eval()
    device = copy.deepcopy(reference)
    inputs = {"x": torch.randn(3, 8)}
    def forward(model, given):
        for module in model.modules():
            module.gain = 1.001 if model is device and wrong else 1.0
            module.off = int(model is device and wrong)
        output = model(given["x"])
        return {"output": output.hidden}
    for wrong in (False, True):
        calls = running(forward, device, inputs)
        layers = localise(
            forward, reference, inputs, calls, [], dtype=torch.float32, folder=Path(".")
        )
        if wrong:
            check_what_is_recorded(forward, reference, device, inputs, layers, lost)
        skipped = {layer.name for layer in layers if layer.skipped}
        assert skipped == {*more, *(wrongly if wrong else ())}, skipped
        bad = first_bad(layers)
        assert (bad and bad.name) == (where if wrong else None), bad
    return [(layer.name, layer.number) for layer in layers]

def bounded():
    model, large = nn.Sequential(*(nn.ReLU() for _ in range(3))), {"input": torch.randn(360, 360)}
    adapter = SimpleNamespace(forward=lambda model, given: {"output": model(**given)})
    for number, module in enumerate(model):
        module.register_forward_hook(lambda module, taken, given, by=number: given + by)
    with TemporaryDirectory() as folder:
        logs = Logs(Path(folder))
        told = record_calls(
            adapter, model, large, QUIET, logs, dtype=torch.float32, most_mib=1)
        assert (told.recorded, told.left_out, told.reason.code) == (1, 3, "calls_left_out"), told
        assert logs.path("module_calls.safetensors").stat().st_size < 1.1 * 2**20

torch.manual_seed(0)
bounded()
calls = checked(Odd())
assert ("shared", 1) in calls and ("caching", 1) in calls
checked(Chain(Hooked()), where="inner.1")
checked(Chain(Named()), where="inner.1")
checked(Chain(Written()), more=["inner.0.inner"], where="inner.1")
checked(Chain(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)), where="inner.1")
calls = checked(Chain(Catching()), more=["inner.0.tried"], where="inner.1")
assert ("inner.0.tried", 1) in calls and ("inner.0.tried.inner", 1) in calls
checked(Chain(Ids(Counting())), where="inner.0.inner")
checked(Chain(Hidden()), more=["inner.0.inner"], where="inner.1", lost=["inner.0.inner"])
checked(Chain(Back()), where="inner.0.inner")
checked(Chain(Feeding()), more=["inner.0.lazy"], where="inner.1")
checked(Chain(Ids(Rounding())), wrongly=["inner.0.inner"], where="inner.1")
hooks = [
    nn.modules.module.register_module_forward_pre_hook(
        lambda module, args: shifted(module, args) if isinstance(module, Scaling) else None),
    nn.modules.module.register_module_forward_hook(
        lambda module, *call: doubled(module, *call) if isinstance(module, Scaling) else None),
]
checked(Chain(Scaling()), where="inner.1")
for hook in hooks:
    hook.remove()
"""


def test_modules_of_every_shape() -> None:
    """Called twice, in place without its result being used, tuples, a dataclass, a cache in a keyword."""
    environment = kept_environment() | {"PYTHONPATH": str(ROOT)}
    process = start_python("-c", MODULES, env=environment)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err


def test_where_no_module_differs_nothing_is_said_to_have_been_tried() -> None:
    from kit.explain.cure import cheapest_cure

    device = SimpleNamespace(synchronize=lambda: None)
    side = SimpleNamespace(model=None, inputs={}, device=device)
    adapter = SimpleNamespace(forward=lambda model, inputs: {})
    failing: Any = lambda outputs: SimpleNamespace(verdict="FAIL")  # noqa: E731
    told: Any = cheapest_cure([], side, adapter, None, failing)  # type: ignore[arg-type]
    assert told.code == "nothing_to_run_otherwise"
