"""Valence and arousal while it happens: a camera, or a file at its own pace."""
