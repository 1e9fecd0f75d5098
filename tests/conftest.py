"""What holds for every test: hypothesis draws the same examples everywhere, and is not timed on a busy machine."""

from hypothesis import settings

settings.register_profile("house", deadline=None, derandomize=True, database=None)
settings.load_profile("house")
