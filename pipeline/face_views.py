"""What is cached of each aligned face: its centre, its corners, and their mirror images.

    crop of 48 px, input of 40 px:     +----------+
                                       |##...     |   top_left; `center` starts 4 px further in,
                                       |##...     |   `bottom_right` 8 px
                                       |          |
                                       +----------+

Training picks one view per window: augmentation that survives caching. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import ExtractionError

# The one input size that is cut out of a larger crop, as the lineage does it: 40 of 48 px. Other sizes are
# given the whole aligned face; 112 px is the ArcFace template itself.
CUT_INPUT_PX = 40
CUT_CROP_PX = 48
_FLIP = "flip"


def crop_size_px(input_size_px: int) -> int:
    """Side of the crops that a backbone is to be given, whose input has that side."""
    return CUT_CROP_PX if input_size_px == CUT_INPUT_PX else input_size_px


def view_place(view: str, crop_px: int, input_px: int) -> tuple[int, int, bool]:
    """Where a view lies in the crop.

    Args:
        view: `center`, `flip` (its mirror image), or a corner, which may end in `_flip`: first cut out, then
            mirrored.
        crop_px: Side of the crop.
        input_px: Side of the view.

    Returns:
        Row and column of its first pixel, and whether it is mirrored.
    """
    place, mirrored = view.removesuffix(_FLIP).removesuffix("_"), view.endswith(_FLIP)
    margin = crop_px - input_px
    if place in ("", "center"):
        return margin // 2, margin // 2, mirrored
    vertical, _, horizontal = place.partition("_")
    return margin * (vertical == "bottom"), margin * (horizontal == "right"), mirrored


def check_views(views: Sequence[str], input_size_px: int, backbone: str) -> None:
    """Refuse corners where the crop is no larger than the input.

    Args:
        views: Of the visual stream.
        input_size_px: Side of the backbone's input.
        backbone: Its name, for the message.

    Raises:
        ExtractionError: There is nothing around the centre to cut corners from.
    """
    corners = [view for view in views if view not in ("center", _FLIP)]
    if corners and crop_size_px(input_size_px) == input_size_px:
        raise ExtractionError(
            f"visual.views: {corners[0]!r} is cut from a crop larger than the input, but {backbone} at "
            f"{input_size_px} px is given the whole aligned face; corners exist at input_size_px "
            f"{CUT_INPUT_PX} (from crops of {CUT_CROP_PX} px): leave out {', '.join(corners)}"
        )
