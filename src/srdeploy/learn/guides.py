"""Networks that guide training and are not trained: one whose features are compared, and one to learn from."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from srdeploy.errors import InputError
from srdeploy.learn.base import Net
from srdeploy.learn.recipes import TrainRecipe
from srdeploy.learn.vision import load_torchvision, one_line, read_state, weights_of
from srdeploy.learn.weights import load_net

_VGG19 = ((0, 2), (5, 7), (10, 12, 14, 16), (19, 21, 23, 25), (28, 30, 32, 34))
"""Where torchvision's VGG19 has its convolutions: a ReLU follows each, and a pooling each group."""


class Features(nn.Module):
    """VGG19 (Simonyan, Zisserman 2015) up to its last convolution, before that one's activation.

    Johnson et al. 2016 compare such features instead of pixels; before the activation they are denser (ESRGAN, Wang et
    al. 2018). Built from torchvision's tensors `features.N.weight` and `.bias`; their widths may be any.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, state: dict[str, Tensor]) -> None:
        """state: tensors by torchvision's names, the classifier's left out. Raises KeyError, RuntimeError."""
        super().__init__()
        layers: list[nn.Module] = []
        for group in _VGG19:
            for index in group:
                weight, bias = state[f"features.{index}.weight"], state[f"features.{index}.bias"]
                conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
                conv.load_state_dict({"weight": weight, "bias": bias})
                layers += [conv, nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        self.body = nn.Sequential(*layers[:-2])
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1 or 3, H, W), 0..1, at least 16 pixels a side -> (N, C, H // 16, W // 16); luma is taken as gray."""
        features: Tensor = self.body((x - self.mean) / self.deviation)
        return features


@dataclass
class Guides:
    """The networks of one run. They are no part of what is trained, averaged or kept in a checkpoint."""

    features: Features | None
    teacher: Net | None

    def to(self, device: torch.device) -> Self:
        """Move them to `device`."""
        for net in (self.features, self.teacher):
            if net is not None:
                net.to(device)
        return self

    def digest(self) -> str:
        """What tells these networks from others: a run is resumed beside those that it was begun with."""
        hashed = hashlib.sha256()
        for net in (self.features, self.teacher):
            hashed.update(b"none" if net is None else b"net")
            for value in () if net is None else net.state_dict().values():
                hashed.update(value.cpu().numpy().tobytes())
        return hashed.hexdigest()

    def terms(
        self, recipe: TrainRecipe, loss: Callable[[Tensor, Tensor], Tensor], low: Tensor, result: Tensor, target: Tensor
    ) -> Tensor:
        """What they add to the loss, weighed: float pictures 0..1, low (N, C, h, w), result and target (N, C, H, W).

        The features of result and target by L1; result and teacher's result by `loss` (Hinton et al. 2015).
        """
        total = result.new_zeros(())
        if self.features is not None:
            with torch.no_grad():
                wanted = self.features(target)
            total = total + recipe.perceptual_weight * nn.functional.l1_loss(self.features(result), wanted)
        if self.teacher is not None:
            with torch.no_grad():
                taught = self.teacher(low)
            total = total + recipe.teacher_weight * loss(result, taught)
        return total


def open_guides(recipe: TrainRecipe, folder: Path, net: Net) -> Guides:
    """The networks that the recipe names, relative to `folder`; `net` is what will be trained.

    Raises InputError when VGG19's weights cannot be had or a teacher does not fit, ModelError, MissingExtra.
    """
    features = None
    if "perceptual" in recipe.loss:
        path = None if recipe.features is None else folder / recipe.features
        state = _vgg19_state() if path is None else read_state(path)
        try:
            features = Features(state)
        except (KeyError, RuntimeError) as error:
            raise InputError(
                f"{path or 'what was fetched'} does not hold torchvision's VGG19: {one_line(error)}"
            ) from None
    teacher = None
    if recipe.teacher is not None:
        teacher = load_net(folder / recipe.teacher).deployed()
        if (teacher.scale, teacher.channels) != (net.scale, net.channels):
            raise InputError(
                f"the teacher {recipe.teacher} enlarges by {teacher.scale} with {teacher.channels} channels, and "
                f"{recipe.name} by {net.scale} with {net.channels}; name one that does the same"
            )
        teacher.requires_grad_(False).eval()
    return Guides(features, teacher)


def _vgg19_state() -> dict[str, Tensor]:
    weights = load_torchvision().models.VGG19_Weights.IMAGENET1K_V1
    with weights_of("vgg19", weights.url, None, "--features PATH"):
        state: dict[str, Tensor] = weights.get_state_dict(progress=False)
    return state
