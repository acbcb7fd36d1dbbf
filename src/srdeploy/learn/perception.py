"""Measures that need a network: LPIPS and DISTS of a pair; FID, KID, IS, precision and recall of sets of pictures.

The computation is torchmetrics' and torch-fidelity's, on the CPU; weights are fetched by these libraries, or given by
path.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srdeploy.learn.vision import load_torchvision, weights_of

Rgb = npt.NDArray[np.uint8]


class Lpips:
    """LPIPS 0.1 with AlexNet: Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018; 0 when equal, lower = more alike."""

    def __init__(self, weights: Path | None) -> None:
        """weights: torchvision's AlexNet; None: torchvision fetches it. The linear layers come with torchmetrics."""
        url = load_torchvision().models.AlexNet_Weights.IMAGENET1K_V1.url
        from torchmetrics.image import LearnedPerceptualImagePatchSimilarity

        with weights_of("alexnet", url, weights):
            self._metric = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)

    def __call__(self, reference: Rgb, result: Rgb) -> float:
        """uint8 (H, W, 3) each, at least 32 pixels a side."""
        with torch.inference_mode():
            return float(self._metric(_unit(result), _unit(reference)))


class Dists:
    """DISTS: Ding, Ma, Wang, Simoncelli, TPAMI 44(5), 2022; 0 when equal, lower = more alike. At full size."""

    def __init__(self, weights: Path | None) -> None:
        """weights: torchvision's VGG16; None: torchvision fetches it. Alpha and beta come with torchmetrics."""
        url = load_torchvision().models.VGG16_Weights.IMAGENET1K_V1.url
        from torchmetrics.functional.image.dists import DISTSNetwork

        with weights_of("vgg16", url, weights):
            self._net = DISTSNetwork().eval()

    def __call__(self, reference: Rgb, result: Rgb) -> float:
        """uint8 (H, W, 3) each, at least 32 pixels a side."""
        with torch.inference_mode():
            return float(self._net(_unit(result), _unit(reference)))


open_lpips, open_dists = cache(Lpips), cache(Dists)
"""The same, opened once for each path: several models are measured with one network."""


class Sets:
    """Measures between all results and all references; each picture is one sample, resized as each network wants it.

    fid: Heusel et al., NeurIPS 2017. kid: Binkowski et al., ICLR 2018; over subsets of 1000 pictures, or all when there
    are fewer. is: Salimans et al., NeurIPS 2016; ten parts. These three see Inception v3 as TensorFlow had it.
    precision and recall: Kynkaanniemi et al., NeurIPS 2019; VGG16's second fully connected layer, third neighbour.
    """

    def __init__(self, metrics: Sequence[str], inception: Path | None, vgg16: Path | None) -> None:
        """metrics: of fid, kid, is, precision, recall. inception, vgg16: weights by path; None: they are fetched."""
        self._metrics = metrics
        self._extractors: list[Any] = []
        self._features: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
        if {"fid", "kid", "is"} & set(metrics):
            self._extractors.append(_inception(inception))
        if {"precision", "recall"} & set(metrics):
            self._extractors.append(_vgg16(vgg16))

    def add(self, reference: Rgb, result: Rgb) -> None:
        """Take one more of each: uint8 (H, W, 3)."""
        with torch.inference_mode():
            for extractor in self._extractors:
                for which, pixels in enumerate((result, reference)):
                    picture = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
                    for layer, features in zip(extractor.features_list, extractor(picture), strict=True):
                        self._features.setdefault(layer, ([], []))[which].append(features)

    def scores(self) -> dict[str, float]:
        """The metrics, in the order asked for."""
        features = {layer: (torch.cat(made), torch.cat(real)) for layer, (made, real) in self._features.items()}
        found = scores_of_features(features)
        return {metric: found[metric] for metric in self._metrics}


def scores_of_features(features: dict[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """fid, kid, is, precision and recall, as far as there are features.

    features: by layer, (results, references), each float (N, C).
    """
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

    scores: dict[str, float] = {}
    if "2048" in features:
        made, real = features["2048"]
        statistics = [metric_fid.fid_features_to_statistics(x.double()) for x in (made, real)]
        scores["fid"] = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
        size = min(1000, len(made))
        subsets = 100 if len(made) > size else 1
        kid = metric_kid.kid_features_to_metric(
            made.double(), real.double(), kid_subset_size=size, kid_subsets=subsets, verbose=False
        )
        scores["kid"] = kid["kernel_inception_distance_mean"]
    if "logits_unbiased" in features:
        scores["is"] = metric_isc.isc_features_to_metric(features["logits_unbiased"][0])["inception_score_mean"]
    if "fc2_relu" in features:
        found = metric_prc.prc_features_to_metric(*features["fc2_relu"], verbose=False)
        scores["precision"], scores["recall"] = found["precision"], found["recall"]
    return scores


@cache
def _inception(weights: Path | None) -> Any:
    load_torchvision()
    from torch_fidelity import feature_extractor_inceptionv3 as inceptions

    with weights_of("inception", inceptions.URL_INCEPTION_V3, weights):
        return inceptions.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"])


@cache
def _vgg16(weights: Path | None) -> Any:
    url = load_torchvision().models.VGG16_Weights.IMAGENET1K_V1.url
    from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16

    with weights_of("vgg16", url, weights):
        return FeatureExtractorVGG16("vgg16", ["fc2_relu"])


def _unit(pixels: Rgb) -> Tensor:
    """uint8 (H, W, 3) to float (1, 3, H, W), 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])).float() / 255
