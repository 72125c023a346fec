"""JSON of named fields, checked. Every complaint names the field, what was sent and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from bentos.contract import Field, Fields
from serving.api.depth import MAX_JSON_DEPTH, check_depth
from serving.errors import BadInput

SHOWN_COMPLAINTS = 20
MAX_NAME_CHARS = 40  # a longer one is cut where it is shown, and compared with no field


def field_reader(
    payload: Fields, max_depth: int = MAX_JSON_DEPTH
) -> Callable[[bytes], tuple[list[dict[str, Any]], bool]]:
    """A reader of bodies: bytes → (checked payloads, whether they came as a list). BadInput lists what is wrong.

    A compiled decoder takes the bodies that are right; one that it refuses is gone through again in words. Of a field
    that is given twice the last counts, as in most languages.
    """
    struct = msgspec.defstruct(
        "Payload",
        [_member(f) for f in payload.fields],
        forbid_unknown_fields=True,
        kw_only=True,
    )
    decoder = msgspec.json.Decoder(struct | list[struct])  # type: ignore[valid-type]
    coded = [field for field in payload.fields if field.choices]

    def read(body: bytes) -> tuple[list[dict[str, Any]], bool]:
        try:
            decoded = decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            decoded = None
        if decoded is None or decoded == []:
            return checked_payloads(body, payload, max_depth)
        several = isinstance(decoded, list)
        payloads = [msgspec.structs.asdict(item) for item in (decoded if several else [decoded])]
        for place, item in enumerate(payloads):
            for field in coded:
                item[field.name] = field.encode(item[field.name])
            if complaints := _impossible(item, payload):
                raise _complain(_placed(complaints, place, several))
        return payloads, several

    return read


def _member(field: Field) -> tuple[str, Any] | tuple[str, Any, Any]:
    kind: Any = field.type
    if field.choices:
        kind = Literal[(*field.codes, *field.choices)]
    elif field.type is str:
        kind = Annotated[str, msgspec.Meta(min_length=int(field.low), max_length=int(field.high))]
    elif field.type is not bool:
        kind = Annotated[field.type, msgspec.Meta(ge=field.type(field.low), le=field.type(field.high))]
    return (field.name, kind | None, None) if field.nullable else (field.name, kind)


def checked_payloads(
    body: bytes, payload: Fields, max_depth: int = MAX_JSON_DEPTH
) -> tuple[list[dict[str, Any]], bool]:
    """The same as a field_reader, slowly and with every complaint in words."""
    try:
        decoded = msgspec.json.decode(body)
    except RecursionError:
        raise BadInput(f"the body is not JSON, or nested deeper than {max_depth}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"the body is not JSON: {error}") from None
    check_depth(body, max_depth)
    several = isinstance(decoded, list)
    items = decoded if several else [decoded]
    if not items:
        raise BadInput("the list is empty: send at least one object")
    complaints: list[str] = []
    payloads = []
    for place, item in enumerate(items):
        checked, wrong = checked_fields(item, payload)
        payloads.append(checked)
        complaints += _placed(wrong, place, several)
        if len(complaints) > SHOWN_COMPLAINTS:
            break
    if complaints:
        raise _complain(complaints)
    return payloads, several


def checked_fields(item: Any, payload: Fields) -> tuple[dict[str, Any], list[str]]:
    """One object's values by field, and what is wrong with it."""
    if not isinstance(item, dict):
        return {}, [f"expected an object with the fields {', '.join(f.name for f in payload.fields)}"]
    known = {field.name for field in payload.fields}
    unknown = [name for name in item if name not in known]
    complaints = [_unknown(name, known, place < SHOWN_COMPLAINTS) for place, name in enumerate(unknown)]
    values: dict[str, Any] = {}
    for field in payload.fields:
        value = item.get(field.name)
        if value is None and field.nullable:
            values[field.name] = None
        elif field.name not in item:
            complaints.append(f"{field.name} is missing: it must be {field.allowed()}")
        elif not field.allows(value):
            complaints.append(f"{field.name} is {_brief(value)}: it must be {field.allowed()}")
        else:
            values[field.name] = field.encode(value)
    return values, complaints or _impossible(values, payload)


def _impossible(values: Mapping[str, Any], payload: Fields) -> list[str]:
    """Combinations that cannot exist: a floor above the house's floors."""
    return [
        f"{lesser} is {values[lesser]:g}, which is above {greater}, {values[greater]:g}"
        for lesser, greater in payload.at_most
        if values.get(lesser) is not None and values.get(greater) is not None and values[lesser] > values[greater]
    ]


def _placed(complaints: Sequence[str], place: int, several: bool) -> list[str]:
    return [f"[{place}] {words}" for words in complaints] if several else list(complaints)


def _complain(complaints: Sequence[str]) -> BadInput:
    more = f"; and {len(complaints) - SHOWN_COMPLAINTS} more" if len(complaints) > SHOWN_COMPLAINTS else ""
    return BadInput("; ".join(complaints[:SHOWN_COMPLAINTS]) + more)


def _unknown(name: str, known: set[str], explained: bool) -> str:
    if len(name) > MAX_NAME_CHARS:
        return f"{name[:MAX_NAME_CHARS]!r}… is unknown"
    return f"{name!r} is unknown{_nearest(name, known) if explained else ''}"


def _nearest(name: str, known: set[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; the fields are {', '.join(sorted(known))}"


def _brief(value: Any) -> str:
    words = msgspec.json.encode(value[:40] if isinstance(value, str) else value).decode(errors="replace")
    return words if len(words) <= 40 else words[:39] + "…"
