"""Comparison of heads: the same features, windows, metric and budget for each."""
