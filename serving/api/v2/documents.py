"""What the JSON of a V2 request holds.

The types are those of a request that is right; `careful` puts into them whatever else a client sent.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

Parameters = dict[str, str | int | float | bool | None] | None | UnsetType
MISSING = msgspec.Raw()


class Input(msgspec.Struct):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: msgspec.Raw = MISSING
    parameters: Parameters = UNSET


class Output(msgspec.Struct):
    name: str
    parameters: Parameters = UNSET


class FloatInput(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[float]


class ShortDocument(msgspec.Struct, forbid_unknown_fields=True):
    """One input of floats, and nothing beside it but an id: what most small requests are."""

    inputs: tuple[FloatInput]
    id: str | UnsetType | None = UNSET

    def keys(self) -> int:
        """How many keys the JSON has, if none comes twice and none is unknown."""
        return 5 if self.id is UNSET else 6


class Document(msgspec.Struct):
    inputs: list[Input]
    id: str | UnsetType | None = UNSET
    outputs: list[Output] | UnsetType = UNSET
    parameters: Parameters = UNSET

    def keys(self) -> int:
        """How many keys stand in JSON of these members and no others, each once."""
        count = 1 + (self.id is not UNSET)
        if self.parameters is not UNSET:
            count += 1 + len(self.parameters or ())
        for item in self.inputs:
            count += 3 + (item.data is not MISSING)
            if item.parameters is not UNSET:
                count += 1 + len(item.parameters or ())
        if self.outputs is not UNSET:
            count += 1
            for output in self.outputs:
                count += 1
                if output.parameters is not UNSET:
                    count += 1 + len(output.parameters or ())
        return count
