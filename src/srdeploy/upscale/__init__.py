"""A session and a tile plan: picture in, picture out."""

from srdeploy.upscale.opening import open_upscaler, stream
from srdeploy.upscale.tiles import TileChoice
from srdeploy.upscale.upscaler import Upscaler

__all__ = ["TileChoice", "Upscaler", "open_upscaler", "stream"]
