"""VGGish: a VGG network over 0.96 s of log-mel, with the tensor names of the common PyTorch checkpoints.

Shapes: B examples in a batch, 96 rows of log-mel (10 ms each), 64 mel bands.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.backbones.backbone import Backbone

# Channels of the 3x3 convolutions; None is a 2x2 max-pool.
LAYOUT = (64, None, 128, None, 256, 256, None, 512, 512, None)


class Vggish(Backbone):
    """Log-mel examples (B, 1, 96, 64) to embeddings (B, 128). No PCA and no quantisation follow.

    Args:
        final_relu: Whether a ReLU follows the last linear layer, as in the common PyTorch port, which then
            has no negative features. The TAGF lineage has none.
    """

    takes = "log_mel"
    num_features = 128
    input_shape = (1, 96, 64)

    def __init__(self, *, final_relu: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        num_in = 1
        for num_out in LAYOUT:
            if num_out is None:
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(num_in, num_out, 3, 1, 1), nn.ReLU()]
                num_in = num_out
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(6 * 4 * num_in, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 128)
        )
        if final_relu:
            self.embeddings.append(nn.ReLU())

    def forward(self, examples: torch.Tensor) -> torch.Tensor:
        """(B, 1, 96, 64) -> (B, 128)."""
        maps = self.features(examples)  # (B, 512, 6, 4)
        # The public weights come from TensorFlow, which flattens in the order (time, mel, channel).
        flat = maps.permute(0, 2, 3, 1).flatten(1)  # (B, 12288)
        embeddings: torch.Tensor = self.embeddings(flat)
        return embeddings
