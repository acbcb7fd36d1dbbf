"""Lightning's loop. Through torchmetrics it imports torchvision where that is installed, so that is mended first."""

from srdeploy.learn.vision import mend_torchvision

mend_torchvision()

import lightning.pytorch as pl  # noqa: E402
from lightning.pytorch.callbacks import (  # noqa: E402
    Callback,
    ModelCheckpoint,
    TQDMProgressBar,
    WeightAveraging,
)

__all__ = ["Callback", "ModelCheckpoint", "TQDMProgressBar", "WeightAveraging", "pl"]
