"""Drawn people: everything about a subject's looks that stays the same during a clip.

Lengths are in face units: one unit is half the height of the face, from the top of the skull to the chin;
x grows to the right, y downwards, the origin is the middle of the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
HairStyle = Literal["short", "parted", "long", "bun", "curly", "cropped"]
HAIR_STYLES: tuple[HairStyle, ...] = ("short", "parted", "long", "bun", "curly", "cropped")

_SKIN: tuple[Color, ...] = (
    (246, 214, 192),
    (236, 196, 165),
    (222, 176, 140),
    (203, 152, 114),
    (176, 124, 88),
    (146, 99, 68),
)
_HAIR: tuple[Color, ...] = (
    (34, 28, 28),
    (58, 40, 32),
    (92, 60, 40),
    (132, 78, 44),
    (190, 148, 88),
    (138, 134, 132),
)
_IRIS: tuple[Color, ...] = ((70, 44, 28), (92, 62, 36), (66, 100, 72), (70, 104, 142), (84, 92, 100))
_CLOTHES: tuple[Color, ...] = (
    (60, 84, 122),
    (122, 62, 66),
    (64, 104, 84),
    (92, 92, 98),
    (176, 150, 96),
    (98, 74, 118),
    (206, 204, 198),
)
_WALLS: tuple[Color, ...] = (
    (206, 214, 218),
    (222, 212, 196),
    (188, 204, 190),
    (172, 184, 204),
    (214, 196, 192),
    (150, 158, 164),
)


@dataclass(frozen=True, kw_only=True)
class Person:
    """A subject's looks, place in the picture and light.

    Attributes:
        face_height_px: Chin to top of the skull in pixels of the picture.
        center: Middle of the face at rest, as a share of the picture's width and height.
        half_width: Half the width of the face, in face units.
        jaw: How much the face narrows towards the chin, 0 to 0.3.
        eye_spacing: Distance of each pupil from the middle.
        eye_size: Half the width of an eye.
        eye_height: y of the eyes.
        brow_thickness: Thickness of the brows.
        brow_tilt: Resting slant of the brows.
        nose_length: From the eyes to the tip.
        nose_width: Half the width of the nose at the nostrils.
        mouth_width: Half the width of the mouth at rest.
        mouth_height: y of the mouth.
        lip_thickness: Thickness of each lip.
        skin: Colour of the skin in even light.
        hair: Colour of hair and brows.
        lips: Colour of the lips.
        iris: Colour of the irises.
        clothes: Colour of the shirt.
        wall: Colour of the background.
        hair_style: How the hair is worn.
        glasses: Whether the subject wears glasses.
        light: Direction of the light (x, y, towards the viewer), unit length.
        brightness: Exposure, about 1.
        warmth: Tint of the light, -1 cold to 1 warm.
        restlessness: How much the head moves at rest, about 1.
        decor_seed: Seed of what hangs on the wall and of strands of hair.
    """

    face_height_px: float
    center: tuple[float, float]
    half_width: float
    jaw: float
    eye_spacing: float
    eye_size: float
    eye_height: float
    brow_thickness: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    mouth_width: float
    mouth_height: float
    lip_thickness: float
    skin: Color
    hair: Color
    lips: Color
    iris: Color
    clothes: Color
    wall: Color
    hair_style: HairStyle
    glasses: bool
    light: tuple[float, float, float]
    brightness: float
    warmth: float
    restlessness: float
    decor_seed: int


def draw_person(rng: np.random.Generator) -> Person:
    """Draw a subject.

    Args:
        rng: Source of randomness.

    Returns:
        A person whose face a detector of real faces finds.
    """
    tone = rng.uniform(0.0, len(_SKIN) - 1.0)
    low = min(int(tone), len(_SKIN) - 2)
    skin = np.asarray(_SKIN[low]) * (low + 1 - tone) + np.asarray(_SKIN[low + 1]) * (tone - low)
    light = np.array([rng.uniform(-0.6, 0.6), rng.uniform(-0.5, -0.1), 1.0])
    light /= np.linalg.norm(light)
    style = HAIR_STYLES[int(rng.integers(len(HAIR_STYLES)))]
    return Person(
        face_height_px=float(rng.uniform(100, 142)),
        center=(float(rng.uniform(0.40, 0.60)), float(rng.uniform(0.46, 0.53))),
        half_width=float(rng.uniform(0.72, 0.81)),
        jaw=float(rng.uniform(0.04, 0.2)),
        eye_spacing=float(rng.uniform(0.31, 0.36)),
        eye_size=float(rng.uniform(0.15, 0.18)),
        eye_height=float(rng.uniform(-0.14, -0.08)),
        brow_thickness=float(rng.uniform(0.06, 0.09)),
        brow_tilt=float(rng.uniform(-0.2, 0.2)),
        nose_length=float(rng.uniform(0.36, 0.43)),
        nose_width=float(rng.uniform(0.11, 0.15)),
        mouth_width=float(rng.uniform(0.29, 0.34)),
        mouth_height=float(rng.uniform(0.53, 0.58)),
        lip_thickness=float(rng.uniform(0.06, 0.085)),
        skin=_color(skin),
        hair=_varied(_HAIR, 10.0, rng),
        lips=_color(skin * np.array([0.80, 0.50, 0.50]) + [18.0, 8.0, 12.0] + rng.uniform(-8, 8, 3)),
        iris=_varied(_IRIS, 8.0, rng),
        clothes=_varied(_CLOTHES, 18.0, rng),
        wall=_varied(_WALLS, 14.0, rng),
        hair_style=style,
        glasses=bool(rng.random() < 0.15),
        light=(float(light[0]), float(light[1]), float(light[2])),
        brightness=float(rng.uniform(0.88, 1.06)),
        warmth=float(rng.uniform(-1.0, 1.0)),
        restlessness=float(rng.uniform(0.7, 1.3)),
        decor_seed=int(rng.integers(2**32)),
    )


def _varied(palette: tuple[Color, ...], spread: float, rng: np.random.Generator) -> Color:
    """Draw a colour near one of a palette's."""
    return _color(np.asarray(palette[int(rng.integers(len(palette)))]) + rng.uniform(-spread, spread, 3))


def _color(values: NDArray[np.float64]) -> Color:
    """Nearest displayable colour."""
    red, green, blue = np.clip(np.rint(values), 0, 255).astype(int)
    return int(red), int(green), int(blue)
