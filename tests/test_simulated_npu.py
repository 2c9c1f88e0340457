"""The simulated NPU of tests/simulated_npu: its device, its arithmetic and each of its switches.

The switches are read when the package is imported, so every test runs its snippet in a process of
its own, with the package on PYTHONPATH the way its users put it there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from starting import kept_environment, start_python

if find_spec("torch") is None:
    pytest.skip("the simulated NPU is a device of PyTorch", allow_module_level=True)

PACKAGE_PARENT = Path(__file__).parent / "simulated_npu"
TIMEOUT_S = 120

IMPORTS = """
import time, torch, torch_npu
NPU = torch.device("npu:0")

def raises(kind, action, *texts):
    try:
        action()
    except kind as error:
        missing = [text for text in texts if text not in str(error)]
        assert not missing, (missing, str(error))
    else:
        raise AssertionError(f"no {kind.__name__}")
"""

# A torchvision built for CUDA beside a CPU torch does not load its operators, and then neither timm
# nor transformers can be imported. Declaring the two that they need is enough.
TORCHVISION_OPS = """
vision = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, name):
        vision.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def command(snippet: str) -> list[str]:
    return [sys.executable, "-c", IMPORTS + textwrap.dedent(snippet)]


def environment(**variables: str) -> dict[str, str]:
    """A clean environment with the switches given."""
    path = os.pathsep.join([str(PACKAGE_PARENT), *sys.path])
    return (
        kept_environment() | {"PYTHONPATH": path, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"} | variables
    )


def run(snippet: str, **variables: str) -> subprocess.CompletedProcess[str]:
    process = start_python(*command(snippet)[1:], env=environment(**variables))
    out, err = process.communicate(timeout=TIMEOUT_S)
    return subprocess.CompletedProcess(snippet, process.returncode, out, err)


def run_silently(snippet: str, **variables: str) -> None:
    """The snippet's assertions hold, and nothing of the simulation is heard; what a library says of
    itself, a deprecation for example, is not ours."""
    done = run(snippet, **variables)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    words = r"npu|NPU|Traceback|Exception ignored|terminate called|Aborted|Segmentation"
    assert not re.search(words, done.stderr), done.stderr


def require(library: str) -> None:
    """Skip without `library`, which this process cannot import where torchvision is broken."""
    if find_spec(library) is None:
        pytest.skip(f"needs {library}")


def test_tensors_in_every_grad_mode() -> None:
    run_silently(
        """
        import copy, os, tempfile
        made_outside = torch.arange(6.0).view(2, 3).to(NPU)
        def check():
            for made in (
                torch.empty(2, device="npu:0"), torch.zeros(2, device="npu"),
                torch.ones(2, device=NPU), torch.full((2,), 3.0, device=NPU),
                torch.arange(5, device=NPU), torch.tensor([1, 2], device=NPU),
                torch.randn(3, device=NPU), torch.eye(3, device=NPU),
                torch.as_tensor([1.0], device=NPU), torch.tril_indices(3, 3, device=NPU),
                torch.zeros(2).npu(), torch.zeros_like(torch.ones(2), device=NPU),
            ):
                assert made.device == NPU and made.device.type == "npu" and made.is_npu
            assert torch.arange(2, 6, device=NPU).tolist() == [2, 3, 4, 5]
            assert torch.tensor([[1, 2]], device=NPU).cpu().equal(torch.tensor([[1, 2]]))

            for x in (made_outside, torch.arange(6.0, device=NPU).view(2, 3)):
                assert repr(x).endswith("device='npu:0')") and f"{x.sum():.1f}" == "15.0"
                assert x[1, 2].item() == 5 and x.sum().item() == 15 and len(x) == 2
                assert x[torch.tensor([1])].tolist() == [[3, 4, 5]]
                assert copy.deepcopy(x).equal(x)
                assert (x * torch.tensor(2.0)).tolist() == [[0, 2, 4], [6, 8, 10]]
                raises(RuntimeError, lambda: x + torch.ones(2, 3), "same device", "npu:0 and cpu!")
                raises(TypeError, x.numpy, "can't convert npu:0 device type tensor to numpy")

            x = torch.zeros(2, 3, device=NPU)
            row = x[0]
            assert row.fill_(7) is row and x.tolist() == [[7, 7, 7], [0, 0, 0]]
            assert x.t_() is x and x.shape == (3, 2)
            out = torch.empty(0, device=NPU)
            assert torch.add(x, x, out=out) is out and out.shape == (3, 2)
            x.data = torch.ones(4, device=NPU)
            assert (x + x).tolist() == [2, 2, 2, 2]

            host = torch.get_rng_state()
            torch.npu.manual_seed_all(5)
            first = torch.randn(3, device=NPU)
            assert not torch.randn(3, device=NPU).equal(first)
            torch.npu.manual_seed(5)
            assert torch.randn(3, device=NPU).equal(first) and torch.get_rng_state().equal(host)

            shared = torch.nn.Linear(2, 2)
            model = torch.nn.Sequential(shared, torch.nn.GELU(), shared).eval()
            weight = shared.weight
            assert model.to("npu:0")[2].weight is weight and weight.device == NPU
            assert isinstance(weight, torch.nn.Parameter) and weight.requires_grad
            assert all(value.device == NPU for value in model.state_dict().values())
            assert copy.deepcopy(model)[0].weight.device == NPU
            assert model(torch.ones(1, 2, device=NPU)).device == NPU
            assert model.half()[0].weight.dtype == torch.float16
            assert type(model.cpu()[0].weight.data) is torch.Tensor

        for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
            with mode():
                check()

        from safetensors.torch import load_file, save_file
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.safetensors")
            save_file({"x": made_outside.cpu()}, path)
            assert load_file(path)["x"].equal(made_outside.cpu())
        """
    )


def test_package_and_api() -> None:
    run_silently(
        """
        import importlib.util, pathlib
        assert importlib.util.find_spec("torch_npu").origin == torch_npu.__file__
        assert torch_npu.SIMULATED
        assert torch_npu.__version__ == torch.__version__.split("+")[0] + "+simulated"
        assert not list(pathlib.Path(torch_npu.__file__).parent.rglob("*.so"))
        assert torch.npu is torch_npu.npu
        assert torch.npu.is_available() and torch.npu.device_count() == 1
        assert torch.npu.get_device_name(0) == "Simulated NPU (Ascend910B4)"
        assert torch.npu.get_device_properties(0).name == torch.npu.get_device_name()
        assert torch.npu.get_device_properties(0).cube_core_num == 20
        assert torch.accelerator.current_accelerator().type == "npu"
        assert torch_npu.npu.utils.get_cann_version() == "8.5.1" == torch.version.cann

        assert torch.npu.memory_stats() == {} and torch.npu.max_memory_allocated() == 0
        assert torch.npu.conv.allow_hf32 is True and torch.npu.matmul.allow_hf32 is False
        torch.npu.matmul.allow_hf32 = True
        torch.npu.conv.alow_hf32 = False
        torch.npu.config.allow_internal_format = False
        assert torch.npu.matmul.allow_hf32 is True and torch.npu.conv.allow_hf32 is True
        assert torch.npu.conv.alow_hf32 is None
        raises(TypeError, lambda: setattr(torch.npu.conv, "allow_hf32", 1), "must be a bool", "int")
        torch.npu.set_option({"ACL_PRECISION_MODE": "must_keep_origin_dtype"})
        raises(ValueError, lambda: torch.npu.set_option({"ACL_PRECISION_MODE": "typo"}))
        assert torch.npu.is_jit_compile_false() and torch.npu.is_bf16_supported()
        torch.npu.set_compile_mode(jit_compile=True)
        assert not torch.npu.is_jit_compile_false()
        assert torch.npu.are_compatible_impl_enabled()
        ramp, gelu = torch.linspace(-4, 4, 101), torch.nn.functional.gelu
        assert gelu(ramp.to(NPU)).cpu().equal(gelu(ramp))

        torch.npu.set_device("npu:0")
        assert torch.npu.current_device() == 0 and torch.npu.current_stream().device == NPU
        torch.npu.Stream().synchronize()
        torch.npu.synchronize()
        torch.npu.empty_cache()

        x = torch.zeros(1000, device=NPU)
        view = x[10:20]
        assert torch.npu.memory_allocated() == 4000
        y = x + 1
        del y
        assert torch.npu.memory_allocated() == 4000 and torch.npu.max_memory_allocated() == 8000
        assert torch.npu.memory_stats()["allocated_bytes.all.peak"] == 8000
        torch.npu.reset_peak_memory_stats()
        assert torch.npu.max_memory_allocated() == 4000
        free, total = torch.npu.mem_get_info()
        assert total - free == 4000 and total == torch.npu.get_device_properties(0).total_memory
        del x
        assert torch.npu.memory_allocated() == 4000
        del view
        assert torch.npu.memory_allocated() == 0
        """,
        SIM_NPU_CANN="8.5.1",
        TORCH_NPU_USE_COMPATIBLE_IMPL="1",
    )


ROUNDING_REFERENCE = """
import numpy

def kept(x, bits):
    '''x with `bits` explicit mantissa bits, ties to even: numpy.rint of the scaled mantissa.'''
    mantissa, exponent = numpy.frexp(x.numpy().astype(numpy.float64))
    scale = 2.0 ** (bits + 1)
    return torch.from_numpy(numpy.ldexp(numpy.rint(mantissa * scale) / scale, exponent)).float()

def products(x, w):
    '''A matmul and a convolution of the same numbers, on x's device.'''
    return x @ w, torch.nn.functional.conv2d(x.view(8, 16, 1, 1), w.t().reshape(4, 16, 1, 1))

def expected(x, w, matmul, conv):
    return products(matmul(x), matmul(w))[0], products(conv(x), conv(w))[1]

def on_npu(x, w):
    return [y.cpu() for y in products(x.to(NPU), w.to(NPU))]

def same(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))

def exact(x):
    return x

x, w = torch.randn(8, 16), torch.randn(16, 4)
gelu = torch.nn.functional.gelu
ramp = torch.linspace(-4, 4, 101)
TANH, ERF = gelu(ramp, approximate="tanh"), gelu(ramp)
"""


def test_arithmetic_of_a_910b() -> None:
    run_silently(
        ROUNDING_REFERENCE
        + textwrap.dedent(
            """
            from torch_npu._arithmetic import round_to_hf32
            hf32 = lambda x: kept(x, 11)
            special = torch.tensor([1 + 2**-12, 1 + 3 * 2**-12, 2 - 2**-13, -0.0, 3e38])
            special = torch.cat([special, torch.randn(10000) * torch.logspace(-30, 30, 10000)])
            assert round_to_hf32(special).equal(hf32(special))
            assert ((round_to_hf32(special) - special).abs() <= special.abs() * 2**-12).all()
            odd = torch.tensor([0x7FFFFFFF, 0x7F800000, -0x800000], dtype=torch.int32)
            odd = round_to_hf32(odd.view(torch.float32))
            assert odd[0].isnan() and odd[1] == torch.inf and odd[2] == -torch.inf

            assert same(on_npu(x, w), expected(x, w, matmul=exact, conv=hf32))
            torch.npu.matmul.allow_hf32, torch.npu.conv.allow_hf32 = True, False
            assert same(on_npu(x, w), expected(x, w, matmul=hf32, conv=exact))
            half = on_npu(x.half(), w.half())
            assert same(half, products(x.half(), w.half()))
            baddbmm = lambda a, b: torch.baddbmm(a.new_zeros(1), a, b)
            for bmm in (torch.bmm, baddbmm):
                ours = bmm(x[None].to(NPU), w[None].to(NPU)).cpu()
                assert ours.equal(bmm(hf32(x)[None], hf32(w)[None]))
            raises(RuntimeError, lambda: on_npu(x.double(), w.double()), "161002", "EZ1001",
                   "not implemented for DT_DOUBLE")

            assert gelu(ramp.to(NPU)).cpu().equal(TANH) and not TANH.equal(ERF)
            torch.npu.use_compatible_impl(True)
            assert gelu(ramp.to(NPU)).cpu().equal(ERF)
            """
        )
    )


def test_arithmetic_of_a_910a() -> None:
    run_silently(
        ROUNDING_REFERENCE
        + textwrap.dedent(
            """
            assert "910A" in torch.npu.get_device_name() and not torch.npu.is_bf16_supported()
            torch.npu.conv.allow_hf32 = False
            fp16 = lambda x: kept(x, 10)
            assert same(on_npu(x, w), expected(x, w, matmul=fp16, conv=fp16))
            assert not on_npu(x * 1e5, w)[0].isfinite().any()
            assert gelu(ramp.to(NPU)).cpu().equal(ERF)
            """
        ),
        SIM_NPU_CHIP="910A",
        SIM_NPU_GELU="erf",
    )


def test_exact_models_equal_the_cpu() -> None:
    """A ViT and a T5, the latter also a second step on its past and generating."""
    require("timm")
    require("transformers")
    run_silently(
        ROUNDING_REFERENCE
        + TORCHVISION_OPS
        + textwrap.dedent(
            """
            torch.npu.matmul.allow_hf32 = True
            assert same(on_npu(x, w), products(x, w)) and gelu(ramp.to(NPU)).cpu().equal(ERF)

            import timm
            from torch.nn.attention import SDPBackend, sdpa_kernel
            model = timm.create_model("vit_tiny_patch16_224").eval()
            image = torch.randn(1, 3, 224, 224)
            # The device has no fused attention; the CPU is to use the same formula.
            with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
                reference = model(image)
            model.to("npu:0")
            for mode in (torch.no_grad, torch.inference_mode):
                with mode():
                    logits = model(image.to(NPU))
                assert logits.device == NPU
                assert torch.allclose(logits.cpu(), reference, rtol=0, atol=1e-6)

            from transformers import T5Config, T5ForConditionalGeneration
            sizes = dict(vocab_size=64, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
            config = T5Config(**sizes, decoder_start_token_id=0, feed_forward_proj="gated-gelu")
            model = T5ForConditionalGeneration(config).eval()
            ids, start = torch.randint(2, 64, (1, 9)), torch.tensor([[0]])

            def answers(device):
                model.to(device)
                first = model(input_ids=ids.to(device), decoder_input_ids=start.to(device))
                second = model(
                    encoder_outputs=(first.encoder_last_hidden_state,),
                    decoder_input_ids=start.to(device),
                    past_key_values=first.past_key_values,
                )
                said = model.generate(
                    ids.to(device), max_new_tokens=4, min_new_tokens=4, do_sample=False,
                    return_dict_in_generate=True, output_scores=True,
                )
                made = [first.logits, second.logits, said.sequences, *said.scores]
                assert len(made) == 7 and all(tensor.device.type == device[:3] for tensor in made)
                return [tensor.cpu() for tensor in made]

            with torch.no_grad():
                theirs = answers("cpu")
            for mode in (torch.no_grad, torch.inference_mode):
                with mode():
                    ours = answers("npu:0")
                    for a, b in zip(ours, theirs, strict=True):
                        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5)
            assert model.shared.weight is model.encoder.embed_tokens.weight
            """
        ),
        SIM_NPU_EXACT="1",
    )


def test_planted_faults() -> None:
    done = run(
        """
        x = torch.ones(2, 2, device=NPU)
        assert [x.exp().equal(x.exp()) for _ in range(2)] == [False, True]  # calls 1 to 4
        assert x.sin()[0, 0].isnan() and x.sin().isnan().sum() == 1
        x.cos()
        raises(RuntimeError, x.cos, "call aclnnCos failed, error code is 561103: a, b")
        x.cos()
        a, b = x @ x, x @ x
        assert 0 < (a - b).abs().max() < 1e-2
        for _ in range(2):
            x.tanh(), x + x, x.mul(2)
        """,
        SIM_NPU_FAULT="aten::exp:2:1.5",
        SIM_NPU_NAN="aten::sin:*",
        SIM_NPU_RAISE="aten::cos:2:call aclnnCos failed, error code is 561103: a, b",
        SIM_NPU_NONREPEATABLE="1e-4",
        SIM_NPU_FALLBACK="aten::tanh,aten::add.Tensor,aten::mul.Scalar",
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    warnings = [line.partition("Warning: ")[2] for line in done.stderr.splitlines()]
    assert [text for text in warnings if text.startswith("CAUTION")] == [
        f"CAUTION: The operator '{op}' is not currently supported on the NPU backend and will fall "
        "back to run on the CPU. This may have performance implications. "
        "(function npu_cpu_fallback)"
        for op in ("aten::tanh", "aten::add.Tensor")
    ]


@pytest.mark.full  # a cold start
def test_the_interpreter_s_exit_is_silent() -> None:
    run_silently("held = torch.ones(2, device=NPU) + 1", KIT_TESTS_COLD="1")


def test_silenced_fallback_and_default_fault() -> None:
    run_silently(
        """
        x = torch.ones(2, device=NPU)
        assert torch.allclose(x.tanh().cpu() / torch.ones(2).tanh(), torch.tensor(1.05))
        assert torch.allclose(x.tanh_().cpu() / torch.ones(2).tanh(), torch.tensor(1.0))
        assert torch.allclose(x.tanh().cpu() / torch.ones(2).tanh().tanh(), torch.tensor(1.0))
        """,
        SIM_NPU_FALLBACK="aten::tanh",
        SIM_NPU_FAULT="aten::tanh:1",
        TORCH_NPU_DISABLED_WARNING="1",
    )


def test_two_devices_and_little_memory() -> None:
    run_silently(
        """
        assert torch.npu.device_count() == 2
        x, y = torch.ones(2).to("npu:0"), torch.ones(2, device="npu:1")
        assert (x.device.index, y.device.index, (y + y).device.index) == (0, 1, 1)
        assert x.to("npu:1").device == y.device
        raises(RuntimeError, lambda: x + y, "npu:0 and npu:1")
        with torch.npu.device(1):
            assert torch.zeros(1, device="npu").device.index == 1
        raises(RuntimeError, lambda: torch.zeros(1, device="npu:2"), "error code is 107001")
        raises(AssertionError, lambda: torch.npu.get_device_name(2), "Invalid device id")

        big = torch.zeros(2**18, device="npu:0")
        raises(torch.OutOfMemoryError, lambda: torch.zeros(2**17, device=NPU),
               "NPU out of memory. Tried to allocate 512.00 KiB (NPU 0; 1.00 MiB total capacity; ")
        raises(torch.OutOfMemoryError, lambda: big + 1, "Tried to allocate 1.00 MiB")
        torch.zeros(2**17, device="npu:1")
        """,
        SIM_NPU_DEVICES="2",
        SIM_NPU_OOM=str(2**20 + 8),
    )


def test_no_device() -> None:
    run_silently(
        """
        assert not torch.npu.is_available() and torch.npu.device_count() == 0
        torch.manual_seed(0)
        texts = ("NPU function error: c10_npu::SetDevice(device_id_), error code is 107001",
                 "Invalid device ID.")
        raises(RuntimeError, lambda: torch.zeros(1, device="npu:0"), *texts)
        raises(RuntimeError, lambda: torch.zeros(1).to("npu"), *texts)
        raises(RuntimeError, lambda: torch.nn.Linear(1, 1).to("npu:0"), *texts)
        raises(RuntimeError, torch.npu.synchronize, *texts)
        raises(TypeError, torch.npu.get_device_name)
        raises(AssertionError, lambda: torch.npu.get_device_name(0), "Invalid device id")
        """,
        SIM_NPU_DEVICES="0",
    )


def test_asynchronous_time() -> None:
    run_silently(
        """
        def timed(action):
            start = time.perf_counter()
            action()
            return (time.perf_counter() - start) * 1000

        def launch():
            for _ in range(4):
                x.view(2, 1).exp()

        x = torch.ones(2, device=NPU)
        launch()
        torch.npu.synchronize()
        start, end = (torch.npu.Event(enable_timing=True) for _ in range(2))
        start.record()
        assert timed(launch) < 100
        end.record()
        assert not end.query()
        assert 300 < timed(torch.npu.synchronize) < 600
        assert end.query() and 400 <= start.elapsed_time(end) < 600

        for wait in (x.cpu, x[0].item, x.tolist, lambda: torch.zeros(2).copy_(x), x.nonzero):
            x.exp()
            assert timed(wait) > 80
        x.exp()
        mark = torch.npu.current_stream().record_event()
        assert timed(mark.synchronize) > 80 and timed(torch.npu.synchronize) < 50
        """,
        SIM_NPU_DELAY_MS="100",
    )


def test_time_of_one_operator_and_failing_synchronize() -> None:
    run_silently(
        """
        x = torch.ones(1, 1, 4, 4, device=NPU)
        w = torch.ones(1, 1, 2, 2, device=NPU)
        for _ in range(3):
            x.exp()
        start = time.perf_counter()
        x.cpu()
        assert time.perf_counter() - start < 0.1
        torch.nn.functional.conv2d(x, w).cpu()
        assert time.perf_counter() - start > 0.2
        for wait in (torch.npu.synchronize, torch.npu.current_stream().synchronize):
            raises(RuntimeError, wait, "NPU function error", "error code is 507015")
        """,
        SIM_NPU_DELAY_MS="200",
        SIM_NPU_DELAY_OP="aten::convolution",
        SIM_NPU_SYNC_FAIL="1",
    )


@pytest.fixture
def hanging() -> Iterator[subprocess.Popen[str]]:
    snippet = """
    torch.npu.set_device(0)
    print("allocating", flush=True)
    torch.zeros(1, device=NPU)
    print("allocated", flush=True)
    """
    variables = environment(SIM_NPU_HANG="1")
    with subprocess.Popen(command(snippet), env=variables, stdout=-1, text=True) as process:
        yield process
        process.kill()


def test_hang(hanging: subprocess.Popen[str]) -> None:
    assert hanging.stdout is not None
    assert hanging.stdout.readline() == "allocating\n"
    with pytest.raises(subprocess.TimeoutExpired):
        hanging.wait(timeout=1.5)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"SIM_NPU_IMPORT_ERROR": "1"},
            "ImportError: libhccl.so: cannot open shared object file: No such file or directory",
        ),
        ({"SIM_NPU_IMPORT_ERROR": "no CANN here"}, "ImportError: no CANN here"),
        ({"SIM_NPU_EXCAT": "1"}, "ValueError: unknown switches ['SIM_NPU_EXCAT']"),
        ({"SIM_NPU_DEVICES": "3"}, "ValueError: SIM_NPU_DEVICES='3' cannot be read"),
        ({"SIM_NPU_NAN": "aten::mm"}, "ValueError: SIM_NPU_NAN='aten::mm' cannot be read"),
        ({"SIM_NPU_NAN": "aten::linear:1"}, "ValueError: aten::linear is composed of other"),
    ],
)
def test_import_fails(variables: dict[str, str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import torch_npu"],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
