"""Rows and labels of some clips, and the windows that are cut out of them."""
