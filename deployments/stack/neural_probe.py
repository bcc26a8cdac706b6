"""Estimate of the speed of the neural engine on this machine, without its weights."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tasks.settings import ModelSettings

if TYPE_CHECKING:
    import torch

_CONV_SHARE: Final = 0.91
"""Share of a frame's arithmetic in convolutions; the rest is matrix products. Counted by torch, as below."""
_FRAME_TERAFLOP: Final = 0.80
"""Arithmetic of one 256x256 face: UNet at 32x32 latents 0.178, VAE decoder 0.622, in 10^12 operations."""
_FRAMES_PER_S: Final = 25
_PROBE_S: Final = 1.0
"""Seconds of each of the two measurements."""


@dataclass(frozen=True, slots=True)
class SpeedEstimate:
    """
    An estimate of the render speed.

    Attributes:
        device:       device and precision.
        seconds:      expected seconds of rendering per second of video at 25 frames per second.
        teraflops:    measured speed in 10^12 operations per second, weighted as in the networks.
        measured_s:   duration of the measurement in seconds.
    """

    device: str
    seconds: float
    teraflops: float
    measured_s: float

    def describe(self) -> str:
        """Return the estimate as a sentence that says how it was made."""
        return (
            f"about {self.seconds:.3g} s per second of video on {self.device}: estimated from"
            f" {self.measured_s:.1f} s of convolutions and matrix products of the networks' sizes"
            f" ({self.teraflops:.3g} TFLOP/s) and {_FRAME_TERAFLOP} TFLOP a frame; the networks themselves,"
            " face tracking and encoding were not measured"
        )


def estimate_speed(models: ModelSettings) -> SpeedEstimate:
    """
    Measure two typical operations of MuseTalk's networks for about two seconds and scale them to a frame.

    Args:
        models: device and precision.

    Raises:
        InputError: the machine has no such device.
        ModuleNotFoundError: torch is not installed.
    """
    import torch

    from musetalk_core.runtime.device import choose_device

    device = choose_device(models.device, models.precision)
    where: dict[str, Any] = {"device": device.torch_device, "dtype": device.dtype}
    batch = 1 if device.torch_device.type == "cpu" else 4
    started_at = time.monotonic()
    with torch.inference_mode():
        pixels = torch.zeros(batch, 256, 128, 128, **where)
        kernel = torch.zeros(256, 256, 3, 3, **where)
        conv = _speed(
            lambda: torch.nn.functional.conv2d(pixels, kernel, padding=1),
            2.0 * batch * 256 * 256 * 9 * 128 * 128,
            device.torch_device,
        )
        left = torch.zeros(batch * 1024, 1280, **where)
        right = torch.zeros(1280, 1280, **where)
        product = _speed(lambda: left @ right, 2.0 * batch * 1024 * 1280 * 1280, device.torch_device)
    speed = 1.0 / (_CONV_SHARE / conv + (1 - _CONV_SHARE) / product)
    return SpeedEstimate(
        device.name,
        _FRAMES_PER_S * _FRAME_TERAFLOP * 1e12 / speed,
        speed / 1e12,
        time.monotonic() - started_at,
    )


def _speed(run: Any, operations: float, device: "torch.device") -> float:
    """Return how many operations per second a computation reaches; the first, slower run is not counted."""
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    run()
    wait()
    started_at, count = time.monotonic(), 0
    while time.monotonic() - started_at < _PROBE_S:
        run()
        wait()
        count += 1
    return operations * count / (time.monotonic() - started_at)
