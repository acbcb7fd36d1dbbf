"""Scoring models on a folder of pictures: what is measured, the protocol of the published tables, and the result."""

from srdeploy.evaluate.measures import DEFAULT, METRICS, Pair, metrics_named
from srdeploy.evaluate.pictures import pictures_in
from srdeploy.evaluate.results import Evaluation, ImageScores, check_csv, write_csv
from srdeploy.evaluate.scoring import PROTOCOL, Save, Upscale, evaluate

__all__ = [
    "DEFAULT",
    "METRICS",
    "PROTOCOL",
    "Evaluation",
    "ImageScores",
    "Pair",
    "Save",
    "Upscale",
    "check_csv",
    "evaluate",
    "metrics_named",
    "pictures_in",
    "write_csv",
]
