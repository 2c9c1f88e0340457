"""Every rule, in the order in which findings on one line are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kit.lint import blanks, disagreements, hygiene, impossible, omissions, support
from kit.lint.finding import Finding
from kit.lint.reader import Report

# Each rule's name in a finding is its function's, with hyphens.
RULES: tuple[Callable[[Report], Iterator[Finding]], ...] = (
    blanks.empty_value,
    blanks.null_value,
    blanks.unexpanded,
    disagreements.two_values,
    disagreements.weights_contradiction,
    disagreements.generate_contradiction,
    disagreements.hardware_contradiction,
    disagreements.npu_on_cpu,
    disagreements.bound_broken,
    impossible.out_of_range,
    impossible.wrong_order,
    impossible.mean_too_small,
    impossible.relative_below_cosine,
    impossible.top_k_of_features,
    impossible.head_not_run,
    support.within_without_basis,
    support.verdict_denied,
    support.cosine_threshold,
    support.absolute_threshold,
    support.basis_not_stated,
    support.loose_allclose,
    support.npu_without_hardware,
    hygiene.machine_path,
    hygiene.secret,
    hygiene.version_mismatch,
    hygiene.missing_file,
    hygiene.long_line,
    omissions.no_warmup,
    omissions.no_weight_hash,
    omissions.version_missing,
    omissions.vague_hardware,
    omissions.no_noise_floor,
    omissions.no_precision,
    omissions.no_figures,
)


def findings(report: Report) -> list[Finding]:
    """What every rule finds, by line."""
    found = [finding for rule in RULES for finding in rule(report)]
    return sorted(found, key=lambda finding: finding.lines[0])
