"""Training: a recipe and a folder of pictures become weights, a log and a curve. The loop is Lightning's.

What lies in the run's folder: `<name>.safetensors` (the best so far), `last.ckpt` (everything that resuming needs),
`log.csv` (one row an epoch) and `curve.png`.
"""

import logging
import math
import pickle
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from srdeploy.errors import DeviceError, InputError, OutputError
from srdeploy.learn.adversary import Critic, adversarial_terms
from srdeploy.learn.base import Net
from srdeploy.learn.data import Crops, Pair, WholePictures, list_pictures, make_pair
from srdeploy.learn.guides import Guides, open_guides
from srdeploy.learn.loop import Callback, ModelCheckpoint, TQDMProgressBar, WeightAveraging, pl
from srdeploy.learn.losses import LOSSES
from srdeploy.learn.muon import Muon
from srdeploy.learn.nets import NETWORKS, build_net
from srdeploy.learn.recipes import TrainRecipe
from srdeploy.learn.runlog import RunLog
from srdeploy.learn.weights import load_net, save_net

log = logging.getLogger("srdeploy.train")


@dataclass(frozen=True)
class Trained:
    """What a run left: the best weights, their validation PSNR in dB, and the epoch (from 1) that reached it."""

    weights: Path
    psnr_db: float
    epoch: int


def train(recipe: TrainRecipe, folder: Path, data: Path, out: Path, resume: bool, device: str) -> Trained:
    """Train the network of `recipe` on the pictures under `data`; write into `out`.

    folder: where the recipe lies (its `start`, `teacher` and `features` are relative to it). resume: go on from
    out/last.ckpt if there is one; the result is then the same, bit for bit on one CPU thread, as if the run had not
    been stopped.
    device: "auto", "cpu" or "cuda". Raises InputError, OutputError, DeviceError, ModelError.
    """
    checkpoint = out / "last.ckpt"
    if checkpoint.exists() and not resume:
        raise OutputError(f"{out} holds a run already; type --resume to go on with it, or another --out")
    _refuse_damaged(checkpoint)
    torch.manual_seed(recipe.seed)
    net = _first_net(recipe, folder)
    guides = open_guides(recipe, folder, net)
    training, validation = _pairs(recipe, data)
    crops = Crops(training, recipe.scale, recipe.data.patch, recipe.data.batch, recipe.steps_per_epoch, recipe.seed)
    out.mkdir(parents=True, exist_ok=True)
    log.info("%s: %d training pictures, %d held out", recipe.name, len(crops.sizes), len(validation))
    module = Run(net, recipe, out, guides)
    if recipe.compile:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainer = _trainer(recipe, module, out, device)
    with warnings.catch_warnings():
        # A batch is only where its crops lie: Lightning's advice to add worker processes would slow it down.
        warnings.filterwarnings("ignore", module="lightning", message=".*(many workers|is not empty|LeafSpec).*")
        try:
            trainer.fit(
                module,
                DataLoader(crops, batch_size=None),
                DataLoader(WholePictures(validation), batch_size=None),
                ckpt_path=str(checkpoint) if checkpoint.exists() else None,
                weights_only=True,  # a checkpoint is data: no pickled code is ever run
            )
        except SystemExit:  # Lightning's way to say that it was interrupted
            raise KeyboardInterrupt from None
    return Trained(out / f"{recipe.name}.safetensors", module.best, module.best_epoch)


def _refuse_damaged(checkpoint: Path) -> None:
    """Raise InputError when there is a checkpoint that does not load."""
    if not checkpoint.exists():
        return
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError):
        raise InputError(f"{checkpoint} is damaged; remove it to begin the run anew, or type another --out") from None


def _first_net(recipe: TrainRecipe, folder: Path) -> Net:
    net = build_net(recipe.network, recipe.scale)
    if recipe.start is not None:
        have = net.state_dict()
        given = load_net(folder / recipe.start).state_dict()
        fits = {key: value for key, value in given.items() if key in have and have[key].shape == value.shape}
        net.load_state_dict(fits, strict=False)
        log.info("begins with %d of %d tensors of %s", len(fits), len(have), recipe.start)
    return net


def _pairs(recipe: TrainRecipe, data: Path) -> tuple[list[Pair], list[Pair]]:
    channels = NETWORKS[recipe.network].channels
    held_out = {data / name for name in recipe.data.validation}
    paths = list_pictures(data, recipe.data.folders)
    missing = sorted(str(p) for p in held_out if not p.is_file())
    if missing or not held_out:
        raise InputError(f"validation pictures missing: {', '.join(missing) or 'the recipe names none'}")
    sizes = [(path, share) for share in (1.0, *recipe.data.shrink) for path in paths if path not in held_out]
    with ThreadPoolExecutor() as pool:  # the arrays are large enough that threads serve
        training = list(pool.map(lambda size: make_pair(size[0], recipe.scale, channels, size[1]), sizes))
    return training, [make_pair(p, recipe.scale, channels) for p in sorted(held_out)]


def _trainer(recipe: TrainRecipe, module: "Run", out: Path, device: str) -> pl.Trainer:
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceError(
            "asked for cuda, but this torch sees no CUDA device; type --device cpu, or install a CUDA torch"
        )
    callbacks: list[Callback] = [TQDMProgressBar(refresh_rate=20)]
    if recipe.ema:
        averaged = None if _accelerator(device) == "cpu" or not torch.cuda.is_available() else "cuda"
        callbacks.append(Averaging(averaged, multi_avg_fn=_ema(recipe.ema**Averaging.every)))
    # The log goes before the checkpoint, so that the best weights' numbers are in what is resumed.
    callbacks += [
        RunLog(out),
        ModelCheckpoint(dirpath=out, filename="last", save_top_k=1, enable_version_counter=False),
    ]
    return pl.Trainer(
        accelerator=_accelerator(device),
        devices=recipe.devices,
        precision=recipe.precision,
        max_epochs=recipe.epochs,
        gradient_clip_val=recipe.clip_norm,
        callbacks=callbacks,
        logger=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=out,
    )


def _ema(decay: float) -> Any:
    return get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]


def _accelerator(device: str) -> str:
    return {"auto": "auto", "cpu": "cpu"}.get(device, "cuda")


class Averaging(WeightAveraging):
    """An average of the weights that takes them in at each fourth step: at each, a GPU would wait for it."""

    every = 4

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether the average takes the weights in after this step (from 0)."""
        return step_idx is not None and step_idx % self.every == 0


class Run(pl.LightningModule):
    """One run: what is computed in a step, how an epoch is judged, and which weights are kept."""

    def __init__(self, net: Net, recipe: TrainRecipe, out: Path, guides: Guides) -> None:
        super().__init__()
        self.net = net
        self.recipe = recipe
        self.out = out
        self.guides, self.guided_by = guides, guides.digest()
        base, *self.terms = recipe.loss.split("+")
        self.loss = LOSSES[base]
        self.critic = Critic(net.channels) if "adversarial" in self.terms else None
        self.best = -math.inf
        self.best_epoch = 0
        self.compiled: Callable[[Tensor], Tensor] | None = None
        self.losses: list[Tensor] = []
        self.psnrs: list[float] = []

    def on_fit_start(self) -> None:
        """The guiding networks go where the trained one is, which is compiled there if the recipe says so."""
        self.guides.to(self.device)
        if self.recipe.compile:
            # On a GPU a step of a small network is hundreds of short kernels: their launches are replayed as graphs.
            self.compiled = torch.compile(self.net.forward, mode="reduce-overhead")

    def on_train_epoch_start(self) -> None:
        """Tell the crops which epoch it is: they are drawn from (seed, epoch, rank, step)."""
        crops = self._crops()
        crops.epoch, crops.rank = self.current_epoch, self.global_rank
        crops.to(self.device)
        self.losses = []

    def _crops(self) -> Crops:
        return cast(Crops, cast(Any, self.trainer.train_dataloader).dataset)

    def training_step(self, places: Tensor, index: int) -> Tensor:
        """Where the crops of a batch lie (`Crops`) to the loss."""
        if self.recipe.compile:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        low, high = (crop.float() / 255 for crop in self._crops().cut(places))
        if self.net.channels == 1 and self.recipe.data.video_range > 0:
            squeezed = round(low.shape[0] * self.recipe.data.video_range)  # crops come in random order
            for x in (low, high):
                x[:squeezed] = x[:squeezed] * (219 / 255) + 16 / 255
        result = (self.compiled or self.net)(low)
        loss = self.loss(result, high)
        self.losses.append(loss.detach())
        loss = loss + self.guides.terms(self.recipe, self.loss, low, result, high)
        if self.critic is not None:
            fooled, told = adversarial_terms(self.critic, result, high)
            loss = loss + self.recipe.adversarial_weight * fooled + told
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """PSNR of one whole picture, rounded to 8 bits, `scale` border pixels left out."""
        low, high = batch
        shave = self.net.scale
        with torch.autocast(self.device.type, enabled=False):  # what is kept is judged as it will run
            result = self.net(low.float() / 255).clamp(0, 1).mul(255).round()
        difference = (result - high.float())[..., shave:-shave, shave:-shave]
        self.psnrs.append(10 * math.log10(255**2 / max(float(difference.square().mean()), 1e-10)))

    def on_validation_epoch_end(self) -> None:
        """Keep the weights that were measured (the averaged ones, with EMA) if they are the best so far."""
        psnr = sum(self.psnrs) / len(self.psnrs)
        self.psnrs = []
        is_best = psnr > self.best or bool(self.terms)  # they lower PSNR by what they add
        if is_best:
            self.best, self.best_epoch = psnr, self.current_epoch + 1
            if self.trainer.is_global_zero:
                name = self.recipe.name
                save_net(self.net, self.out / f"{name}.safetensors", name, self.recipe.network)
        loss = float(torch.stack(self.losses).mean())
        self.row = {"epoch": self.current_epoch + 1, "step": self.global_step, "loss": loss, "psnr_db": psnr}
        mark = " — new best" if is_best else ""
        log.info("epoch %d of %d: loss %.5f, %.3f dB%s", self.row["epoch"], self.recipe.epochs, loss, psnr, mark)

    def configure_optimizers(self) -> Any:
        """Adam, or Muon for the kernels; linear warm-up, then half a cosine down to final_rate."""
        recipe = self.recipe
        optimizer: torch.optim.Optimizer
        if recipe.muon_rate > 0:
            optimizer = Muon(self, recipe.learning_rate, recipe.muon_rate, recipe.compile)
        else:
            optimizer = torch.optim.Adam(self.parameters(), lr=recipe.learning_rate)
        total = recipe.epochs * recipe.steps_per_epoch
        floor = recipe.final_rate / recipe.learning_rate

        def factor(step: int) -> float:
            if step < recipe.warmup_steps:
                return (step + 1) / recipe.warmup_steps
            done = (step - recipe.warmup_steps) / max(1, total - recipe.warmup_steps)
            return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Numbers that a resumed run must know."""
        checkpoint["srdeploy"] = {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "loss": self.recipe.loss,
            "guides": self.guided_by,
        }

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """The other half of on_save_checkpoint; InputError for a run that was begun with others."""
        begun = checkpoint["srdeploy"].get("loss", self.recipe.loss)
        if begun != self.recipe.loss:
            raise InputError(f"{self.out} was begun with loss {begun}, not {self.recipe.loss}; type another --out")
        if checkpoint["srdeploy"].get("guides", self.guided_by) != self.guided_by:
            raise InputError(f"{self.out} was begun with another teacher or other features; type another --out")
        self.best = checkpoint["srdeploy"]["best"]
        self.best_epoch = checkpoint["srdeploy"]["best_epoch"]
