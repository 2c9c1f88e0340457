"""What a run may be said to be: how it ended, where it ran, and with which weights."""

from __future__ import annotations

from dataclasses import dataclass

from kit.evidence.types.summary import Summary
from kit.report.outline import Tone
from kit.words import Texts

# pretrained_used, of weights that were loaded.
_WEIGHTS = {True: "verified", None: "unverified", False: "random"}
# What evidence that cannot be trusted only says of itself.
_UNTRUSTED = {"npu": "claimed_npu", "verified": "claimed"}
_TONES: dict[str, Tone] = {"verified": "good", "unknown": "absent"}


@dataclass(frozen=True)
class Claim:
    """Keys of the texts `outcome.*`, `place.*` and `weights.*`, which together are the first sentence, and
    whether something in it looks like a wrong operator.

    `on_npu`: a run that succeeded on a real NPU and was judged; only then does a report carry its tags.
    """

    outcome: str
    place: str
    weights: str
    unexplained: bool = False

    @property
    def on_npu(self) -> bool:
        """Whether PASS or FAIL is a verdict on a real NPU."""
        return self.place == "npu" and self.outcome in ("PASS", "FAIL")

    @property
    def of_weights(self) -> Tone:
        """Good only where the weights are the published ones."""
        return _TONES.get(self.weights, "caution")

    @property
    def tone(self) -> Tone:
        """Good only where a verdict on a real NPU with weights that are not random is PASS."""
        if self.outcome in ("FAIL", "INVALID", "FAILED"):
            return "bad"
        real = self.place == "npu" and self.weights in ("verified", "unverified")
        good = real and self.outcome == "PASS" and not self.unexplained
        return "good" if good else "caution"


def claim_of(summary: Summary) -> Claim:
    """The claim that a summary supports, and no other."""
    succeeded = summary.status == "SUCCESS" or summary.verdict == "INVALID"
    kind = (summary.device or "unknown").partition(":")[0]
    place = "simulated" if summary.simulated else kind
    weights = "unknown" if summary.fallback_used is None else _WEIGHTS[summary.pretrained_used]
    if summary.verdict == "INVALID":
        place, weights = _UNTRUSTED.get(place, place), _UNTRUSTED.get(weights, weights)
    unexplained = summary.explanation is not None and summary.explanation.unexplained
    outcome = summary.verdict if succeeded else summary.status
    return Claim(outcome, place, weights, unexplained)


def sentence(claim: Claim, say: Texts) -> str:
    """The first sentence of a report: how the run ended, where it ran, with which weights."""
    keys = [f"outcome.{claim.outcome}", f"place.{claim.place}", f"weights.{claim.weights}"]
    keys += ["outcome.unexplained"] if claim.unexplained else []
    return say("phrase.between").join(map(say, keys)) + say("phrase.stop")
