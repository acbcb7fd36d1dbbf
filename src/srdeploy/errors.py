"""The errors that a person can act on.

    SrdeployError                one line for the user, exit 1
    ├── InputError               a source is missing, unreadable, damaged, or of a kind that is not read
    ├── OutputError              a result cannot be written there, or exists already
    ├── ModelError               no such model, or a file that is not one of ours
    │   └── NoSuchNetwork        a graph that no picture of another size would make one of ours
    ├── DeviceError              an asked-for engine, device or precision that cannot be had
    │   └── OutOfMemory          the device has too little memory for what it was given at once
    ├── ParityError              an exported file differs from its reference by more than its tolerance
    ├── RecipeError              a recipe does not parse: unknown key, wrong type, value out of range
    └── MissingExtra             an optional library is not installed

Every message says what was asked, what was found, and what to type instead, in one line. Anything that is
not a SrdeployError is a defect and shows as a traceback.
"""


class SrdeployError(Exception):
    """An expected error: its text is one line for the user, and the command exits 1."""


class InputError(SrdeployError):
    """A source is missing, unreadable, damaged, or of a kind that is not read."""


class OutputError(SrdeployError):
    """A result cannot be written there, or exists already."""


class ModelError(SrdeployError):
    """No such model, or a file that is not one of ours."""


class NoSuchNetwork(ModelError):
    """What running a graph on one picture shows, and running it on others would not change."""


class DeviceError(SrdeployError):
    """An asked-for engine, device or precision that cannot be had."""


class OutOfMemory(DeviceError):
    """The device has too little memory for what it was given at once; a smaller tile may fit."""


class ParityError(SrdeployError):
    """An exported file differs from its reference by more than its tolerance."""


class RecipeError(SrdeployError):
    """A recipe does not parse: unknown key, wrong type, or a value out of range."""


class MissingExtra(SrdeployError):
    """An optional library is not installed; the message names the extra that brings it."""
