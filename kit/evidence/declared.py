"""The model of a record: a folder of this checkout's models/, or what logs/model/ says how to build."""

from __future__ import annotations

import msgspec

from kit.errors import KitError, UntrustedError
from kit.evidence.logs import MODEL, RECORD, Logs
from kit.evidence.types.asked import DeclaredModel
from kit.evidence.types.run import Run
from kit.models.adapter import Adapter, describe_model
from kit.models.declaration import CONFIG
from kit.models.derived import read_describing, rebuilt
from kit.models.known import load_adapter
from kit.storage.hashes import sha256_of_bytes
from kit.words import Reason


def keep_description(logs: Logs, adapter: Adapter) -> None:
    """Write what a model without a folder of this checkout is built from, for whoever has only logs/."""
    if adapter.folder is None:
        for name, content in adapter.files.items():
            logs.write_bytes(f"{MODEL}/{name}", content)


def declared_model(adapter: Adapter) -> DeclaredModel:
    """The record's model section: what the adapter declares."""
    return msgspec.convert(describe_model(adapter), DeclaredModel)


def adapter_of(logs: Logs, run: Run) -> Adapter:
    """The adapter that made the record. Nothing that a record names is imported, but this checkout's own
    models/ and the library's classes.

    Raises UntrustedError where the model is not here, or is not what the record says of it.
    """
    model = run.model
    try:
        if model.adapter is not None:
            adapter, where = load_adapter(model.adapter), f"models/{model.adapter}"
        else:
            adapter, where = rebuilt(_read_config(logs, model), model), MODEL
    except UntrustedError:
        raise
    except KitError as error:
        raise UntrustedError(
            Reason("names_other_model", record=RECORD, why=error.reason), error.cure
        ) from error
    if model.attention:
        adapter = adapter.with_attention(model.attention)
    if run.outputs:
        adapter = adapter.with_outputs({name: each.shape for name, each in run.outputs.items()})
    if model != declared_model(adapter):
        raise UntrustedError(
            Reason("describes_other", record=RECORD, where=str(where)), Reason("run_again")
        )
    return adapter


def _read_config(logs: Logs, model: DeclaredModel) -> bytes:
    """logs/model/config.json, if it is that of the record."""
    path = logs.path(MODEL) / CONFIG
    if path.is_symlink() or path.parent.is_symlink():
        raise UntrustedError(Reason("linked_file", path=f"{MODEL}/{CONFIG}"), Reason("remove_it"))
    config = read_describing(path)
    if {CONFIG: sha256_of_bytes(config)} != model.files:
        raise UntrustedError(Reason("other_config", path=f"{MODEL}/{CONFIG}"), Reason("run_again"))
    return config
