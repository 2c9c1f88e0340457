"""Of what a figure is: the run as such, or one output, sample, precision or mode of it."""

from __future__ import annotations

import re

from kit.lint.layout import Line

# Words that tell one comparison from another. Two figures are held against each other only where the
# headings, points and labels above them have the same ones.
_WORDS = re.compile(
    r"\b(?:fp16|fp32|bf16|fp64|float16|float32|float64|bfloat16|int8|hf32|tf32|strict|fast|eager|graph"
    r"|compiled?|golden|noise|repeat(?:ed|ability)?|simulat\w{1,6}|before|after|baseline|logits|features?"
    r"|hidden|embeddings?|encoder|decoder|pooler|cold|seed|worst|truth)\b"
    r"|噪声|重复|模拟|优化前|优化后|首次|样本|单精度|半精度|最差"
    r"|\b(?:batch|bs|sample|run|image|text|case|round|size)[\s=#_-]{0,3}\d{1,6}\b"
    r"|\b[\w-]{1,60}\.(?:jpe?g|png|wav|txt)\b"
    r"|\b[a-z0-9]{1,40}_[a-z0-9_.]{1,60}\b|\b[a-z0-9]{1,30}-[a-z0-9]{1,30}-[a-z0-9-]{1,60}\b",
    re.IGNORECASE,
)
_CPU, _NPU = re.compile(r"\bcpu\b", re.IGNORECASE), re.compile(r"npu", re.IGNORECASE)
_FIELD_NAME = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+", re.IGNORECASE)
GENERIC_HEADER = re.compile(
    r"^(?:values?|figure|measured|results?|(?:ascend )?npu|cpu vs\.? npu|this run|数?值|结果|实测值?)?$",
    re.IGNORECASE,
)
LIMIT_HEADER = re.compile(
    r"limit|threshold|required|target|criteri|rule|meaning|note|status|pass|unit|reason"
    r"|阈值|标准|要求|目标|说明|判定|状态|是否|单位|含义|备注|原因",
    re.IGNORECASE,
)


def scope_of(line: Line, *, label: str = "", remark: str = "") -> frozenset[str]:
    """The words that limit a claim on this line to a part; empty for the run as such. `label` is the
    name of its row or column, `remark` what stands beside its field's name."""
    above = " ".join((*line.headings, *line.points, _FIELD_NAME.sub(" ", f"{label} {remark}")))
    found = {word.casefold() for word in _WORDS.findall(above)}
    heading = " ".join(line.headings[-1:])
    if _CPU.search(heading) and not _NPU.search(heading):
        found.add("cpu")
    return frozenset(found | ({label.casefold()} if label else set()))
