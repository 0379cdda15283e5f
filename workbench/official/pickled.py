"""Reads a pickle as data: a stack machine that knows no function and no class, only names.

Nothing a file asks for is ever called. A name stands for itself; the few that stand for plain data in checkpoints
(tensors, ordered dicts, options, layers of a network pickled whole) become records here, and any other is refused.
Sizes, counts and depths are bounded by the bytes that are there, so a file cannot ask for more memory than it is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

MAX_OPERATIONS = 2_000_000
MAX_BYTES = 64 * 2**20
MAX_EXTENT = 2**48


class Refused(Exception):
    """The pickle needs something that is not data; the message names it."""


class Damaged(Exception):
    """The pickle is no pickle, or not a whole one."""


@dataclass(frozen=True)
class Name:
    """A function or class the file names, e.g. ``collections.OrderedDict``."""

    full: str


@dataclass(eq=False)
class Thing:
    """An object of the class ``name``, as the values it was made from. Nothing of that class is ever run."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None

    def fields(self) -> dict[str, Any]:
        """Attributes by name; empty for an object without any."""
        state = self.state[0] if isinstance(self.state, tuple) and self.state else self.state
        return {k: v for k, v in state.items() if isinstance(k, str)} if isinstance(state, dict) else {}


@dataclass(frozen=True)
class Storage:
    """A run of ``count`` numbers kept elsewhere in the file under ``key``."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class View:
    """A tensor: ``shape`` and ``stride`` over ``storage`` from element ``offset`` on."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of elements."""
        total = 1
        for side in self.shape:
            total *= side
        return total


STORAGES: dict[str, torch.dtype] = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
TENSOR = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
PARAMETER = "torch._utils._rebuild_parameter"
ORDERED = ("collections.OrderedDict", "builtins.dict", "__builtin__.dict")
SETS = ("builtins.set", "__builtin__.set", "builtins.frozenset", "__builtin__.frozenset")

# Classes whose objects are kept as records: options, and the parts of networks that were pickled whole.
RECORDS = frozenset(
    {
        "argparse.Namespace",
        "collections.defaultdict",
        "torch.Size",
        "torch.device",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "pathlib._local.PosixPath",
        "parse_config.ConfigParser",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.dtype",
        "_codecs.encode",
        "torch.nn.parallel.data_parallel.DataParallel",
        "torch.nn.parallel.distributed.DistributedDataParallel",
        "Models.LatentMapper.LatentMapper",
        "Models.Encoders.Swap_Encoder.Encoder_Swap",
        "Models.Encoders.Inception.Inception",
        "Models.UtilModels.encoders.helpers.bottleneck_IR_SE",
        "Models.UtilModels.encoders.helpers.SEModule",
        "Models.UtilModels.encoders.helpers.Flatten",
        *(f"torchvision.models.inception.{c}" for c in ("BasicConv2d", *(f"Inception{x}" for x in "ABCDE"))),
        *(f"torchvision.transforms.transforms.{c}" for c in ("Compose", "Resize", "CenterCrop")),
        "torchvision.transforms.functional.InterpolationMode",
        *(f"torch.{str(dtype).removeprefix('torch.')}" for dtype in STORAGES.values()),
        *(
            f"torch.nn.modules.{place}"
            for place in (
                *(f"activation.{c}" for c in ("LeakyReLU", "PReLU", "ReLU", "ReLU6", "Sigmoid", "Tanh", "Softmax")),
                *(f"batchnorm.{c}" for c in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")),
                *(f"container.{c}" for c in ("Sequential", "ModuleList", "ModuleDict", "ParameterList")),
                *(f"conv.{c}" for c in ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d")),
                *(f"dropout.{c}" for c in ("Dropout", "Dropout2d")),
                *(f"linear.{c}" for c in ("Linear", "Identity")),
                *(f"pooling.{c}" for c in ("MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d")),
                *(f"normalization.{c}" for c in ("LayerNorm", "GroupNorm")),
                *(f"padding.{c}" for c in ("ReflectionPad2d", "ZeroPad2d", "ReplicationPad2d")),
                "flatten.Flatten",
                "instancenorm.InstanceNorm2d",
                "upsampling.Upsample",
            )
        ),
    }
)
KNOWN = RECORDS | {*STORAGES, *TENSOR, PARAMETER, *ORDERED, *SETS}

_MARK = object()


def foreign(full: str) -> Refused:
    """Why a file that names ``full`` is refused."""
    shown = full.replace("__builtin__", "builtins")[:120]
    if shown.rpartition(".")[2][:1].isupper():
        return Refused(f"it holds an object of the class '{shown}', which is none of those known to be plain weights")
    return Refused(f"it wants to run code, the function '{shown}'")


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_EXTENT:
        raise Damaged("a tensor's size is no number")
    return value


def _sizes(value: Any) -> tuple[int, ...]:
    if isinstance(value, Thing) and value.name == "torch.Size" and len(value.arguments) == 1:
        value = value.arguments[0]
    if not isinstance(value, tuple | list) or len(value) > 16:
        raise Damaged("a tensor's shape is no list of numbers")
    return tuple(_size(v) for v in value)


def view(storage: Any, offset: Any, shape: Any, stride: Any) -> View:
    """A tensor that lies inside its storage and is no larger than it. Raises Damaged."""
    if not isinstance(storage, Storage):
        raise Damaged("a tensor has no storage")
    found = View(storage, _size(offset), _sizes(shape), _sizes(stride))
    if len(found.shape) != len(found.stride):
        raise Damaged("a tensor's shape and strides differ in length")
    if found.count:
        last = found.offset + sum((n - 1) * step for n, step in zip(found.shape, found.stride, strict=True))
        if last >= storage.count or found.count > storage.count:
            raise Damaged("a tensor is larger than the numbers stored for it")
    return found


def _scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | bytes | int | float)


def _key(value: Any) -> Any:
    # Hashing a deep tuple can take for ever, so a key is a plain value or a flat tuple of them.
    if _scalar(value) or (isinstance(value, tuple) and len(value) < 64 and all(_scalar(v) for v in value)):
        return value
    if isinstance(value, Thing | Name):
        return id(value)
    raise Damaged("a table has a key that is no plain value")


class Machine:
    """Runs one pickle over ``data`` from ``start`` on; ``end`` is then the place behind it.

    ``storage`` turns a persistent id into a Storage. Raises Refused and Damaged, and nothing else.
    """

    def __init__(
        self, data: bytes | memoryview, start: int = 0, storage: Callable[[Any], Storage] | None = None
    ) -> None:
        self._data, self._at, self._storage = memoryview(data), start, storage
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._copied = 0
        self.end = start

    def run(self) -> Any:
        """The value of the pickle."""
        for count in range(MAX_OPERATIONS):
            code = self._take(1)[0]
            if code == 0x2E:
                self.end = self._at
                return self._pop()
            action = ACTIONS.get(code)
            if action is None:
                raise Damaged(f"step {count} of its pickle is unknown (0x{code:02x})")
            action(self)
        raise Damaged("its pickle has too many steps for a table of weights")

    def _take(self, count: int) -> memoryview:
        if count < 0 or self._at + count > len(self._data):
            raise Damaged("its pickle is cut off")
        self._at += count
        return self._data[self._at - count : self._at]

    def _number(self, form: str) -> int:
        return struct.unpack("<" + form, self._take(struct.calcsize("<" + form)))[0]

    def _line(self) -> str:
        for place in range(self._at, min(self._at + 512, len(self._data))):
            if self._data[place] == 0x0A:
                text = self._text(place - self._at)
                self._at += 1
                return text
        raise Damaged("its pickle has a name without an end")

    def _text(self, count: int) -> str:
        try:
            return str(self._take(count), "utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise Damaged("its pickle has a text that is none") from error

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise Damaged("its pickle takes what is not there")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise Damaged("its pickle takes what is not there")
        return self._stack[-1]

    def _to_mark(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                found = self._stack[place + 1 :]
                del self._stack[place:]
                return found
        raise Damaged("its pickle has an end without a beginning")

    def _global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Damaged("its pickle has a name that is no text")
        full = f"{module}.{name}"
        if full not in KNOWN:
            raise foreign(full)
        self._stack.append(Name(full))

    def _make(self, what: Any, arguments: Any) -> Any:
        if not isinstance(what, Name) or not isinstance(arguments, tuple):
            raise Damaged("its pickle makes an object out of no class")
        if what.full in TENSOR:
            if len(arguments) < 4:
                raise Damaged("a tensor is described by too little")
            return view(*arguments[:4])
        if what.full == PARAMETER:
            if not arguments or not isinstance(arguments[0], View):
                raise Damaged("a parameter holds no tensor")
            return arguments[0]
        if what.full in ORDERED:
            return self._ordered(arguments)
        if what.full in STORAGES:
            raise Damaged("its pickle makes a storage by hand")
        return Thing(what.full, arguments)

    def _ordered(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        if not arguments:
            return {}
        pairs = arguments[0]
        # One list may be asked for again and again, so copying it counts as many steps.
        self._copied += len(pairs) if isinstance(pairs, list | tuple) else 0
        if self._copied > MAX_OPERATIONS:
            raise Damaged("its pickle has too many steps for a table of weights")
        if not isinstance(pairs, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
            raise Damaged("its pickle has a table that is none")
        return {_key(k): v for k, v in pairs}

    # one method per group of steps

    def _do_mark(self) -> None:
        self._stack.append(_MARK)

    def _do_pop(self) -> None:
        if not self._stack:
            raise Damaged("its pickle takes what is not there")
        self._stack.pop()

    def _do_get(self, form: str) -> None:
        index = self._number(form)
        if index not in self._memo:
            raise Damaged("its pickle refers to what is not there")
        self._stack.append(self._memo[index])

    def _do_put(self, form: str) -> None:
        self._memo[self._number(form)] = self._top()

    def _do_memoize(self) -> None:
        self._memo[len(self._memo)] = self._top()

    def _do_append(self) -> None:
        value = self._pop()
        self._list().append(value)

    def _do_appends(self) -> None:
        values = self._to_mark()
        self._list().extend(values)

    def _list(self) -> list[Any]:
        found = self._top()
        if not isinstance(found, list):
            raise Damaged("its pickle appends to no list")
        return found

    def _do_set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._items([key, value])

    def _do_set_items(self) -> None:
        self._items(self._to_mark())

    def _items(self, flat: list[Any]) -> None:
        target = self._top()
        # A defaultdict, an ordered dict of some class: its items are what counts.
        if isinstance(target, Thing) and target.state is None:
            target.state = {}
        table = target.state if isinstance(target, Thing) else target
        if not isinstance(table, dict) or len(flat) % 2:
            raise Damaged("its pickle fills no table")
        for place in range(0, len(flat), 2):
            table[_key(flat[place])] = flat[place + 1]

    def _do_add_items(self) -> None:
        self._to_mark()
        target = self._top()
        # No checkpoint keeps weights in a set, so its members are let go.
        if not isinstance(target, Thing) or target.name not in SETS:
            raise Damaged("its pickle fills no set")

    def _do_reduce(self) -> None:
        arguments, what = self._pop(), self._pop()
        self._stack.append(self._make(what, arguments))

    def _do_new(self) -> None:
        arguments, what = self._pop(), self._pop()
        self._stack.append(self._make(what, arguments))

    def _do_build(self) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, Thing):
            if target.state is not None and target.state is not state:
                raise Damaged("its pickle fills an object twice")
            target.state = state
        elif not isinstance(target, dict | View):
            raise Damaged("its pickle fills what is no object")

    def _do_persistent(self) -> None:
        value = self._pop()
        if self._storage is None:
            raise Damaged("its pickle refers to another file")
        self._stack.append(self._storage(value))

    def _do_tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._stack.append(tuple(reversed(values)))

    def _do_stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._global(module, name)

    def _do_long(self) -> None:
        self._stack.append(int.from_bytes(self._take(self._number("B")), "little", signed=True))

    def _push(self, value: Any) -> None:
        self._stack.append(value)


Action = Callable[[Machine], Any]


def _actions() -> Iterator[tuple[int, Action]]:
    yield 0x80, lambda m: m._take(1)  # PROTO
    yield 0x95, lambda m: m._take(8)  # FRAME
    yield from ((ord("("), Machine._do_mark), (ord("0"), Machine._do_pop), (ord("1"), Machine._to_mark))
    yield ord("N"), lambda m: m._push(None)
    yield 0x88, lambda m: m._push(True)
    yield 0x89, lambda m: m._push(False)
    yield ord("J"), lambda m: m._push(m._number("i"))
    yield ord("K"), lambda m: m._push(m._number("B"))
    yield ord("M"), lambda m: m._push(m._number("H"))
    yield 0x8A, Machine._do_long
    yield ord("G"), lambda m: m._push(struct.unpack(">d", m._take(8))[0])
    yield ord("X"), lambda m: m._push(m._text(m._number("I")))
    yield 0x8C, lambda m: m._push(m._text(m._number("B")))
    yield 0x8D, lambda m: m._push(m._text(m._number("Q")))
    for code, form in ((ord("T"), "I"), (ord("U"), "B"), (ord("B"), "I"), (ord("C"), "B"), (0x8E, "Q")):
        yield code, lambda m, form=form: m._push(bytes(m._take(m._number(form))))
    yield ord("}"), lambda m: m._push({})
    yield ord("]"), lambda m: m._push([])
    yield ord(")"), lambda m: m._push(())
    yield 0x8F, lambda m: m._push(Thing(SETS[0], ()))
    yield ord("t"), lambda m: m._push(tuple(m._to_mark()))
    yield ord("l"), lambda m: m._push(m._to_mark())
    yield 0x91, lambda m: m._push(Thing(SETS[2], tuple(m._to_mark())))
    for code, count in ((0x85, 1), (0x86, 2), (0x87, 3)):
        yield code, lambda m, count=count: m._do_tuple(count)
    yield from ((ord("a"), Machine._do_append), (ord("e"), Machine._do_appends))
    yield from ((ord("s"), Machine._do_set_item), (ord("u"), Machine._do_set_items), (0x90, Machine._do_add_items))
    yield ord("c"), lambda m: m._global(m._line(), m._line())
    yield 0x93, Machine._do_stack_global
    yield from ((ord("R"), Machine._do_reduce), (0x81, Machine._do_new), (ord("b"), Machine._do_build))
    yield ord("Q"), Machine._do_persistent
    for code, form in ((ord("h"), "B"), (ord("j"), "I")):
        yield code, lambda m, form=form: m._do_get(form)
    for code, form in ((ord("q"), "B"), (ord("r"), "I")):
        yield code, lambda m, form=form: m._do_put(form)
    yield 0x94, Machine._do_memoize


ACTIONS: dict[int, Action] = dict(_actions())
