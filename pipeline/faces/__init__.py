"""Faces in pictures: detection, tracks, aligned crops."""
