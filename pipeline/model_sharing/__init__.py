"""Models that others can use: folders, cards, ONNX."""
