"""Read weight files without executing code from them, and load them into torch modules with checked keys."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from musetalk_core.errors import ModelNotInstalled, WeightsInvalid
from musetalk_core.model_registry.file_checks import TRAINING_LOG_PACKAGES, pickle_problem, problem

Tensors = dict[str, torch.Tensor]

_MAX_NAMED_KEYS = 5


def read_tensors(path: Path) -> Tensors:
    """
    Read a state dict into memory.

    Nothing is memory-mapped, so overwriting the file later does not change a loaded network.

    Args:
        path: `.safetensors`, or a file of `torch.save` (`.bin`, `.pth`, `.pt`) with the state dict at the top
            or under `state_dict`, `model_state_dict` or `params_ema`. Only tensors and plain containers are
            read; a file that would execute code is rejected.

    Returns:
        Key -> tensor on the CPU, with the stored dtype.

    Raises:
        ModelNotInstalled: the file is missing.
        WeightsInvalid: the file is damaged or contains no tensors.
    """
    if not path.is_file():
        raise ModelNotInstalled(f"the weight file {path} is missing", file=path.name)
    try:
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch_file(path)
    except Exception as error:  # torch raises a dozen different types for damaged files
        # the text of torch is left out: it advises to load the file with code
        found = (
            problem(path, path.suffix)
            or pickle_problem(path, path.suffix)
            or (str(error) if isinstance(error, _NotAStateDict) else "is damaged and cannot be read")
        )
        raise WeightsInvalid(f"the weight file {path} {found}", file=path.name) from error
    for wrapper in ("state_dict", "model_state_dict", "params_ema"):
        content = content.get(wrapper, content)
    tensors = {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise WeightsInvalid(f"the weight file {path} holds no tensors", file=path.name)
    return tensors


def require_finite(module: nn.Module, path: Path) -> None:
    """
    Check that all parameters and buffers of a module are numbers.

    Args:
        module: a loaded network.
        path:   its weight file, for the error message.

    Raises:
        WeightsInvalid: a tensor holds an infinity or NaN; the message names it.
    """
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and tensor.layout == torch.strided and not torch.isfinite(tensor).all():
            raise WeightsInvalid(f"{path}: {name} holds values that are not finite", file=path.name)


def assign_weights(
    module: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    path: Path,
    display_name: Callable[[str], str] = str,
) -> None:
    """
    Assign tensors to a module that was built on the meta device, without copying them.

    Args:
        module:       its parameters are replaced by the tensors themselves.
        tensors:      must have exactly the module's keys and shapes.
        path:         the weight file, for the error message.
        display_name: maps a module key to the file's name of it, for the error message.

    Raises:
        WeightsInvalid: keys or shapes differ; the message names the first five of each kind.
    """
    expected = module.state_dict()
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    wrong_shapes = [
        f"{display_name(key)} {tuple(tensors[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    problems = [
        f"{what} {len(which)}: {', '.join(which[:_MAX_NAMED_KEYS])}"
        for what, which in (
            ("missing", [display_name(key) for key in missing]),
            ("unknown", [display_name(key) for key in unexpected]),
            ("wrong shape", wrong_shapes),
        )
        if which
    ]
    if problems:
        raise WeightsInvalid(
            f"{path} are not the weights of {type(module).__name__} ({'; '.join(problems)})", file=path.name
        )
    module.load_state_dict(tensors, strict=True, assign=True)


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118  it is no mapping


def copy_out_of_mapped_files(net: nn.Module) -> None:
    """
    Copy tensors of a module that may be memory-mapped from files into own memory, one at a time.

    Shared tensors, such as tied weights, stay shared.

    Args:
        net: only its tensors on the CPU are copied; tensors on other devices are never memory-mapped.
    """
    copies = dict[tuple[int, ...], torch.Tensor]()

    def own_copy(tensor: torch.Tensor) -> torch.Tensor:
        place = (tensor.data_ptr(), *tensor.shape)
        if place not in copies:
            copies[place] = tensor.detach().clone()
        return copies[place]

    for module in net.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.device.type == "cpu":
                parameter.data = own_copy(parameter)
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.device.type == "cpu":
                setattr(module, name, own_copy(buffer))  # setting .data would keep the mapped base alive


def _read_torch_file(path: Path) -> dict[str, Any]:
    with torch.serialization.safe_globals(_stand_ins(path)):
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(loaded, dict):
        raise _NotAStateDict(f"holds a {type(loaded).__name__}, not a state dict")
    return cast(dict[str, Any], loaded)


class _NotAStateDict(Exception):
    """The file holds another object."""


class _StandIn:
    """A stand-in for an object of a training log: it can be constructed and unpickled, and does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def _stand_ins(path: Path) -> list[Any]:
    """
    Return stand-ins for the training log in a checkpoint: histories, numpy scalars, dates.

    None of these libraries is imported or called. All other names in the file stay forbidden.
    """
    if not zipfile.is_zipfile(path):
        return []
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    allowed_names = [name for name in names if name.split(".")[0] in TRAINING_LOG_PACKAGES]
    return [(type(name, (_StandIn,), {}), name) for name in allowed_names]
