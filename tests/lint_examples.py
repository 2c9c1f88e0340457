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
    (
        "empty-value",
        "---\nlicense:\ntags:\n- NPU\n---\ntext",
        "---\nlicense: mit\ntags:\n- NPU\n---\ntext",
    ),
    (
        "null-value",
        "cosine_similarity: nan",
        "cosine_similarity: not computable (the reference is all zero)",
    ),
    ("null-value", "| a | b |\n|-|-|\n| CANN | None |", "Known issues: None\n\nFallback: none"),
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
        "npu-on-cpu",
        "device_name: Simulated NPU\n\nIt runs on the Ascend NPU.",
        "device_name: Simulated NPU\n\nIt was run on a simulated NPU, no real one. device: npu:0",
    ),
    (
        "generate-contradiction",
        "不调用 generate\n\n验证了端到端推理(包括 generate)",
        "验证了端到端推理(包括 generate)",
    ),
    (
        "hardware-contradiction",
        "NPU: Ascend 910B4\n\n芯片: Ascend 310P3",
        "NPU: Ascend910\n\n芯片: Ascend 910B4",
    ),
    (
        "npu-on-cpu",
        "设备: cpu\n\n模型在 Ascend NPU 上成功运行",
        "设备: cpu\n\n没有在 NPU 上成功运行",
    ),
    ("npu-on-cpu", "device: cpu\n\nNPU latency: 5 ms", "device: cpu\n\nNPU latency: not measured"),
    (
        "npu-on-cpu",
        "device_name: Simulated NPU\n\nNPU latency: 5 ms",
        "device_name: Simulated NPU\n\nlatency: 5 ms",
    ),
    (
        "bound-broken",
        "max_abs_diff: 0.02\n\nmax_abs_diff < 0.01\n\n判定: 通过",
        "max_abs_diff: 0.002\n\nmax_abs_diff < 0.01\n\n判定: 通过",
    ),
    (
        "bound-broken",
        "cosine: 0.98\n\ncosine > 0.99\n\nverdict: PASS",
        "cosine: 0.98\n\ncosine > 0.99\n\nverdict: FAIL",
    ),
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
        "mean-too-small",
        "输出形状: [1, 10]\nmax_abs_diff: 1.00\nmean_abs_diff: 0.01",
        "输出形状: [1, 192]\nmax_abs_diff: 1.00\nmean_abs_diff: 0.01",
    ),
    (
        "relative-below-cosine",
        "cosine: 0.9990\nrelative_l2: 0.01",
        "cosine: 0.99997\nrelative_l2: 0.0085",
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
    ("npu-without-hardware", "模型在 NPU 上成功运行", "模型在 NPU(Ascend 910B4)上成功运行"),
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
