"""The Hypothesis profile of ``make fuzz``, with more examples: ``pytest --hypothesis-profile=fuzz tests/fuzz``."""

from hypothesis import settings

settings.register_profile("fuzz", max_examples=1_500, deadline=None)
