"""What a report says of itself as a whole, as several rules ask it."""

from __future__ import annotations

import re

from kit.lint.layout import Line
from kit.lint.reader import Report, Statement
from kit.lint.values import NUMBER

_RELATIVE = re.compile(
    r"relative[ _]l2|rel[ _]l2|相对 ?l2|max\|diff\|/max\|ref\||max_over_range|(?:mean|max)[ _]rel"
    r"|relative (?:error|diff)|相对误差|相对差",
    re.IGNORECASE,
)
_NUMBER = re.compile(NUMBER)
_REAL = re.compile(
    r"真实(?:的)?(?:原始)?(?:预训练)?权重(?!加载|路径|地址|来源)"
    r"|(?:real|original|genuine|published|official) (?:\w{1,20} )?weights",
    re.IGNORECASE,
)
_RANDOM = re.compile(
    r"随机(?:初始化|权重)|random(?:ly)?[ -](?:init\w{0,12}|weights)|(?:weights|权重)\S{0,8}随机",
    re.IGNORECASE,
)
_NOT_FETCHED = re.compile(
    r"权重[^,。;]{0,16}(?:未能|没有|无法)[^,。;]{0,8}(?:下载|加载)"
    r"|weights[^,.;]{0,30}(?:could not|cannot|failed to) (?:be )?(?:download|load|fetch)",
    re.IGNORECASE,
)
_ONE_PERCENT = re.compile(
    r"(?:误差|精度|差异|error|differ\w{0,7}|within|accura\w{0,4})[^。;]{0,40}?(?<![\d.])1\s?%",
    re.IGNORECASE,
)
_PASS = re.compile(r"\bPASS(?:ED)?\b|精度[^,。;]{0,6}通过|(?<![未不])通过", re.IGNORECASE)
_FAIL = re.compile(r"\bFAIL(?:ED|S)?\b|未通过|不通过|不合格", re.IGNORECASE)
_ON_NPU = re.compile(
    r"(?:在|\bon\b)[^,。;]{0,20}\bNPU\b[^,。;]{0,20}(?:成功|正常|success|pass)|"
    r"(?:success\w{0,5}|runs?|ran|works)[^,.;]{0,20}\bon\b[^,.;]{0,20}\bNPU\b|NPU[^,。;]{0,12}适配成功",
    re.IGNORECASE,
)
_NPU = re.compile(r"npu|ascend|昇腾", re.IGNORECASE)
_NO_NPU = re.compile(r"simulat|模拟|\bnot?\b|不|无|非|^cpu|^npu:\d+$", re.IGNORECASE)
_CPU = re.compile(r"cpu\b", re.IGNORECASE)
_MEETS = re.compile(
    r"满足|以内|小于|低于|不超过|不大于|不高于|within|below|less than|under|meets|通过|<",
    re.IGNORECASE,
)
_RANKED = re.compile(
    r"logits[^。;]{0,60}top-?[15]|top-?[15][^。;]{0,60}(?:logits|classes|类别)", re.IGNORECASE
)
_FEATURES = re.compile(r"feature|特征|num_classes\s?=\s?0|embedding|hidden", re.IGNORECASE)


def headline(claims: list[Statement]) -> list[Statement]:
    """The claims that are of the run as such."""
    return [claim for claim in claims if not claim.scope]


def lines_of(claims: list[Statement]) -> list[int]:
    """Where they are."""
    return [claim.line.number for claim in claims]


def real_weights(report: Report) -> list[int]:
    """Lines that say the published weights were used."""
    stated = [claim for claim in report.of("pretrained_used", "weights_status") if claim.flag]
    return lines_of(stated) + [each.line.number for each in report.saying(_REAL)]


def random_weights(report: Report) -> list[int]:
    """Lines that say they were not."""
    stated = [
        claim for claim in report.of("pretrained_used", "weights_status") if claim.flag is False
    ]
    stated += [claim for claim in report.of("fallback_used") if claim.flag]
    fetched = [each for each in report.sentences if _NOT_FETCHED.search(each.text)]
    return lines_of(stated) + [each.line.number for each in (*report.saying(_RANDOM), *fetched)]


def on_cpu(report: Report) -> list[int]:
    """Lines that say the run was on a CPU."""
    devices = headline(report.of("device"))
    return lines_of([claim for claim in devices if _CPU.match(claim.value)])


def simulated(report: Report) -> list[int]:
    """Lines that say the device was a simulation."""
    claims = [claim for claim in report.of("simulated") if claim.flag]
    named = report.of("device_name", "device")
    return lines_of(claims + [claim for claim in named if "simulat" in claim.value.lower()])


def npu_results(report: Report) -> list[int]:
    """Lines that give a result of a real NPU: a latency, a success, a side of the comparison."""
    sides = [claim for claim in report.of("device") if _NPU.search(claim.value)]
    sides = [claim for claim in sides if not _NO_NPU.search(claim.value)]
    said = [each.line.number for each in report.saying(_ON_NPU)]
    return lines_of(report.figures("npu_latency_ms") + sides) + said


def runs_on_npu(report: Report) -> list[int]:
    """These, and the lines that name npu:N as the device, which a simulation has too."""
    devices = [claim for claim in report.of("device") if claim.value.lower().startswith("npu")]
    return npu_results(report) + lines_of(devices)


def within_one_percent(report: Report) -> list[int]:
    """Lines that say the error is within 1%."""
    stated = lines_of([claim for claim in report.of("match_within_1_percent") if claim.flag])
    said = [each for each in report.saying(_ONE_PERCENT) if _MEETS.search(each.text)]
    return stated + [each.line.number for each in said]


def relative_figures(report: Report) -> list[Line]:
    """Lines with an error set against the size of the reference: what 1% can be of."""
    fields = ("relative_l2", "max_over_range", "mean_relative")
    lines = [claim.line for claim in report.figures(*fields)]
    for sentence in report.sentences:
        found = _RELATIVE.search(sentence.text)
        if found and _NUMBER.search(sentence.text, found.end()):
            lines.append(sentence.line)
    return lines


def passes(report: Report) -> list[Statement]:
    """Verdicts that say PASS."""
    return [
        claim
        for claim in report.of("verdict")
        if _PASS.search(claim.value) and not _FAIL.search(claim.value)
    ]


def is_feature_vector(report: Report) -> list[int]:
    """Lines that say the output is a feature vector, where no logits stand beside it."""
    features = [claim for claim in report.of("output_shape") if _FEATURES.search(claim.value)]
    ranked = [each for each in report.sentences if _RANKED.search(each.text)]
    labelled = [claim for claim in report.claims if "logits" in claim.label.lower()]
    shapes = [claim for claim in report.of("output_shape") if "logits" in claim.value.lower()]
    return [] if ranked or labelled or shapes else lines_of(features)
