"""Engines behind one seam: a model file opens as a Session, or is refused; nothing falls back silently."""

from srdeploy.backends.base import Session
from srdeploy.backends.session import available, is_usable, open_session

__all__ = ["Session", "available", "is_usable", "open_session"]
