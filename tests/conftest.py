"""What holds for all tests: none of them is late, however busy the machine is (`timeout` ends those that hang)."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
