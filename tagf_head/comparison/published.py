"""What publications say of the systems that the heads are taken from: never measured here.

Figures are CCCs on Aff-Wild2 as Tables 1 and 2 of arXiv 2507.02080 give them. They rest on other features,
partly on ensembles, and on several editions of the data set, so they stand beside a comparison and are no
part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

SOURCE = "Tables 1 and 2 of arXiv 2507.02080, on Aff-Wild2"


@dataclass(frozen=True, kw_only=True)
class PublishedFigures:
    """CCC of valence, of arousal, and their mean.

    Attributes:
        system: Name of the system in the tables.
        validation: On the validation set.
        test: On the test set.
        oddity: What is known to be odd about the figures.
    """

    system: str
    validation: tuple[float, float, float]
    test: tuple[float, float, float]
    oddity: str = ""


_TAGF = PublishedFigures(system="TAGF", validation=(0.427, 0.676, 0.552), test=(0.512, 0.568, 0.540))
_SITU = PublishedFigures(system="Situ-RUCAIM3", validation=(0.588, 0.668, 0.628), test=(0.606, 0.596, 0.601))

#: Head -> figures of the system that it is a reading of.
PUBLISHED: Mapping[str, PublishedFigures] = MappingProxyType(
    {
        "tagf": _TAGF,
        "paper": _TAGF,
        "released": _TAGF,
        "jca": PublishedFigures(system="JCA", validation=(0.663, 0.584, 0.623), test=(0.374, 0.363, 0.369)),
        "rjca": PublishedFigures(system="RJCA", validation=(0.443, 0.639, 0.541), test=(0.537, 0.576, 0.557)),
        "dca": PublishedFigures(system="DCA", validation=(0.451, 0.647, 0.549), test=(0.549, 0.585, 0.567)),
        "grjca": PublishedFigures(
            system="GRJCA", validation=(0.459, 0.652, 0.556), test=(0.556, 0.605, 0.581)
        ),
        "hgrjca": PublishedFigures(
            system="HGRJCA",
            validation=(0.464, 0.660, 0.562),
            test=(0.561, 0.620, 0.591),
            oddity="the validation valence is 0.464 in these tables and 0.623 in the abstract of "
            "arXiv 2503.12261",
        ),
        "lfan": PublishedFigures(
            system="MM-CV-LC",
            validation=(0.469, 0.649, 0.559),
            test=(0.463, 0.492, 0.478),
            oddity="these are the leader-follower results that another team published for ABAW2",
        ),
        "tcn_transformer": PublishedFigures(
            system="CtyunAI", validation=(0.550, 0.681, 0.616), test=(0.500, 0.632, 0.566)
        ),
        "transformer": PublishedFigures(
            system="HFUT-MAC", validation=(0.554, 0.659, 0.607), test=(0.523, 0.545, 0.534)
        ),
        "situ_transformer": _SITU,
        "situ_lstm": _SITU,
        "fuxi_transformer": PublishedFigures(
            system="Netease Fuxi Virtual Human",
            validation=(0.464, 0.640, 0.552),
            test=(0.648, 0.625, 0.637),
        ),
    }
)
