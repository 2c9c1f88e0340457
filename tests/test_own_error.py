"""How far an error may be from what is predicted, where that overflows or is zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kit.explain.values import copy_of


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
