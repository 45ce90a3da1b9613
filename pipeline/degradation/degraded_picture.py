"""Pictures as stage one sees them (upright RGB with square pixels), made worse.

    blur              Gaussian, over the whole picture; its width goes by the clip's usual face
    darkness          less light on the sensor, with the noise of light and sensor, and no gain against it
    occlusion_lower   the lower part of the face's box is grey
    occlusion_upper   the upper part

Light: bytes are taken for sRGB (IEC 61966-2-1). White is `_FULL_WELL_E` electrons per pixel and channel at
full light. A pixel of E electrons varies by sqrt(E) for the light's own noise and by `_READ_NOISE_E` for the
sensor's (EMVA 1288), both taken for Gaussian.
"""

from __future__ import annotations

from functools import cache, cached_property
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pipeline.degradation.condition import Condition
from pipeline.degradation.random_streams import random_stream

# A phone's camera.
_FULL_WELL_E = 4000.0
_READ_NOISE_E = 4.0
# The middle of the range: zero for backbones that take faces from -1 to 1.
OCCLUDER_GREY = 128
# Of a Gaussian, in standard deviations on either side.
_BLUR_REACH = 4.0
# Steps of light between black and white; the steepest of them is a twentieth of a byte.
_NUM_LIGHT_STEPS = 2**16


class PictureDegradation:
    """What happens to the pictures of one clip.

    Args:
        condition: Of the modality `visual`.
        clip_id: The clip.
        seed: Of the study.
    """

    def __init__(self, condition: Condition, clip_id: str, seed: int) -> None:
        self._condition = condition
        self._clip_id = clip_id
        self._seed = seed

    def apply(
        self,
        rgb: NDArray[np.uint8],
        *,
        index: int,
        box: NDArray[np.floating] | None,
        face_width_px: float | None,
    ) -> NDArray[np.uint8]:
        """One picture under the condition.

        Args:
            rgb: (height, width, 3).
            index: Number of its frame, for the noise.
            box: Left, top, right, bottom of the face, (4,); None where there is none to cover.
            face_width_px: Usual width of the clip's face; None where it shows none, and nothing is blurred.

        Returns:
            (height, width, 3); the picture itself is not written to.
        """
        level = self._condition.level
        if self._condition.family == "blur":
            return rgb if face_width_px is None else blurred(rgb, level / 100 * face_width_px)
        if self._condition.family == "darkness":
            rng = random_stream(self._seed, self._clip_id, "darkness", index)
            return self._darken(rgb, rng)
        return rgb if box is None else self._occlude(rgb, box)

    def _darken(self, rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        electrons, deviation = self._light
        light = rng.standard_normal(rgb.shape, dtype=np.float32)
        light *= deviation[rgb]
        light += electrons[rgb]
        light *= (_NUM_LIGHT_STEPS - 1) / _FULL_WELL_E
        np.clip(light, 0, _NUM_LIGHT_STEPS - 1, out=light)
        return _bytes_of_light()[np.rint(light).astype(np.uint16)]

    @cached_property
    def _light(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Electrons and their standard deviation for each byte of the picture, (256,) each."""
        electrons = linear_light(np.arange(256) / 255) * _FULL_WELL_E * 2.0**-self._condition.level
        deviation = np.sqrt(electrons + _READ_NOISE_E**2)
        return electrons.astype(np.float32), deviation.astype(np.float32)

    def _occlude(self, rgb: NDArray[np.uint8], box: NDArray[np.floating]) -> NDArray[np.uint8]:
        left, top, right, bottom = (float(edge) for edge in box)
        covered = self._condition.level / 100 * (bottom - top)
        if self._condition.family == "occlusion_lower":
            top = bottom - covered
        else:
            bottom = top + covered
        height, width = rgb.shape[:2]
        rows = slice(min(max(round(top), 0), height), min(max(round(bottom), 0), height))
        columns = slice(min(max(round(left), 0), width), min(max(round(right), 0), width))
        occluded = rgb.copy()
        occluded[rows, columns] = OCCLUDER_GREY
        return occluded


def blurred(rgb: NDArray[np.uint8], sigma_px: float) -> NDArray[np.uint8]:
    """A picture after a Gaussian blur of its bytes; beyond its edges its last pixels go on.

    Args:
        rgb: (height, width, 3).
        sigma_px: Standard deviation in pixels.
    """
    reach = ceil(_BLUR_REACH * sigma_px)
    if reach == 0:
        return rgb
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma_px) ** 2)
    kernel = (weights / weights.sum()).float()
    picture = torch.from_numpy(rgb).permute(2, 0, 1)[:, None].float()  # (3, 1, H, W)
    rows = F.conv2d(F.pad(picture, (reach, reach, 0, 0), mode="replicate"), kernel[None, None, None])
    both = F.conv2d(F.pad(rows, (0, 0, reach, reach), mode="replicate"), kernel[None, None, :, None])
    whole: NDArray[np.uint8] = both[:, 0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(whole)


def linear_light(srgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of white's light for sRGB values from 0 to 1."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


@cache
def _bytes_of_light() -> NDArray[np.uint8]:
    """The byte of sRGB for each step of light, (_NUM_LIGHT_STEPS,)."""
    light = np.arange(_NUM_LIGHT_STEPS) / (_NUM_LIGHT_STEPS - 1)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    table: NDArray[np.uint8] = np.rint(255 * srgb).astype(np.uint8)
    return table
