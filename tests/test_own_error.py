"""How far an error may be from what is predicted, where that overflows or is zero."""

from __future__ import annotations

import math

import pytest


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
