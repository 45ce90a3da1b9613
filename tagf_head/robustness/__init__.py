"""What trained heads do with shifted, noisy or missing features, and how their gates react."""
