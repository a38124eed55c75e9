"""What a tier of tests needs: without it the tier is skipped, or fails where all is required."""

import os
from typing import NoReturn

import pytest


def require(tier: str, problem: str) -> NoReturn:
    """Skip the test, or fail it where MAILTOPIC_TEST_REQUIRE names the tier or says ``all``."""
    required = {item.strip() for item in os.environ.get("MAILTOPIC_TEST_REQUIRE", "").split(",")}
    if required & {"all", tier}:
        pytest.fail(f"{tier} tests are required, but {problem}", pytrace=False)
    pytest.skip(f"{tier}: {problem}")
