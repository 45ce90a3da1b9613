"""What all tests share."""

from hypothesis import settings

# By default an example may take 200 ms, which on a busy machine any of them does now and then.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
