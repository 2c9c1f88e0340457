"""run.json: what one run of inference.py was asked, what it used, and what it measured.

The record is whole at every moment: it starts as INTERRUPTED with every section null, and each section
is filled when it is known. A run that is killed leaves exactly that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import kit
from kit.devices import Device, Precision
from kit.documented import written
from kit.errors import UnsupportedError
from kit.evidence.declared import declared_model, keep_description
from kit.evidence.flag_claims import held_to_flags
from kit.evidence.logs import LOCAL_PATHS, RECORD, RUN_LOG, SUMMARY, WEIGHTS_LOG, Logs, log
from kit.evidence.schema import SCHEMA_VERSION, checked
from kit.evidence.search_log import search_text
from kit.evidence.summary import summarise
from kit.evidence.telling import tell_news
from kit.evidence.types.arithmetic import ProbedArithmetic
from kit.evidence.types.asked import Arguments
from kit.evidence.types.run import (
    ChosenDevice,
    Described,
    DeviceNoise,
    FedInput,
    RecordedCalls,
    RecordedSamples,
    Run,
    RunError,
)
from kit.evidence.types.shared import DeviceProof, LoadedFile, PrecisionFlags, Status, Weights
from kit.machine.cures import as_kit_error
from kit.machine.environment import Environment
from kit.models.adapter import Adapter, ModelInput
from kit.storage.fingerprint import describe_tensors, fingerprint

if TYPE_CHECKING:
    from torch import Tensor

    from kit.evidence.latency import Latency
    from kit.weights.casting import Cast
    from kit.weights.load import LoadedWeights
    from kit.weights.sources import Located
    from kit.weights.weight_file import WeightFile


class RunRecord:
    """The record of the run in hand. Each add_ fills its sections, writes the record as far as it is known,
    and the console is told of it from the record."""

    def __init__(self, logs: Logs, adapter: Adapter, arguments: Arguments) -> None:
        self._logs = logs
        self._info = adapter.info
        self._local_paths: dict[str, str] = {}
        self.run = Run(
            schema_version=SCHEMA_VERSION,
            kit_version=kit.__version__,
            status="INTERRUPTED",
            started_at=_now(),
            arguments=arguments,
            model=declared_model(adapter),
        )

    def add_device(self, device: Device, precision: Precision, environment: Environment) -> None:
        """The device that was chosen, its arithmetic flags, and the machine."""
        self._fill(
            device=ChosenDevice(
                kind=device.kind,
                spec=device.spec,
                name=device.name,
                count=device.count,
                cann_version=device.cann_version(),
                simulated=device.simulated,
                why_simulated=device.why_simulated,
                reason=device.reason,
            ),
            precision=PrecisionFlags(**asdict(precision)),
            environment=environment,
        )

    def add_search(self, found: Located, own_folder: Path | None) -> None:
        """The search for the weights, in pretrained_attempt.log and in the run's own. `own_folder` is the
        user's own of the model, if it came from one."""
        if own_folder is not None:
            self._keep_path("model", own_folder)
        info, file = self._info, found.file
        about = f"{_now()} weights of {info.hub_id} at revision {info.revision}\n"
        text = about + search_text(found.attempts, found.label, _loaded(file) if file else None)
        self._logs.write_text(WEIGHTS_LOG, text)
        for line in text.splitlines():
            log.debug(line)

    def add_weights(self, found: Located, loaded: LoadedWeights, *, seed: int) -> None:
        """What was loaded, or why nothing was."""
        file = found.file
        weights = Weights(
            pretrained_used=found.pretrained_used,
            pretrained_reason=found.pretrained_reason,
            local_weight_used=file is not None and not found.downloaded,
            weight_path=found.label,
            fallback_used=file is None,
            fallback_reason=found.pretrained_reason if file is None else None,
            seed=seed if file is None else None,
            files=[] if file is None else [_loaded(each) for each in file.files],
            attempts=list(found.attempts),
            fingerprint=loaded.fingerprint,
            parameters=loaded.parameters,
            tensors=loaded.tensors,
            contents=loaded.account,
            cast=None,
            outputs_of_random_heads=[],
        )
        if file is not None:
            self._keep_path("weights", file.path)
        self._fill(weights=weights)

    def add_random_heads(self, outputs: list[str]) -> None:
        """The outputs that come from heads which no file carried."""
        self._fill_weights(outputs_of_random_heads=outputs)

    def add_cast(self, cast: Cast) -> None:
        """What the cast to the dtype of the run did to the weights."""
        self._fill_weights(cast=cast)

    def add_input(self, chosen: ModelInput) -> None:
        """What the model is fed."""
        self._fill(
            input=FedInput(
                description=chosen.description,
                input_tokens=chosen.input_tokens,
                decoder_input=chosen.decoder_input,
                tensors=describe_tensors(chosen.tensors),
                fingerprint=fingerprint(chosen.tensors),
            )
        )

    def add_model(self, adapter: Adapter) -> None:
        """What the adapter declares, with the outputs that the model gave."""
        self._fill(model=declared_model(adapter))

    def add_proof(self, device_proof: DeviceProof) -> None:
        """Where everything was, and what fell back."""
        self._fill(device_proof=device_proof)

    def add_arithmetic(self, probed: ProbedArithmetic) -> None:
        """What crafted inputs say of how the device computes, and what of the flags that contradicts."""
        device, precision, proof = self.run.device, self.run.precision, self.run.device_proof
        assert device and precision and proof
        probed = held_to_flags(probed, precision.flags, device.name)
        self._fill(device_proof=msgspec.structs.replace(proof, arithmetic=probed))

    def add_samples(self, samples: RecordedSamples, data: Path) -> None:
        """The further samples: their inputs, and where their outputs are."""
        self._keep_path("data", data)
        self._fill(samples=samples)

    def add_module_calls(self, recorded: RecordedCalls) -> None:
        """What became of recording them; the run stands without it."""
        self._fill(module_calls=recorded)

    def add_results(
        self,
        outputs: Mapping[str, Tensor],
        described: Mapping[str, Any],
        *,
        noise: DeviceNoise,
        latency: Latency,
    ) -> None:
        """The first pass's outputs (on the CPU) and what they say in words; repeatability; latency."""
        self._fill(
            outputs=describe_tensors(outputs),
            noise=noise,
            latency=latency,
            described=msgspec.convert(described, Described),
        )

    def keep(self) -> None:
        """Write the record as far as it is known: whatever ends the process later leaves this.

        Only the record that ends the run is checked against its own form.
        """
        self._write(written(summarise(self.run)), written(self.run))

    def end(self, status: Status, error: RunError | None = None) -> None:
        """Check run.json and the summary that follows from it alone, and write both."""
        self.run = msgspec.structs.replace(self.run, status=status, error=error, finished_at=_now())
        self._write(checked(summarise(self.run)), checked(self.run))

    def _fill(self, **sections: Any) -> None:
        """Put sections into the record, and the record into its file; tell the console what is new."""
        before, self.run = self.run, msgspec.structs.replace(self.run, **sections)
        self.keep()
        tell_news(before, self.run)

    def _fill_weights(self, **fields: Any) -> None:
        """More of what is known of the weights."""
        assert self.run.weights is not None
        self._fill(weights=msgspec.structs.replace(self.run.weights, **fields))

    def _keep_path(self, what: str, path: Path) -> None:
        self._local_paths[what] = str(path.absolute())
        log.debug(f"{what}: {path.absolute()}")
        # In ASCII: a folder of this machine may have a name that is no UTF-8.
        self._logs.write_text(LOCAL_PATHS, f"{json.dumps(self._local_paths)}\n")

    def _write(self, summary: dict[str, Any], run: dict[str, Any]) -> None:
        # The summary first: at no moment does an old verdict stand beside a new record.
        self._logs.write_json(SUMMARY, summary)
        self._logs.write_json(RECORD, run)


@contextmanager
def recorded_run(logs: Logs, adapter: Adapter, arguments: Arguments) -> Iterator[RunRecord]:
    """Begin a run in `logs` and yield its record, to be filled section by section.

    The earlier run goes to the history first. run.json and summary.json say how it ended: SUCCESS,
    FAILED with the error, or, where the process was ended meanwhile, INTERRUPTED. Any exception leaves as
    a KitError.
    """
    logs.archive_earlier_run()
    keep_description(logs, adapter)
    record = RunRecord(logs, adapter, arguments)
    record.keep()
    with logs.logging_to(RUN_LOG):
        try:
            yield record
        except Exception as error:
            known = as_kit_error(error)
            status: Status = "UNSUPPORTED" if isinstance(known, UnsupportedError) else "FAILED"
            record.end(status, RunError(exit_code=known.exit_code, message=known.message))
            if known is error:
                raise  # `from error` would put it in the place of its own cause, which the log needs
            raise known from error
        record.end("SUCCESS")


def _loaded(file: WeightFile) -> LoadedFile:
    return LoadedFile(
        name=file.name,
        bytes=file.bytes,
        sha256=file.sha256,
        hash_origin=file.hash_origin,
        revision=file.revision,
        converted_from=file.converted_from,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
