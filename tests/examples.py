"""How many examples property tests take: `--hypothesis-profile=check`, `test` or `torture`.

`check` is for whoever says nothing; the Makefile says the others. No test has a number of its own.
"""

from hypothesis import HealthCheck, settings

_EXAMPLES = {"check": 20, "test": 100, "torture": 1000}
_COSTLY = 10


def register() -> None:
    """Make the profiles, and take the smallest."""
    for name, examples in _EXAMPLES.items():
        settings.register_profile(
            name,
            max_examples=examples,
            deadline=None,  # how long an example takes says more about the machine than about us
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        )
    settings.load_profile("check")


def some() -> settings:
    """Take as many as the profile says."""
    return settings()


def few() -> settings:
    """Take a tenth of them, where each asks a server at every step or starts one of its own."""
    return settings(max_examples=settings().max_examples // _COSTLY)
