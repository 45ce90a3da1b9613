"""The layouts that a source may have: one module each makes its list of clips."""
