"""Where the weights of backbones come from."""
