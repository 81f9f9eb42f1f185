"""Answers of tierctl for programs, compared with what is said of them."""

import json
from collections.abc import Iterator
from typing import Any, Final

from tierfs.cli import schemas, terminal

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    schemas.INT: (int,),
    schemas.NUMBER: (int, float),
    schemas.TEXT: (str,),
    schemas.FLAG: (bool,),
    schemas.NULL: (type(None),),
    schemas.ANY: (object,),
}


def answers(out: str) -> list[Any]:
    """The objects that a command has printed."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(out):
        value, at = decoder.raw_decode(out, at)
        found.append(value)
        at += len(out[at:]) - len(out[at:].lstrip())
    return found


def misfits(verb: str, out: str) -> list[str]:
    """What is wrong with the output of a verb; nothing when each answer is as it should be, and there is one."""
    found = answers(out)
    wrong = [] if found else ["no answer"]
    for answer in found:
        fields = dict(answer)
        if fields.pop("schema", None) != terminal.SCHEMA:
            wrong.append("no schema")
        wrong += wrong_in(schemas.ANSWERS[verb], fields, "")
    return wrong


def wrong_in(shape: schemas.Shape, value: object, at: str) -> list[str]:
    """Where a value differs from a shape, as one that the shape of `schemas` describes."""
    if isinstance(shape, tuple):
        tried = [wrong_in(one, value, at) for one in shape]
        return min(tried, key=len)
    if isinstance(shape, list):
        members = value if isinstance(value, list) else None
        if members is None:
            return [f"{at}: no list"]
        return [wrong for member in members for wrong in wrong_in(shape[0], member, f"{at}[]")]
    if isinstance(shape, dict):
        return list(_wrong_fields(shape, value, at)) if isinstance(value, dict) else [f"{at}: no object"]
    is_flag = isinstance(value, bool) and shape not in (schemas.FLAG, schemas.ANY)
    return [] if isinstance(value, _TYPES[shape]) and not is_flag else [f"{at}: {value!r} is no {shape}"]


def _wrong_fields(shape: dict[str, schemas.Shape], value: dict[str, Any], at: str) -> Iterator[str]:
    if "*" in shape:
        for name, below in value.items():
            yield from wrong_in(shape["*"], below, f"{at}.{name}")
        return
    known = {name.removesuffix("?"): below for name, below in shape.items()}
    yield from (f"{at}.{name}: is missing" for name in shape if not name.endswith("?") and name not in value)
    for name, below in value.items():
        if name not in known:
            yield f"{at}.{name}: nobody knows of it"
        else:
            yield from wrong_in(known[name], below, f"{at}.{name}")
