"""For each rule of lint-report the least text that breaks it, and its neighbour that does not."""

from __future__ import annotations

_NPU = "- device: npu:0\n- device_name: Ascend 910B4\n- NPU latency: 5.1 ms\n"
_RELATIVE = "- relative_l2: 0.004\n"
_FEATURES = "- 输出形状: [1, 192](backbone features,num_classes=0)\n"

EXAMPLES: list[tuple[str, str, str]] = [
    # blanks
    ("empty-value", "精度误差:mean_abs_diff=1e-5;cosine_similarity=。", "cosine_similarity=0.9。"),
    ("empty-value", "- 判定依据:。", "- 判定依据:相对 L2 0.1%。"),
    (
        "empty-value",
        "| a | value |\n|---|---|\n| cosine | |",
        "| a | value |\n|---|---|\n| cosine | 1.0 |",
    ),
    ("empty-value", "| a | value |\n|---|---|\n| cosine ||", "| a | note |\n|---|---|\n| size ||"),
    (
        "empty-value",
        "max_abs_diff0.1\nmean_abs_diff0.01\ncosine_similarity",
        "The fields:\n\ncosine_similarity",
    ),
    ("empty-value", "- Chip version:\n- other: x", "- Steps:\n  - one\n  - two"),
    ("empty-value", "- top5_match:\n\nThat is all.", "- Run:\n\n```\npython x.py\n```"),
    ("empty-value", '```json\n{"cosine_similarity": NaN}\n```', '```json\n{"cosine": 0.9}\n```'),
    (
        "empty-value",
        "cosine_similarity: nan",
        "cosine_similarity: not computable (the reference is all zero)",
    ),
    ("empty-value", "| a | b |\n|-|-|\n| CANN | None |", "Known issues: None\n\nFallback: none"),
    (
        "unexpanded",
        "真实权重路径$weight\nmax_abs_diff0.1\nmean_abs_diff0.01",
        "set `$HF_HOME`; it costs $5",
    ),
    (
        "unexpanded",
        "| 权重路径 | `$weight` |\n|-|-|\n| x | ${PATH} |",
        "```sh\necho $weight ${PATH}\n```",
    ),
    (
        "unexpanded",
        "latency: {{ latency }} ms",
        "the set {x} and 100% sure and $x$ and $\\epsilon$",
    ),
    ("unexpanded", "cosine is %.6f over %s", "see https://x.org/a%20b%dc?x=$y, 50%of"),
    ("unexpanded", "token <YOUR_TOKEN>, name <MODEL_NAME>", "<BR> <b>x</b> and a <https://x.org>"),
    ("unexpanded", "accuracy: TBD", "see TODO.md"),
    # disagreements
    (
        "two-values",
        "max_abs_diff: 0.000152\n\nmax_abs_diff = 0.000122",
        "max_abs_diff: 0.00015\n\nmax_abs_diff=0.000152",
    ),
    (
        "two-values",
        "cosine: 0.99999\n\n| item | value |\n|---|---|\n| cosine_similarity | 0.9987 |",
        "cosine: 0.9999967481994223\n\n| item | value |\n|-|-|\n| cosine_similarity | 0.999996748199422 |",
    ),
    (
        "two-values",
        "平均延迟:5.26 ms\n\nNPU 延迟:0.00513 s",
        "平均延迟:5.13 ms\n\nNPU 延迟:0.00513 s",
    ),
    ("two-values", "top1_match: True\n\nTop-1 一致:❌", "top1_match: True\n\nTop-1 一致:✅"),
    ("two-values", "torch: 2.9.0\n\ntorch: 2.8.0", "torch: 2.9.0+cpu\n\ntorch: 2.9.0"),
    (
        "two-values",
        "# r\n## Accuracy\nmax_abs_diff: 0.1\n## Score\nmax_abs_diff: 0.2",
        "# r\n## fp16\nmax_abs_diff: 0.1\n## fp32\nmax_abs_diff: 0.2",
    ),
    (
        "two-values",
        "- max_abs_diff: 0.1\n- max_abs_diff: 0.2",
        "- cat\n  - max_abs_diff: 0.1\n- dog\n  - max_abs_diff: 0.2",
    ),
    (
        "weights-contradiction",
        "## Pretrained\n- 状态: FAILED\n\npretrained_used=true",
        "## Pretrained\n- 状态: SUCCESS\n\npretrained_used=true",
    ),
    (
        "weights-contradiction",
        "使用同一份真实原始权重。\n\n权重为随机初始化。",
        "使用同一份真实原始权重。\n\n没有使用随机权重。",
    ),
    (
        "weights-contradiction",
        "Fallback: yes\n\npretrained_used: true",
        "Fallback: no\n\npretrained_used: true",
    ),
    (
        "weights-contradiction",
        "The real weights were loaded.\n\nThe model has random weights.",
        "The real weights were loaded.\n\nIf there are none, it takes random weights.",
    ),
    (
        "weights-contradiction",
        "The official weights ran.\n\nIt could not be fetched: the weights are randomly initialized.",
        "The official weights ran.\n\nRandom weights: no",
    ),
    (
        "generate-contradiction",
        "It runs end-to-end, including generation; we compare forward(), not generate().",
        "We compare forward(), not generate().",
    ),
    (
        "weights-contradiction",
        "We load the pretrained weights.\n\nThe weights could not be downloaded here.",
        "We load the pretrained weights.\n\nIf there are none, it takes random weights.",
    ),
    (
        "generate-contradiction",
        "不调用 generate\n\n验证了端到端推理(包括 generate)",
        "验证了端到端推理(包括 generate)",
    ),
    (
        "two-values",
        "NPU: Ascend 910B4\n\n芯片: Ascend 310P3",
        "NPU: Ascend910\n\n芯片: Ascend 910B4",
    ),
    (
        "npu-on-cpu",
        "设备: cpu\n\n模型在 Ascend NPU 上成功运行",
        "设备: cpu\n\n没有在 NPU 上成功运行",
    ),
    ("npu-on-cpu", "device: cpu\n\nNPU latency: 5 ms", "device: cpu\n\nNPU latency: not measured"),
    # impossible figures
    ("out-of-range", "cosine: 1.0002", "cosine: 1.0000000001"),
    ("out-of-range", "max_abs_diff: -0.1", "max_abs_diff: 0.1"),
    ("out-of-range", "latency: -5 ms", "latency: ~5 ms"),
    (
        "wrong-order",
        "max_abs_diff: 0.001\nmean_abs_diff: 0.002",
        "max_abs_diff: 1.2e-3\nmean_abs_diff: 1.2e-3",
    ),
    (
        "wrong-order",
        "| o | max abs diff | mean abs diff |\n|-|-|-|\n| a | 1 | 2.5 |",
        "| o | max abs diff | mean abs diff |\n|-|-|-|\n| a | 1 | 0.5 |\n| b | 0.1 | 0.01 |",
    ),
    ("wrong-order", "p50: 9 ms\np90: 5 ms", "p50: 5 ms\np90: 9 ms"),
    (
        "wrong-order",
        "| stage | latency (ms) |\n|-|-|\n| p50 | 9.9 |\n| p90 | 7.4 |",
        "| stage | latency (ms) |\n|-|-|\n| p50 | 7.4 |\n| p90 | 9.9 |",
    ),
    (
        "top-k-of-features",
        f"{_FEATURES}- top1_match: True",
        f"{_FEATURES}- top1_match: True\n\ntop-1 is taken over logits [1, 1000]",
    ),
    ("head-not-run", f"{_FEATURES}- 任务类型: 图像分类", f"{_FEATURES}- 任务类型: 特征提取"),
    # verdicts without support
    (
        "within-without-basis",
        "match_within_1_percent: True",
        f"match_within_1_percent: True\n{_RELATIVE}",
    ),
    ("within-without-basis", "误差满足赛事 1% 要求", "误差不满足 1% 要求"),
    ("within-without-basis", "The error is within 1%.", "The error is not within 1%."),
    ("within-without-basis", "误差不超过 1%", "误差为 3%,不在 1% 以内"),
    ("verdict-denied", "cosine: 0.999818\nverdict: PASS", "cosine: 0.99998\nverdict: PASS"),
    (
        "verdict-denied",
        "relative_l2: 1.34%\nmatch_within_1_percent: True",
        "relative_l2: 1.34%\nmatch_within_1_percent: False\nverdict: FAIL",
    ),
    (
        "verdict-denied",
        "## fp32\ncosine: 0.9901\n\n结论: PASS",
        "## fp32\ncosine: 0.9901\n## fp16\n结论: PASS",
    ),
    (
        "agreement-denied",
        "相对误差超过 1% 的元素占比:58.2%\n\nCPU 与 NPU 输出高度一致。",
        "相对误差超过 1% 的元素占比:0.4%\n\nCPU 与 NPU 输出高度一致。",
    ),
    (
        "agreement-denied",
        "Elements with an error below 1%: 91.3%\n\nverdict: PASS",
        f"Elements with an error below 1%: 91.3%\n{_RELATIVE}\nverdict: PASS",
    ),
    (
        "agreement-denied",
        "| item | value |\n|-|-|\n| share of elements > 1% | 37% |\n\nThe outputs are consistent.",
        "| item | value |\n|-|-|\n| share of elements > 1% | 37% |\n\nverdict: FAIL",
    ),
    (
        "agreement-denied",
        "Mismatched elements: 4096 / 100352 (4.1%)\n\nwithin_1_percent: True",
        "Mismatched elements: 4096 / 100352 (4.1%)\n\nThe outputs are not consistent.",
    ),
    (
        "cosine-threshold",
        "| item | value | threshold |\n|-|-|-|\n| cosine | 0.9999 | > 0.99 |",
        "| item | value | threshold |\n|-|-|-|\n| cosine | 0.9999 | > 0.99995 |",
    ),
    (
        "cosine-threshold",
        "判定依据: cosine_similarity=0.999997>0.99",
        "判定依据: cosine_similarity=0.999997>0.99995",
    ),
    (
        "cosine-threshold",
        "PASS if cosine similarity is above 0.999",
        f"cosine above 0.999 is shown\n{_RELATIVE}",
    ),
    ("cosine-threshold", "以 cosine_similarity > 0.99 作为判定依据", "cosine above 0.99 is not 1%"),
    (
        "absolute-threshold",
        "match_basis: mean_abs_diff=0.004<0.005",
        f"mean_abs_diff=0.004<0.005\n{_RELATIVE}",
    ),
    ("absolute-threshold", "以 mean_abs_diff 作为主判定依据", "mean_abs_diff: 0.004"),
    (
        "basis-not-stated",
        "以 cosine_similarity 作为主判定依据",
        "以 cosine_similarity 作为主判定依据\n\ncosine: 0.99999",
    ),
    (
        "loose-allclose",
        "allclose: True\n判定: 精度通过",
        f"allclose: True\n判定: 精度通过\n{_RELATIVE}",
    ),
    # hygiene
    (
        "machine-path",
        "权重路径: /opt/atomgit/cache/model.safetensors",
        "source /usr/local/Ascend/set_env.sh, and/or logs/a.log",
    ),
    ("machine-path", "see /home/me/run.log", "see https://x.org/home/me/run.log"),
    (
        "secret",
        "token: hf_abcdefghijklmnopqrstuvwxyzABCDEF",
        "token: hf_..., model hf_internal_testing",
    ),
    ("secret", "proxy http://me:pass123@proxy:80/", "proxy http://proxy:80/"),
    ("secret", "-H 'Authorization: Bearer abcdefghij0123'", "-H 'Authorization: Bearer $HF_TOKEN'"),
    ("secret", "API_KEY=sk-" + "a1B2" * 8, "the model sk-learn"),
    (
        "version-mismatch",
        "torch: 2.9.0\ntorch_npu: 2.8.0",
        "torch: 2.9.0+cpu\ntorch_npu: 2.9.0.post1",
    ),
    (
        "version-mismatch",
        "torch: 2.9.0+cu121\ntorch_npu: 2.9.0",
        "torch: 2.9.0+cu121\ntorch_npu: 未安装",
    ),
    # omissions
    ("no-warmup", "NPU latency: 5 ms", "NPU latency: 5 ms after 3 warm-up runs"),
    ("no-weight-hash", "pretrained_used: true", "pretrained_used: true, sha256 " + "ab" * 32),
    ("version-missing", _NPU, f"{_NPU}- torch: 2.9.0\n- torch_npu: 2.9.0\n- CANN: 8.5.1"),
    ("vague-hardware", "NPU: Ascend910", "NPU: Ascend910B4"),
    ("no-noise-floor", "cosine: 0.99999", "cosine: 0.99999; a repeated run is bit-identical"),
    ("no-precision", f"{_NPU}- cosine: 0.99999", f"{_NPU}- cosine: 0.99999 (float32, HF32 off)"),
    ("no-figures", "Once upon a time", "cosine: 0.99999"),
]
