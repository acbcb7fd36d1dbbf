"""srdeploy: super-resolution networks from training to frames.

>>> import srdeploy
>>> upscaler = srdeploy.open("espcn-x4")
>>> big = upscaler(srdeploy.read_picture("photo.png"))     # or an array: uint8 or uint16, (H, W, 3) or (H, W)
>>> for frame in srdeploy.stream("clip.mp4", "espcn-x4"):   # frame.picture, frame.pts * frame.time_base seconds
...     show(frame.picture)

Nothing heavy is imported until one of these names is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from srdeploy.errors import SrdeployError

if TYPE_CHECKING:
    from srdeploy.media.pictures import read_picture, write_picture
    from srdeploy.picture import ColorTags, Frame, Picture
    from srdeploy.spec import ModelSpec
    from srdeploy.upscale import Upscaler, stream
    from srdeploy.upscale import open_upscaler as open

__version__ = "0.1.0"

__all__ = [
    "ColorTags",
    "Frame",
    "ModelSpec",
    "Picture",
    "SrdeployError",
    "Upscaler",
    "__version__",
    "open",
    "read_picture",
    "stream",
    "write_picture",
]

_LAZY = {
    "ColorTags": ("srdeploy.picture", "ColorTags"),
    "Frame": ("srdeploy.picture", "Frame"),
    "ModelSpec": ("srdeploy.spec", "ModelSpec"),
    "Picture": ("srdeploy.picture", "Picture"),
    "Upscaler": ("srdeploy.upscale", "Upscaler"),
    "open": ("srdeploy.upscale", "open_upscaler"),
    "read_picture": ("srdeploy.media.pictures", "read_picture"),
    "stream": ("srdeploy.upscale", "stream"),
    "write_picture": ("srdeploy.media.pictures", "write_picture"),
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module, attribute = _LAZY[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'srdeploy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
