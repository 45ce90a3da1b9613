"""Predictions of heads, and what they are worth."""
