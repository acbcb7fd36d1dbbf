"""How graphs are run from in here: they are not; a function that runs them is handed down."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray[Any, Any]]
Feed = Mapping[str, np.ndarray[Any, Any]]
Run = Callable[[bytes, Feed], Arrays]
"""(a model, arrays by input name) -> arrays by output name."""
