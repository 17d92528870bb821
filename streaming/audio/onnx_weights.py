"""The weights in an ONNX file, by name: just as much of the format as that takes. Used by ``silero``.

ONNX is protocol buffers (onnx.proto): a model has its graph in field 7; a graph its nodes in 1 and its initialisers in
5; a node its outputs in 2, its operator in 4 and its attributes in 5; an attribute a tensor in 5 and a graph in 6; a
tensor its dimensions in 1, its name in 8 and its bytes in 9.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from streaming.audio.codecs import Floats

Field = tuple[int, int | memoryview]


def read_weights(path: Path) -> dict[str, Floats]:
    """All float32 tensors that the file holds as raw bytes, those of nested graphs included.

    Raises:
        ValueError: the file is not an ONNX model.
    """
    try:
        graph = next(value for number, value in _fields(memoryview(path.read_bytes())) if number == 7)
        return dict(_weights(_message(graph)))
    except (IndexError, StopIteration, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is no ONNX model") from error


def _weights(graph: memoryview) -> Iterator[tuple[str, Floats]]:
    for number, value in _fields(graph):
        if number == 5:
            yield from _tensor(_message(value))
        elif number == 1:
            yield from _of_node(_message(value))


def _of_node(node: memoryview) -> Iterator[tuple[str, Floats]]:
    output = ""
    for number, value in _fields(node):
        if number == 2:
            output = bytes(_message(value)).decode()
        elif number == 5:
            for part, content in _fields(_message(value)):
                if part == 5:
                    yield from _tensor(_message(content), name=output)  # a Constant's, known by its output
                elif part == 6:
                    yield from _weights(_message(content))


def _tensor(tensor: memoryview, *, name: str = "") -> Iterator[tuple[str, Floats]]:
    shape: list[int] = []
    for number, value in _fields(tensor):
        if number == 1:
            shape += [value] if isinstance(value, int) else _varints(value)
        elif number == 8:
            name = name or bytes(_message(value)).decode()
        elif number == 9 and (data := _message(value)).nbytes == 4 * int(np.prod(shape)):
            yield name, np.frombuffer(data, "<f4").astype(np.float32).reshape(shape)


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise IndexError("a number where a message belongs")
    return value


def _fields(data: memoryview) -> Iterator[Field]:
    """Number and content of each field."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        length = {1: 8, 5: 4}.get(kind)
        if length is None:
            length, at = _varint(data, at)
        yield key >> 3, data[at : at + length]
        at += length


def _varints(data: memoryview) -> list[int]:
    at, found = 0, []
    while at < len(data):
        value, at = _varint(data, at)
        found.append(value)
    return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
