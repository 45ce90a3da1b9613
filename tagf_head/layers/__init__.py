"""What heads are made of, each part as in the paper."""
