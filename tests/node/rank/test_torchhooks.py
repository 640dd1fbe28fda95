"""Which optimizer steps are the rank's steps, and which time is its own."""

from __future__ import annotations

import contextlib
import pathlib
import types
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.node.rank import slot, torchhooks


class Counting:
    """Stands in for a slot: what it was told."""

    def __init__(self) -> None:
        self.steps = 0
        self.beats = 0
        self.own: list[int] = []
        self.flags = 0
        self.notes: list[str] = []

    def step(self, own_ns: int = -1) -> int:
        self.steps += 1
        self.beats += 1
        self.own.append(own_ns)
        return torchhooks.monotonic_ns()

    def beat(self) -> None:
        self.beats += 1

    def add_flags(self, flags: int) -> None:
        self.flags |= flags

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def steps(counting: Counting) -> torchhooks.Steps:
    return torchhooks.Steps(counting)  # type: ignore[arg-type]


def run(order: Sequence[object]) -> Counting:
    counting = Counting()
    steps = torchhooks.Steps(counting)  # type: ignore[arg-type]
    for optimizer in order:
        steps.optimizer_stepped(optimizer, (), {})
    return counting


ONE, TWO, THREE = object(), object(), object()


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([ONE] * 5, 5),
        ([ONE, TWO] * 5, 5),
        ([ONE, TWO, THREE] * 5, 5),
        # A critic that steps oftener leads, first or not.
        ([ONE, ONE, ONE, TWO] * 4, 12),
        ([TWO, *[ONE] * 3] * 4, 12),
        # One after the other has taken over, the first of its steps was a beat.
        ([ONE] * 5 + [TWO] * 5, 9),
    ],
    ids=["one", "two in turn", "three in turn", "oftener", "oftener, second", "one after another"],
)
def test_the_optimizer_that_steps_most_counts(order: list[object], expected: int) -> None:
    counting = run(order)
    assert counting.beats == len(order)
    assert abs(counting.steps - expected) <= 1


def test_one_optimizer_per_parameter_is_one_step_a_round() -> None:
    optimizers = [object() for _ in range(100)]
    assert run(optimizers * 7).steps == 7


@given(order=st.lists(st.integers(0, 4), max_size=200))
def test_no_order_of_optimizers_counts_more_than_the_busiest_ones_do(order: list[int]) -> None:
    optimizers = [object() for _ in range(5)]
    counting = run([optimizers[number] for number in order])
    assert counting.beats == len(order)
    assert counting.steps <= len(order)
    # Between two counted steps each optimizer steps twice at most: none is forgotten.
    assert counting.steps >= len(order) // 10


def test_no_optimizer_is_kept_alive(steps: torchhooks.Steps) -> None:
    import gc
    import weakref

    class Optimizer:
        pass

    gone = []
    for _ in range(3):
        optimizer = Optimizer()
        gone.append(weakref.ref(optimizer))
        steps.optimizer_stepped(optimizer, (), {})
        steps.optimizer_stepped(object(), (), {})
        del optimizer
    gc.collect()
    assert [reference() for reference in gone] == [None] * 3


class Clock:
    def __init__(self) -> None:
        self.now = 1000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(torchhooks, "monotonic_ns", clock)
    return clock


def forward(steps: torchhooks.Steps, clock: Clock, took: int) -> None:
    began = steps.forward_begins()
    clock.now += took
    steps.forward_ended(began)


def test_own_time_is_all_up_to_the_first_forwards_end_and_further_forwards(
    counting: Counting, steps: torchhooks.Steps, clock: Clock
) -> None:
    forward(steps, clock, 10)
    clock.now += 500
    steps.optimizer_stepped(ONE, (), {})
    # The step before the first is unknown: nothing is told of it.
    assert (counting.own, counting.flags) == ([-1], 0)
    clock.now += 3  # a batch is loaded
    forward(steps, clock, 10)
    clock.now += 500  # backward and all-reduce
    forward(steps, clock, 20)
    clock.now += 500
    steps.optimizer_stepped(ONE, (), {})
    assert (counting.own, counting.flags) == ([-1, 33], torchhooks.OWN)
    clock.now += 500
    steps.optimizer_stepped(ONE, (), {})
    assert counting.own == [-1, 33, -1], "a step without a forward tells nothing"


def test_a_forward_inside_a_forward_counts_once(
    counting: Counting, steps: torchhooks.Steps, clock: Clock
) -> None:
    steps.optimizer_stepped(ONE, (), {})
    outer = steps.forward_begins()
    clock.now += 1
    forward(steps, clock, 10)
    clock.now += 2
    steps.forward_ended(outer)
    steps.optimizer_stepped(ONE, (), {})
    assert counting.own == [-1, 13]


def test_a_torch_without_the_hook_is_named(counting: Counting, steps: torchhooks.Steps) -> None:
    torchhooks.hook_optimizers(steps, counting, types.ModuleType("optimizer"))  # type: ignore[arg-type]
    assert "has no register_optimizer_step_post_hook" in counting.notes[0]
    assert counting.flags == 0


def test_a_hook_that_torch_refuses_is_named(counting: Counting, steps: torchhooks.Steps) -> None:
    module: Any = types.ModuleType("optimizer")

    def register(hook: object) -> None:
        raise RuntimeError("not now")

    module.register_optimizer_step_post_hook = register
    torchhooks.hook_optimizers(steps, counting, module)  # type: ignore[arg-type]
    assert "not now" in counting.notes[0]
    assert counting.flags == 0


def parallel(inside: Any = None) -> Any:
    """A module such as torch.nn.parallel.distributed."""
    module: Any = types.ModuleType("distributed")
    module.DistributedDataParallel = type("DistributedDataParallel", (), {})
    if inside is not None:
        module.DistributedDataParallel._inside_ddp_forward = inside
    return module


def test_a_failing_forward_ends_the_same_way_and_the_next_is_timed(
    counting: Counting, steps: torchhooks.Steps, clock: Clock
) -> None:
    left = []

    @contextlib.contextmanager
    def inside(self: object) -> Iterator[str]:
        """What torch says."""
        try:
            yield "entered"
        finally:
            left.append(clock.now)

    module = parallel(inside)
    torchhooks.hook_forwards(steps, module)
    wrapped = module.DistributedDataParallel._inside_ddp_forward
    assert (wrapped.__doc__, wrapped.__name__) == ("What torch says.", "inside")
    steps.optimizer_stepped(ONE, (), {})
    model = module.DistributedDataParallel()
    with pytest.raises(ZeroDivisionError), model._inside_ddp_forward() as entered:
        assert entered == "entered"
        clock.now += 5
        1 / 0  # noqa: B018
    assert left == [clock.now]
    with model._inside_ddp_forward():
        clock.now += 7
    steps.optimizer_stepped(ONE, (), {})
    assert counting.own == [-1, 12]


def test_a_torch_without_the_context_tells_no_own_time(steps: torchhooks.Steps) -> None:
    for module in (types.ModuleType("distributed"), parallel()):
        before = dict(vars(module))
        torchhooks.hook_forwards(steps, module)
        assert vars(module) == before


def test_its_flags_are_those_of_the_slot() -> None:
    assert (torchhooks.HOOKED, torchhooks.OWN) == (slot.HOOKED, slot.OWN)


def test_a_real_slot_takes_what_it_says(tmp_path: pathlib.Path) -> None:
    real = slot.Slot(str(tmp_path / "0.0"), 0)
    steps = torchhooks.Steps(real)
    for _ in range(2):
        began = steps.forward_begins()
        steps.forward_ended(began)
        steps.optimizer_stepped(ONE, (), {})
    steps.optimizer_stepped(TWO, (), {})
    reader = slot.Reader(str(tmp_path / "0.0"))
    beat = reader.read()
    reader.close()
    assert beat is not None
    assert (beat.step, beat.steps, beat.beats, beat.own_steps) == (1, 2, 3, 1)
    assert beat.flags & slot.OWN
