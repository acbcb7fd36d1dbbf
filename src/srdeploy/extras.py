"""Optional libraries: imported where they are used, and named with their extra when missing."""

from importlib import import_module
from types import ModuleType

from srdeploy.errors import MissingExtra


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or raise MissingExtra saying which extra of srdeploy brings it.

    A library that is installed but fails to load (a missing CUDA library, say) keeps its own ImportError:
    only its absence is the user's to mend with pip.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtra(
            f"{module} is needed for this and is not installed; type: pip install 'srdeploy[{extra}]'"
        ) from None
