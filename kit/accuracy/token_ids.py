"""The verdict on token ids, and on the scores that chose them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kit.accuracy.judged_figures import judge_metrics
from kit.accuracy.metrics import measure
from kit.accuracy.outcome import OutputVerdict, fail, invalid
from kit.accuracy.ranking import top1_dispute
from kit.accuracy.repeats import ASSUMED_REPEATABLE, Repeat
from kit.accuracy.spec import OutputSpec
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor


def judge_token_ids(
    name: str,
    spec: OutputSpec,
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    repeat: Repeat,
) -> OutputVerdict:
    """Ids must be equal, up to a step whose saved scores show that rounding alone may decide it, and
    the scores of the steps up to there must be within 1%."""
    ours, theirs = (side[name].flatten().tolist() for side in (reference, device))
    if not ours or not theirs or reference[name].is_floating_point() or ours[0] != theirs[0]:
        return invalid(Reason("no_ids"))
    if not repeat.bit_identical:
        return invalid(Reason("other_ids"))
    length = min(len(ours), len(theirs))
    position = next((at for at in range(length) if ours[at] != theirs[at]), length)
    if spec.scores is not None:
        # Position 0 is the decoder's start token, which no score chose.
        steps = min(position, length - 1)
        most = max(len(ours), len(theirs)) - 1
        if problem := _scores_problem(spec.scores, reference, device, steps, most):
            return problem
    if ours == theirs:
        return OutputVerdict(
            verdict="PASS", reasons=(Reason("equal_ids", count=len(ours)),), within_1_percent=None
        )
    return _judge_divergence(spec, reference, device, position, (ours, theirs))


def _scores_problem(
    scores: str,
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    steps: int,
    most: int,
) -> OutputVerdict | None:
    """What is wrong with the scores of the first `steps` steps, which had the same tokens before; there
    may be `most` steps, since what no token shows would be judged by nothing."""
    if scores not in reference or scores not in device:
        return invalid(Reason("no_scores", scores=scores))
    ours, theirs = reference[scores][:, :steps], device[scores][:, :steps]
    if ours.shape != theirs.shape or ours.dim() != 3 or ours.numel() == 0:
        return invalid(
            Reason(
                "shapes_of",
                output=scores,
                ours=str(list(ours.shape)),
                theirs=str(list(theirs.shape)),
            )
        )
    if reference[scores].shape[1] > most:
        return invalid(Reason("steps", scores=scores, steps=reference[scores].shape[1], ids=most))
    verdict = judge_metrics(measure(ours, theirs), ASSUMED_REPEATABLE)
    if verdict.verdict == "PASS":
        return None
    reasons = tuple(
        Reason("scores_of_steps", steps=steps, why=reason) for reason in verdict.reasons
    )
    return OutputVerdict(verdict=verdict.verdict, reasons=reasons, within_1_percent=False)


def _judge_divergence(
    spec: OutputSpec,
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    position: int,
    ids: tuple[list[int], list[int]],
) -> OutputVerdict:
    """Token ids that differ from `position` on: whether that step's scores excuse it."""
    text = Reason("ids_differ", position=position)
    if spec.scores is None or position >= min(map(len, ids)):
        return fail(Reason("one_side", what=text))
    scores = reference[spec.scores][0, position - 1]
    device_scores = device[spec.scores][0, position - 1]
    if not all(0 <= side[position] < len(scores) for side in ids):
        return invalid(Reason("no_such_token", what=text))
    row = top1_dispute(scores, device_scores, ids[0][position], ids[1][position], position - 1)
    reason = Reason("disputed", what=text, why=row.told())
    if not row.excused:
        return fail(reason)
    return OutputVerdict(verdict="PASS", reasons=(reason,), within_1_percent=None)
