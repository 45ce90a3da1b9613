"""Training of one head, or of one for each fold."""
