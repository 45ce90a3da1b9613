"""One page that shows what a model did: scores, curves, every clip's video beside its traces."""
