"""What every test of the suite shares: a ROS domain and a state folder of its own.

Set before anything imports rclpy. Two suites on one machine never meet: the domain is held by a
lock for the life of the run, and every server listens on a port that the kernel chose.
"""

from __future__ import annotations

import os
import tempfile

import hypothesis
import pytest
import pytest_timeout

from dialtone_ros.domain import FreeDomain

_domain = FreeDomain()
_home = tempfile.TemporaryDirectory(prefix="dialtone-test-")

os.environ["ROS_DOMAIN_ID"] = str(_domain.number)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["DIALTONE_HOME"] = _home.name
os.environ["ROS_LOG_DIR"] = os.path.join(_home.name, "logs", "ros")

# How long an example takes says how busy the machine is, and nothing of what it tries.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")


def pytest_report_header() -> str:
    return f"dialtone: ROS_DOMAIN_ID={_domain.number} DIALTONE_HOME={_home.name}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a second try its own time: pytest-timeout starts its clock for the first one only."""
    if getattr(item, "execution_count", 1) > 1:
        settings = pytest_timeout._get_item_settings(item)
        item.ihook.pytest_timeout_set_timer(item=item, settings=settings)


def pytest_unconfigure() -> None:
    _domain.close()
    _home.cleanup()
