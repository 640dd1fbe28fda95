"""Words for a stack: where a rank is, as a person would say it. Pure; used by `stacks`.

How the words are chosen. Every frame belongs to the user, to torch, to the standard library or to
another library, by its path. The *place* is the innermost frame of the user's own code, as
"file:line function". The *doing* are the torch frames further in whose function has a meaning of
its own for somebody who trains: collectives by their name (all_reduce, all_gather, barrier, …),
backward, forward, optimizer steps, the next batch of a DataLoader, saving and loading, compilation;
from outer to inner, each once in a row. What a rank is said to be in:

1. the doing, where there is one: "backward → all_reduce";
2. else the place: "data.py:41 read_shard";
3. else the innermost frame, in the same form (a stack without any code of the user).

A place whose line imports a module of somebody else is in "importing NAME": however deep inside
the import a rank is, it is that line that takes its time. Frames of Python's import machinery are
no part of a stack here.

So code of the user that torch calls (a Dataset, a hook) is named itself, and code that waits inside
torch is named by what it waits for. The other of the two is given beside it where there is room.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Sequence

import msgspec

MAX_WORDS = 4
"""Of the doing; the innermost ones stay."""


class Frame(msgspec.Struct, frozen=True):
    """One call, cleaned. `line` is 0 where it is unknown."""

    file: str
    line: int
    function: str


class Owner(enum.Enum):
    """Whose code a frame is."""

    USER = enum.auto()
    TORCH = enum.auto()
    STANDARD = enum.auto()
    LIBRARY = enum.auto()


_PACKAGES = re.compile(r".*/(?:site|dist)-packages/(.+)")
_STANDARD = re.compile(r".*/lib(?:64)?/(?:python|pypy)3(?:\.\d+t?)?/(.+)|.*/python3\d+\.zip/(.+)")
_WORK = re.compile(r".*/jobs/[0-9a-f]{12}/work/(.+)")
_RUNTIME = re.compile(r".*/runtime/[0-9a-f]{64}/(.+)|.*/(cockpit/node/(?:\w+/)?\w+\.py)")
_SOURCE_TREE = re.compile(r".*/pytorch/(torch/.+)")
_SCRIPT = ("<string>", "<stdin>")


@functools.lru_cache(maxsize=4096)
def locate(file: str) -> tuple[Owner, str]:
    """Whose code a file is, and its path as it is the same on every node.

    Packages and the standard library are named from their root on, and the user's code that
    cockpit has copied to the node from the working directory on; other paths stay whole.
    """
    if file.startswith("<"):
        return (Owner.USER if file in _SCRIPT else Owner.STANDARD), file
    if match := _RUNTIME.fullmatch(file):
        return Owner.LIBRARY, match[1] or match[2]
    if match := _PACKAGES.fullmatch(file) or _SOURCE_TREE.fullmatch(file):
        return (Owner.TORCH if match[1].startswith("torch/") else Owner.LIBRARY), match[1]
    if match := _STANDARD.fullmatch(file):
        return Owner.STANDARD, match[1] or match[2]
    if match := _WORK.fullmatch(file):
        return Owner.USER, match[1]
    return Owner.USER, file


_COLLECTIVES = (
    "init_process_group", "new_group", "destroy_process_group", "all_reduce", "all_gather",
    "all_to_all", "reduce_scatter", "reduce", "broadcast", "scatter", "gather", "barrier",
    "batch_isend_irecv", "isend", "irecv", "send", "recv", "unshard", "wait_tensor",
)  # fmt: skip
_COLLECTIVE = re.compile(
    rf"_*({'|'.join(_COLLECTIVES)})(?:_.*)?|(?:_store_based|monitored)_(barrier)"
)
"""Of functions below torch/distributed; variants ("_base", "_into_tensor", …) go by one name."""

_WAITING = frozenset((*_COLLECTIVES, "backward", "cuda synchronize"))
"""Words for what no rank ends alone: collectives, backward (where gradients are reduced), a GPU."""

_MEANINGS: tuple[tuple[re.Pattern[str], dict[str, str]], ...] = (
    (
        re.compile(r"torch/utils/data/(?:dataloader\.py|_utils/)"),
        {"__next__": "DataLoader next", "__iter__": "DataLoader start"},
    ),
    (re.compile(r"torch/optim/lr_scheduler\.py"), {"step": "scheduler step"}),
    (re.compile(r"torch/optim/"), {"step": "step", "zero_grad": "zero_grad"}),
    (
        re.compile(r"torch/(?:_tensor\.py|autograd/)"),
        {"backward": "backward", "grad": "backward"},
    ),
    (re.compile(r"torch/distributed/pipelining/"), {"step": "pipeline step"}),
    (
        re.compile(r"torch/distributed/checkpoint/"),
        {"save": "checkpoint save", "async_save": "checkpoint save", "load": "checkpoint load"},
    ),
    (re.compile(r"torch/distributed/fsdp/"), {"forward": "forward"}),
    (re.compile(r"torch/nn/utils/clip_grad\.py"), {"clip_grad_norm_": "clip_grad_norm_"}),
    (re.compile(r"torch/nn/"), {"forward": "forward"}),
    (re.compile(r"torch/serialization\.py"), {"save": "save", "load": "load"}),
    (re.compile(r"torch/cuda/"), {"synchronize": "cuda synchronize"}),
    (
        re.compile(r"torch/(?:_dynamo/convert_frame|_inductor/compile_fx)\.py"),
        {"_compile": "compile", "compile_fx": "compile", "compile_inner": "compile"},
    ),
)


def meaning(file: str, function: str) -> str:
    """The word for a torch frame, by its path from "torch/" on; "" when it says nothing."""
    for path, words in _MEANINGS:
        if path.match(file) and function in words:
            return words[function]
    if file.startswith("torch/distributed/") and (match := _COLLECTIVE.fullmatch(function)):
        return match[1] or match[2]
    return ""


_MACHINERY = "<frozen importlib"
_MODULE = "<module>"


def is_machinery(file: str) -> bool:
    """Whether it is code of Python's own that runs an import, and says nothing of which."""
    return file.startswith(_MACHINERY)


def _module(file: str) -> str:
    """The name of a module by its path as `locate` gives it."""
    path = file.removesuffix(".py").removesuffix("/__init__")
    return path.strip("/").replace("/", ".")


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What a stack says; see the module."""

    place: str = ""
    doing: tuple[str, ...] = ()
    importing: str = ""
    """The module of somebody else that the place imports."""
    innermost: str = ""

    @property
    def waits(self) -> bool:
        """Whether it is where ranks wait for each other, or for a GPU that does."""
        return any(word in _WAITING for word in self.doing)

    @property
    def short(self) -> str:
        """What the rank is in."""
        if self.importing and not self.doing:
            return f"importing {self.importing}"
        return " → ".join(self.doing) or self.place or self.innermost or "no Python code"

    @property
    def long(self) -> str:
        """The same with the user's line that led there."""
        bare = not (self.doing or self.importing)
        return self.short if bare or not self.place else f"{self.short} ({self.place})"


def describe(stack: Sequence[Frame]) -> Words:
    """Words for a stack, innermost frame first."""
    place = importing = ""
    doing: list[str] = []
    for frame in stack:
        owner, file = locate(frame.file)
        if owner is Owner.USER:
            place = _place(frame, file)
            break
        if frame.function == _MODULE:
            importing = _module(file)
        word = meaning(file, frame.function) if owner is Owner.TORCH else ""
        if word and word not in doing[-1:]:
            doing.append(word)
    innermost = _place(stack[0], locate(stack[0].file)[1]) if stack else ""
    return Words(
        place=place,
        doing=tuple(reversed(doing[:MAX_WORDS])),
        importing=importing if place else "",
        innermost=innermost,
    )


def _place(frame: Frame, file: str) -> str:
    line = f":{frame.line}" if frame.line else ""
    return f"{file.rpartition('/')[2]}{line} {frame.function}"
