"""How far an error may be from what is predicted, where that overflows or is zero."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Kit, ended
from starting import start_python

from kit.explain.values import copy_of
from kit.explain.wrong_operator import TENSORS, Judge, OperatorCall, script_of, tensors_file


@pytest.mark.parametrize(
    ("found", "accused"),
    [
        ([1.0, math.inf, 3.0], False),
        ([1.0, math.nan, 3.0], False),
        ([1.0, 2.0, 3.0], False),
        ([1.0, -math.inf, 3.0], True),
        ([1.0, math.inf, 3.1], True),
        ([1.0, 2.1, 3.0], True),
        ([math.inf, math.inf, 3.0], True),
    ],
)
def test_an_overflow_that_is_predicted_is_explained_and_hides_nothing(
    found: list[float], accused: bool
) -> None:
    import torch

    from kit.explain.own_error import own_error

    plain, under = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, math.inf, 3.0]])
    error = own_error([torch.tensor([found])], [plain], [under], summands=0, unit=2.0**-24)
    assert error.unexplained is accused


@pytest.mark.parametrize(("found", "accused"), [(0.0, False), (1.5, False), (9.0, True)])
def test_a_reference_of_zeros_is_no_reason_to_accuse_or_to_acquit(
    found: float, accused: bool
) -> None:
    import torch

    from kit.explain.own_error import own_error

    plain, under = torch.zeros(2, 2), torch.ones(2, 2)
    error = own_error([under * found], [plain], [under], summands=0, unit=2.0**-24)
    assert error.unexplained is accused


def test_a_copy_is_not_what_it_is_of() -> None:
    """However its memory came to be, and whoever is written into afterwards."""
    plain = torch.ones(4, 4)
    others = [torch.from_numpy(np.ones(4)), plain[1:3, ::2], torch.ones(1).expand(3), plain.clone()]
    for tensor in (*others, torch.ones(3, dtype=torch.complex64).conj(), torch.empty(0)):
        copied = copy_of(tensor)
        assert copied.equal(tensor)
        copied.mul_(3)
        assert not (tensor == 3).any()
    copied = copy_of(plain)
    plain[1].numpy()[0] = 7
    assert (copied == 1).all() and plain[1, 0] == 7


@pytest.mark.parametrize("name", ["native_layer_norm", "native_batch_norm"])
def test_the_script_accuses_no_healthy_result_of_an_operator(
    kit: Kit, tmp_path: Path, name: str
) -> None:
    """Beside the one that is wrong: a mean that all but cancels, results without an element."""
    x = torch.randn(3, 64, generator=torch.manual_seed(0)) + 100
    x -= x.mean(-1, keepdim=True) - 1e-6
    statistics = torch.zeros(64), torch.ones(64), False, 0.1, 1e-5
    more = ([64], None, None, 1e-5) if "layer" in name else (None, None, *statistics)
    operator = getattr(torch.ops.aten, name).default
    output = operator(x, *more)
    judge = Judge([], 2.0**-24)
    assert judge.judged(OperatorCall(operator, (x, *more), {}, output)) is None
    broken = (output[0] * 1.01, *output[1:])
    wrong = judge.judged(OperatorCall(operator, (x, *more), {}, broken))
    assert wrong is not None
    (tmp_path / "replay.py").write_text(script_of(wrong, "cpu", torch.float32, {}))
    (tmp_path / TENSORS).write_bytes(tensors_file(wrong))
    done = ended(start_python(tmp_path / "replay.py", env=kit.environment()))
    assert done.code == 0, done.out + done.err
