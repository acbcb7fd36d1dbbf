"""A report as tables in Markdown."""

from collections.abc import Mapping
from typing import Any


def markdown(report: Mapping[str, Any]) -> str:
    return "# report\n"
