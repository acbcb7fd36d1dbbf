"""Lightning must be importable by the tests too, whatever torchvision stands beside this torch."""

from importlib.util import find_spec

if find_spec("torch") is not None:
    from srdeploy.learn.vision import mend_torchvision

    mend_torchvision()
