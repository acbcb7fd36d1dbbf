"""How the channels of a changed graph stand for those of the network it was made from, stamped for who compares."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from srdeploy.errors import ModelError
from srdeploy.graph.files import Model
from srdeploy.spec import METADATA_KEY

KEY = f"{METADATA_KEY}.channels"
"""The key of a file's metadata under which they stand."""


LARGEST = 1 << 16
"""More channels than any tensor has."""


@dataclass(frozen=True)
class Channels:
    """A tensor's channels in the network's units: channel j times factors[j] is added to of[j].

    factors: (J,), 0 for one that is not counted; of: (J,), None for each its own; count: the network's channels.
    limit: where each part of a channel but its last is cut; None for nowhere.
    """

    factors: npt.NDArray[np.float64]
    of: npt.NDArray[np.int64] | None = None
    count: int | None = None
    limit: float | None = None

    def merged(self, value: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(N, J, h, w) to the network's (N, C, h, w); a channel that was dropped is NaN."""
        if self.limit is not None and self.of is not None:
            cut = np.append(self.of[:-1] == self.of[1:], False)  # the last part holds all that is left
            value = np.where(cut.reshape(1, -1, 1, 1), np.minimum(value, self.limit), value)
        scaled = np.asarray(value * self.factors.astype(np.float32).reshape(1, -1, 1, 1), np.float32)
        if self.of is None:
            return scaled
        result = np.zeros((value.shape[0], self.count or 0, *value.shape[2:]), np.float32)
        for j, channel in enumerate(self.of):
            result[:, channel] += scaled[:, j]
        result[:, np.setdiff1d(np.arange(self.count or 0), self.of)] = np.nan
        return result


def stamp_channels(model: Model, channels: Mapping[str, Channels]) -> None:
    """Write them into a model's metadata, by the tensor's name in the network; factors with six digits."""
    entries = {}
    for name, found in channels.items():
        entry: dict[str, Any] = {"factors": [float(f"{factor:.6g}") for factor in found.factors]}
        if found.of is not None:
            entry |= {"of": found.of.tolist(), "count": found.count, "limit": found.limit}
        entries[name] = entry
    kept = [entry for entry in model.metadata_props if entry.key != KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=KEY, value=json.dumps(entries, sort_keys=True, separators=(",", ":")))


def channels_of(model: Model) -> dict[str, Channels]:
    """What stands in a model's metadata; empty if nothing. ModelError when it is not what stamp_channels writes."""
    found = next((entry.value for entry in model.metadata_props if entry.key == KEY), "{}")
    try:
        return {str(name): _channels(entry) for name, entry in json.loads(found).items()}
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"the model says nothing that parses of its channels ({reason}); export it again") from None


def _channels(entry: dict[str, Any]) -> Channels:
    factors = np.asarray(entry["factors"], np.float64)
    if factors.ndim != 1:
        raise ValueError(f"factors of {factors.ndim} dimensions")
    if "of" not in entry:
        return Channels(factors)
    of, count, limit = np.asarray(entry["of"], np.int64), int(entry["count"]), entry["limit"]
    if of.shape != factors.shape or not 0 <= int(of.min()) <= int(of.max()) < count < LARGEST:
        raise ValueError(f"{of.size} parts of {count} channels")
    return Channels(factors, of, count, None if limit is None else float(limit))
