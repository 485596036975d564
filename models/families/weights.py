"""A transformers model from a folder, strictly: a tensor left at random is an error, never a warning."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedModel
from transformers.utils import logging

from models.errors import UserError

Model = TypeVar("Model", bound=PreTrainedModel)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_strictly(model_class: type[Model], folder: Path, attention: str, device: str, dtype: str) -> Model:
    """Load safetensors, both with the hub's key names and with those of transformers 5.

    Raises UserError that names the tensor where one is missing, has another shape, or belongs to no module.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not known; use one of {', '.join(DTYPES)}")
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # its load report says at length what the UserError below says in a sentence
    try:
        model, report = model_class.from_pretrained(
            folder,
            attn_implementation=attention,
            dtype=DTYPES[dtype],
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except StrictDataclassError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{folder / 'config.json'} does not describe a {model_class.__name__}: {reason}") from error
    _check(folder, report)
    return _on_device(model, device).eval()


def _check(folder: Path, report: Mapping[str, Collection[Any]]) -> None:
    for name, found, expected in sorted(report["mismatched_keys"]):
        raise UserError(f"{folder}: the tensor {name} has shape {list(found)}, config.json asks for {list(expected)}")
    missing = sorted(report["missing_keys"])
    if missing:
        raise UserError(f"{folder}: the weights lack the tensor {missing[0]}{_more(missing)}")
    unexpected = sorted(report["unexpected_keys"])
    if unexpected:
        raise UserError(
            f"{folder}: the weights hold the tensor {unexpected[0]}{_more(unexpected)}, which belongs nowhere"
        )


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _on_device(model: Model, device: str) -> Model:
    try:
        return model.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"the device {device!r} cannot be used here ({str(error).splitlines()[0]})") from error
