"""Failure texts of Ascend hosts as people reported them in public, shortened to what was raised.

`source` is the report. `cure` is a part of the right next step, as the report's answers or the text itself
give it; None where nobody knew one, and the kit has to say that it does not know either. `where` tells at
which moment of a run the text is met: when torch_npu is imported, at the first use of the device, or in an
operator.
"""

from __future__ import annotations

from dataclasses import dataclass

SET_CANN = "source /usr/local/Ascend/ascend-toolkit/set_env.sh"
FUNCTION = "build/CMakeFiles/torch_npu.dir/compiler_depend.ts:146 NPU function error: "
SET_DEVICE = f"Initialize:{FUNCTION}c10_npu::SetDevice(device_id_), error code is "
COMPILE_OPTION = (
    f"SetPrecisionMode:{FUNCTION}at_npu::native::AclSetCompileopt(aclCompileOpt::ACL_PRECISION_MODE, "
    "precision_mode), error code is "
)
LAUNCH_BLOCKING = "ASCEND_LAUNCH_BLOCKING=1 names"


@dataclass(frozen=True)
class Reported:
    source: str
    where: str
    text: str
    cure: str | None


REPORTED = (
    # ---- libraries that are not found or do not fit ---------------------------------------------
    Reported(
        "vllm-project/vllm-ascend#152",
        "IMPORT",
        "libatb.so: cannot open shared object file: No such file or directory",
        "source /usr/local/Ascend/nnal/atb/set_env.sh",
    ),
    Reported(
        "PaddlePaddle/FastDeploy#1808",
        "IMPORT",
        "error while loading shared libraries: libascendcl.so: cannot open shared object file: No such "
        "file or directory",
        SET_CANN,
    ),
    Reported(
        "flagos-ai/vllm-plugin-FL#77",
        "IMPORT",
        "libtorch_npu.so: cannot open shared object file: No such file or directory",
        "import torch and torch_npu before what asks for it",
    ),
    Reported(
        "Ascend/pytorch#7, a comment",
        "IMPORT",
        "/opt/cann/bin/../lib/libgomp.so.1: cannot allocate memory in static TLS block",
        "export LD_PRELOAD=/opt/cann/bin/../lib/libgomp.so.1",
    ),
    Reported(
        "hiyouga/LlamaFactory#8768",
        "IMPORT",
        "/data/lib/sklearn/utils/../../scikit_learn.libs/libgomp-d22c30c5.so.1.0.0: cannot allocate memory "
        "in static TLS block",
        "export LD_PRELOAD=/data/lib/sklearn/utils/../../scikit_learn.libs/libgomp-d22c30c5.so.1.0.0",
    ),
    Reported(
        "vllm-project/vllm-ascend#117",
        "IMPORT",
        "/site-packages/torch_npu/lib/libtorch_npu.so: undefined symbol: "
        "_ZN3atb15CreateOperationINS_5infer14GroupTopkParamEEEiRKT_PPNS_9OperationE",
        "install the NNAL of torch_npu's CANN version",
    ),
    Reported(
        "Ascend/pytorch#99",
        "INIT",
        "/home/mtp/Ascend/nnal/atb/latest/atb/cxx_abi_1/lib/libtbe_adapter.so: undefined symbol: "
        "_ZN3Mki2DlC1ERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEb",
        "install the NNAL of torch_npu's CANN version",
    ),
    Reported(
        "vllm-project/vllm-ascend#1144",
        "IMPORT",
        "undefined symbol: _ZNK6AsdOps3Ops18GetOperationByNameERKSs",
        "source its set_env.sh once torch is installed",
    ),
    Reported(
        "open-mmlab/mmcv#3299",
        "IMPORT",
        "/mmcv/_ext.cpython-39-aarch64-linux-gnu.so: undefined symbol: _ZN7c10_npu10NpuRunMode9cur_mode_E",
        "build or install it again beside this torch_npu",
    ),
    Reported(
        "Ascend/samples#21",
        "INIT",
        "path = /usr/local/Ascend/ascend-toolkit/7.0.RC1/opp/built-in/op_impl/host_cpu/libops_host_cpu.so, "
        "error = libops_host_cpu.so: undefined symbol: _ZN2ge14GetShapeErrMsgEjRKSsS1_",
        "two packages were built for other versions of each other",
    ),
    Reported(
        "vllm-project/vllm-ascend#1261",
        "INIT",
        "Failed to find function aclmdlRICaptureBegin [ERROR] 2025-06-17-14:07:56 (PID:3846447, Device:0, "
        "RankID:-1) ERR00008 PTA resource not found",
        "install the CANN of torch_npu's version row",
    ),
    # ---- Python packages ------------------------------------------------------------------------
    Reported(
        "Ascend/pytorch#24",
        "IMPORT",
        "No module named 'torch_npu._C'",
        "run from another folder than torch_npu's sources",
    ),
    Reported(
        "Ascend/pytorch#29",
        "INIT",
        "ModuleNotFoundError: No module named 'tbe.common'",
        SET_CANN,
    ),
    Reported(
        "Ascend/pytorch#37",
        "IMPORT",
        "module 'torch_npu.dynamo.torchair' has no attribute 'get_npu_backend'",
        None,
    ),
    Reported(
        "flashserve/flash-linear-attention-npu#2",
        "IMPORT",
        "module 'torch_npu' has no attribute '_autoload'",
        None,
    ),
    Reported(
        "Ascend/pytorch#7",
        "INIT",
        "EH9999: Inner Error! EH9999 [Init][Env]init env failed![FUNC:ReportInnerError][FILE:log_inner.cpp]"
        " TraceBack (most recent call last): build op model failed, result = 500001",
        "pip install attrs decorator psutil scipy",
    ),
    Reported(
        "tile-ai/tilelang-ascend#112",
        "INIT",
        f"{COMPILE_OPTION}500001\n[Error]: The internal ACL of the system is incorrect.\n"
        "Environment_Error_Failed_To_Import_Python_Module(EC0010): Failed to import Python module "
        "[ValueError: Cannot find global function cce.product_init.].",
        "make that import work in this Python",
    ),
    Reported("tile-ai/tilelang-ascend#587", "INIT", f"{COMPILE_OPTION}107000", None),
    # ---- devices --------------------------------------------------------------------------------
    Reported(
        "vllm-project/vllm-ascend#449",
        "INIT",
        "AssertionError: Invalid device id",
        "choose --device npu:N among them",
    ),
    Reported(
        "gpustack/gpustack#3352",
        "INIT",
        "SetDevice:Set visible device failed, invalid device=0, input visible devices:4\n"
        "rtSetDevice:ErrCode=107001, desc=[device id error], InnerCode=0x7010003",
        "choose --device npu:N among them",
    ),
    Reported(
        "vllm-project/vllm-ascend#322, a comment",
        "INIT",
        f"init:{FUNCTION}aclrtGetDeviceCount(&device_count), error code is 207004",
        "npu-smi info lists the devices",
    ),
    Reported(
        "Ascend/pytorch#67",
        "INIT",
        f"{SET_DEVICE}507033\n[ERROR] (PID:528886, Device:-1, RankID:-1) ERR00100 PTA call acl api failed\n"
        "[Error]: Failed to start the device.\nEL0003: The argument is invalid.",
        "npu-smi info shows its health and who holds it",
    ),
    Reported(
        "hw-native-sys/PTOAS#341",
        "INIT",
        "aclrtSetDevice(deviceId) failed: 507033 RecentErrMsg: Memory_Allocation_Failure(EL0004): Failed "
        "to allocate memory. Possible Cause: Available memory is insufficient.",
        "free the device (npu-smi info shows who holds it)",
    ),
    Reported(
        "PaddlePaddle/PaddleOCR#16162",
        "INIT",
        "Call aclInit(nullptr) failed : 507008",
        "the driver is not visible to this process, or does not fit CANN",
    ),
    Reported(
        "vllm-project/vllm-ascend#2698",
        "INIT",
        "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005",
        "pass in /dev/davinci_manager",
    ),
    Reported(
        "Ascend/pytorch#57",
        "INIT",
        "Unsupported SOC version: Ascend310B4",
        "install the release that supports it",
    ),
    Reported(
        "flagos-ai/vllm-plugin-FL#77, later",
        "INIT",
        "Two accelerators cannot be used at the same time in PyTorch: npu and npu. Please reboot torch_npu",
        None,
    ),
    # ---- operators ------------------------------------------------------------------------------
    Reported(
        "vllm-project/vllm-ascend#3141",
        "OPERATOR",
        f"operator():{FUNCTION}call aclnnMoeDistributeDispatchV2 failed, error code is 207001\n"
        "[Error]: Failed to apply for memory.\nEL0004: Failed to allocate memory.",
        "take --dtype float16",
    ),
    Reported(
        "flashserve/flash-linear-attention-npu#149",
        "OPERATOR",
        "NPU out of memory. Tried to allocate more than 1EB memory",
        LAUNCH_BLOCKING,
    ),
    Reported(
        "vllm-project/vllm-ascend#116",
        "OPERATOR",
        "copy_d2d:torch_npu/csrc/aten/common/CopyKernel.cpp:274 NPU function error: "
        "c10_npu::acl::AclrtSynchronizeStreamWithTimeout(copy_stream), error code is 507001",
        None,
    ),
    Reported(
        "Ascend/pytorch#62",
        "OPERATOR",
        "npuSynchronizeDevice:torch_npu/csrc/core/npu/NPUStream.cpp:435 NPU function error: "
        "aclrtSynchronizeDevice, error code is 507046",
        None,
    ),
    Reported(
        "vllm-project/vllm-ascend#7676",
        "OPERATOR",
        f"synchronize:{FUNCTION}c10_npu::acl::AclrtSynchronizeStreamWithTimeout(stream()), error code is "
        "507011",
        None,
    ),
    Reported(
        "vllm-project/vllm-ascend#2800",
        "OPERATOR",
        f"operator():{FUNCTION}c10_npu::acl::AclrtSynchronizeStreamWithTimeout(copy_stream), error code is "
        "507048",
        LAUNCH_BLOCKING,
    ),
    Reported(
        "zai-org/GLM-OCR#232",
        "OPERATOR",
        "EZ9999[PID: 36234] (EZ9999): The error from device(chipId:3, dieId:0), serial number is 7, there "
        "is an exception of aivec error, core id is 3, error code = 0x800000",
        LAUNCH_BLOCKING,
    ),
    Reported(
        "open-mmlab/mmcv#3203",
        "OPERATOR",
        "Run:torch_npu/csrc/framework/OpParamMaker.cpp:128 NPU error,NPU error code is:100000 EZ9999: "
        "Inner Error EZ9999 Kernel task happen error, retCode=0x2a, [aicpu exception]",
        LAUNCH_BLOCKING,
    ),
    Reported(
        "hiyouga/LlamaFactory#3670",
        "OPERATOR",
        "Message info[0]:RTS_HWTS: aicore exception, slot_id=31, stream_id=3",
        LAUNCH_BLOCKING,
    ),
    Reported(
        "vllm-project/vllm#8054",
        "OPERATOR",
        "aclnnPromptFlashAttentionV3 or aclnnPromptFlashAttentionV3GetWorkspaceSize not in libopapi.so, or "
        "libopapi.sonot found.",
        "the CANN of torch_npu's version row",
    ),
    Reported(
        "vllm-project/vllm-ascend#397",
        "OPERATOR",
        f"create:{FUNCTION[:-20]}HCCL function error: HcclCommInitRootInfo(numRanks, &rootInfo, rank, "
        "&(comm->hcclComm_)), error code is 7",
        None,
    ),
)
