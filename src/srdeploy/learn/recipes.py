"""What a training recipe may say; the TOML files in train/ are its instances. Nothing heavy is imported here."""

from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from srdeploy.errors import InputError

Loss = Literal[
    "charbonnier",
    "l1",
    "l2",
    "charbonnier+perceptual",
    "l1+perceptual",
    "charbonnier+adversarial",
    "l1+adversarial",
    "charbonnier+perceptual+adversarial",
    "l1+perceptual+adversarial",
]


@dataclass(frozen=True)
class DataRecipe:
    """Which pictures, and how they are cut. patch: low-resolution pixels per side; batch: crops per step and device."""

    folders: tuple[str, ...]
    validation: tuple[str, ...]
    """Pictures held out of training, as folder/file: each epoch is judged on them."""
    patch: int
    batch: int
    video_range: float = 0.5
    """Share of luma crops squeezed to 16..235, so that one network serves pictures and limited-range video."""
    shrink: tuple[float, ...] = ()
    """Each training picture is there once more, reduced to each of these shares of its width and height."""

    def __post_init__(self) -> None:
        if self.patch < 8 or self.batch < 1:
            raise ValueError("data.patch must be at least 8 and data.batch at least 1")
        if not 0.0 <= self.video_range <= 1.0:
            raise ValueError("data.video_range must lie in 0..1")
        if not all(0.0 < share < 1.0 for share in self.shrink):
            raise ValueError("each of data.shrink must lie in 0..1, both excluded")


@dataclass(frozen=True)
class TrainRecipe:
    """One training run. An epoch is `steps_per_epoch` steps, after which the validation pictures are measured."""

    name: str
    network: str
    scale: int
    seed: int
    data: DataRecipe
    epochs: int
    steps_per_epoch: int
    loss: Loss
    """With "+perceptual" the features of a trained VGG19 are compared too, with "+adversarial" a critic is trained
    beside the network; with either, the last weights are kept, not the best."""
    learning_rate: float
    final_rate: float
    """Adam's rate rises linearly over `warmup_steps`, then falls to `final_rate` along half a cosine."""
    warmup_steps: int
    clip_norm: float
    adversarial_weight: float = 0.005
    """What the adversarial term counts beside the other, where the loss has one."""
    perceptual_weight: float = 1.0
    """What the perceptual term counts beside the first, where the loss has one."""
    features: str | None = None
    """Weights of torchvision's VGG19 (.pth or .safetensors), beside the recipe; None: torchvision fetches them."""
    teacher: str | None = None
    """A .safetensors file, beside the recipe, of a network whose results are learned from too."""
    teacher_weight: float = 0.5
    """What the distance from the teacher's results counts beside that from the pictures."""
    ema: float = 0.0
    """Decay of the exponential moving average of the weights, which is what is judged and kept; 0 = none."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False
    """Compile the network with torch.compile and lay its tensors out channels-last: for GPUs."""
    devices: int = 1
    muon_rate: float = 0.0
    """Above 0, kernels are stepped by Muon at this rate (same shape over time), the rest by Adam; 0 = Adam for all."""
    start: str | None = None
    """A .safetensors file, beside the recipe, whose weights of equal name and shape the run begins with."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.steps_per_epoch < 1 or self.devices < 1:
            raise ValueError("epochs, steps_per_epoch and devices must be at least 1")
        if self.learning_rate <= 0 or self.final_rate < 0 or self.clip_norm <= 0 or self.warmup_steps < 0:
            raise ValueError("learning_rate and clip_norm must be above 0, final_rate and warmup_steps not below")
        if min(self.muon_rate, self.adversarial_weight, self.perceptual_weight, self.teacher_weight) < 0:
            raise ValueError("muon_rate and the weights of the loss's terms must not be below 0")
        if not 0.0 <= self.ema < 1.0:
            raise ValueError("ema must lie in 0..1, 1 excluded")


def with_loss(recipe: TrainRecipe, loss: str | None, features: str | None = None) -> TrainRecipe:
    """The recipe with another loss, and other weights of VGG19; None keeps the recipe's.

    Raises InputError for an unknown loss, which lists them, and for features that the loss would not use.
    """
    if loss is not None:
        if loss not in get_args(Loss):
            raise InputError(f"no loss '{loss}'; type one of: {', '.join(get_args(Loss))}")
        recipe = replace(recipe, loss=cast(Any, loss))
    if features is None:
        return recipe
    if "perceptual" not in recipe.loss:
        raise InputError(
            f"--features is for a perceptual loss, and this one is {recipe.loss}; type --loss l1+perceptual"
        )
    return replace(recipe, features=features)
