"""A report as one page."""

from collections.abc import Mapping
from typing import Any


def page(report: Mapping[str, Any]) -> str:
    return "<html></html>\n"
