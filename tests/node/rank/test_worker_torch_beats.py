"""Unmodified torch scripts under the worker: what beats, what is a step, whose time it is."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from cockpit.node.rank import slot
from tests.node.torchrun_nodes import free_port, make_runtime
from tests.node.worker_ranks import Rank, Ranks, ranks_in

pytestmark = [pytest.mark.torch, pytest.mark.timeout(360)]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_runtime(tmp_path_factory.mktemp("runtime"))


@pytest.fixture
def ranks(tmp_path: pathlib.Path, runtime: pathlib.Path) -> Iterator[Ranks]:
    with ranks_in(tmp_path, runtime) as ranks:
        yield ranks


# Each function is a training of its own; what the slot says after each is printed by reading the
# slot's file, as the supervisor does.
TRAININGS = """
import inspect, json, pickle, sys
PATH = sys.argv[1]
import torch

def model(): return torch.nn.Linear(4, 1)

def train(*optimizers, net, rounds):
    for _ in range(rounds):
        for optimizer in optimizers:
            optimizer.zero_grad()
            net(torch.ones(2, 4)).sum().backward()
            optimizer.step()

def plain():
    net = model()
    train(torch.optim.SGD(net.parameters(), lr=0.1), net=net, rounds=10)

def gan():
    net = model()
    generator = torch.optim.Adam(net.parameters())
    critic = torch.optim.AdamW(net.parameters())
    train(generator, critic, net=net, rounds=10)

class Accelerated(torch.optim.Optimizer):
    '''As a wrapper that passes on every fourth step.'''
    def __init__(self, optimizer, state):
        self.optimizer, self.state_of = optimizer, state
    @property
    def param_groups(self): return self.optimizer.param_groups
    def zero_grad(self, set_to_none=None):
        if self.state_of["sync"]: self.optimizer.zero_grad()
    def step(self, closure=None):
        if self.state_of["sync"]: self.optimizer.step(closure)

class Trainer:
    def __init__(self, net, accumulate):
        self.net, self.accumulate, self.state = net, accumulate, {"sync": False}
        inner = torch.optim.AdamW(net.parameters())
        self.schedule = torch.optim.lr_scheduler.LambdaLR(inner, lambda step: 1.0)
        self.optimizer = Accelerated(inner, self.state)
    def train(self, batches):
        for number, batch in enumerate(batches, 1):
            self.state["sync"] = number % self.accumulate == 0
            (self.net(batch).sum() / self.accumulate).backward()
            self.optimizer.step()
            if self.state["sync"]: self.schedule.step()
            self.optimizer.zero_grad()

def trainer():
    Trainer(model(), accumulate=4).train([torch.ones(2, 4)] * 40)

def closure():
    net = model()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)
    def loss():
        optimizer.zero_grad()
        value = net(torch.ones(2, 4)).pow(2).sum()
        value.backward()
        return value
    for _ in range(10): optimizer.step(loss)

def metrics():
    import cockpit
    for step in range(100, 110):
        cockpit.heartbeat(step=step, loss=torch.tensor(0.5, requires_grad=True).detach(),
                          two=torch.ones(2), none=None, nan=float("nan"))

def unharmed():
    import torch.optim.optimizer
    name = "torch.optim.optimizer"
    module = sys.modules[name]
    assert not [f for f in sys.meta_path if "cockpit" in type(f).__module__], sys.meta_path
    assert "exec_module" not in vars(module.__loader__)
    assert "class Optimizer" in inspect.getsource(module.Optimizer)
    copy = pickle.loads(pickle.dumps(torch.optim.SGD(model().parameters(), lr=0.1)))
    assert copy.param_groups[0]["lr"] == 0.1

if __name__ == "__main__":
    for training in sys.argv[2:]:
        globals()[training]()
        with open(PATH, "rb") as file: data = file.read()
        slot = sys.modules["_cockpit_slot"].Beat(data)
        said = {name: getattr(slot, name) for name in slot.__slots__}
        print(json.dumps([training, said]))
"""


def told(rank: Rank) -> dict[str, dict[str, Any]]:
    return dict(json.loads(line) for line in rank.out().splitlines())


def test_steps_are_counted_as_a_person_would_count_them(ranks: Ranks) -> None:
    """One process, one import of torch; each training goes on where the one before stopped."""
    ranks.write("trainings.py", TRAININGS)
    names = ["plain", "gan", "trainer", "closure", "unharmed", "metrics"]
    path = str(ranks.slots / "0.0")
    rank = ranks.run("-m", "trainings", path, *names)
    assert rank.process.returncode == 0, rank.err()
    said = told(rank)
    steps, beats, last_steps, last_beats = {}, {}, 0, 0
    for name in names:
        steps[name], beats[name] = (
            said[name]["steps"] - last_steps,
            said[name]["beats"] - last_beats,
        )
        last_steps, last_beats = said[name]["steps"], said[name]["beats"]
    assert (steps["plain"], beats["plain"]) == (10, 10)
    # The first step after the lead has changed hands may be a beat only.
    assert steps["gan"] in (9, 10)
    assert beats["gan"] == 20
    assert steps["trainer"] in (9, 10)
    assert beats["trainer"] == 10
    assert steps["closure"] in (9, 10)
    assert beats["closure"] == 10
    assert said["closure"]["step"] == said["closure"]["steps"] - 1
    assert (steps["metrics"], beats["metrics"]) == (0, 10)
    end = rank.beat()
    assert end.flags == slot.HOOKED | slot.USER | slot.ENDED
    assert (end.step, end.metrics["loss"]) == (109, 0.5)
    assert (end.note, end.own_steps) == ("", 0)
    assert rank.err() == "cockpit.heartbeat leaves it out: 'two' is no number: Tensor\n"


LOADERS = """
import torch
from torch.utils.data import DataLoader, Dataset

class Data(Dataset):
    def __len__(self): return 16
    def __getitem__(self, index):
        # A worker that trains by itself, and one that beats: neither is the rank.
        import cockpit
        parameter = torch.nn.Parameter(torch.ones(1))
        parameter.grad = torch.ones(1)
        torch.optim.SGD([parameter], lr=0.1).step()
        cockpit.heartbeat(step=10_000, from_worker=1.0)
        return torch.ones(4)

if __name__ == "__main__":
    net = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for method in ("fork", "spawn"):
        for batch in DataLoader(Data(), 4, num_workers=2, multiprocessing_context=method):
            optimizer.zero_grad()
            net(batch).sum().backward()
            optimizer.step()
"""


@pytest.mark.slow
def test_workers_of_a_data_loader_do_not_beat_forked_or_spawned(ranks: Ranks) -> None:
    ranks.write("loaders.py", LOADERS)
    rank = ranks.run("loaders.py", PYTHONPATH=str(ranks.runtime))
    assert rank.process.returncode == 0, rank.err()
    assert [path.name for path in ranks.slots.iterdir()] == ["0.0"]
    beat = rank.beat()
    assert (beat.step, beat.steps, beat.beats, beat.metrics) == (7, 8, 8, {})
    assert (beat.pid, beat.flags) == (rank.process.pid, slot.HOOKED | slot.ENDED)


DDP = """
import os, sys, time
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
dist.init_process_group("gloo")
rank = dist.get_rank()
net = DistributedDataParallel(torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(6):
    if step and rank == 1:
        time.sleep(0.3)
    optimizer.zero_grad()
    net(torch.ones(2, 4)).sum().backward()
    optimizer.step()
dist.destroy_process_group()
"""


def test_under_ddp_the_slow_rank_is_told_from_those_that_wait_for_it(ranks: Ranks) -> None:
    ranks.write("ddp.py", DDP)
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    both = [ranks.start("ddp.py", local_rank=n, RANK=str(n), **world) for n in (0, 1)]
    assert [rank.wait() for rank in both] == [0, 0], both[0].err() + both[1].err()
    quick, slow = (rank.beat() for rank in both)
    for beat in (quick, slow):
        assert beat.flags == slot.HOOKED | slot.OWN | slot.ENDED
        # The step before the first one is unknown.
        assert (beat.steps, beat.own_steps) == (6, 5)
    # Both took as long; only one of them needed that time.
    assert slow.own_ns >= 5 * 0.3e9
    assert quick.own_ns < slow.own_ns / 2


COMPILED = """
import sys
import torch, torch._dynamo as dynamo, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
dist.init_process_group("gloo")
module = torch.nn.Linear(4, 1)
net = DistributedDataParallel(module)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

def forward():
    net(torch.ones(2, 4)).sum().backward()

def whole():
    forward()
    optimizer.step()
    return torch.ones(2) + 1

def train(step):
    dynamo.reset()
    dynamo.utils.counters.clear()
    compiled = torch.compile(step, backend="eager")
    for _ in range(20):
        compiled()
    counters = dynamo.utils.counters
    return dict(counters["stats"]), sorted(counters["graph_break"])

steps = forward, optimizer.step, whole
hooked = [train(step) for step in steps]
hooks = sys.modules["torch.optim.optimizer"]._global_optimizer_post_hooks
hooks.clear()
timed = DistributedDataParallel._inside_ddp_forward
DistributedDataParallel._inside_ddp_forward = timed.__wrapped__
plain = [train(step) for step in steps]
assert hooked == plain, (hooked, plain)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_torch_compile_makes_the_same_graphs_and_no_more_warnings(ranks: Ranks) -> None:
    ranks.write("compiled.py", COMPILED)
    world = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    rank = ranks.run("compiled.py", MASTER_PORT=str(free_port()), **world)
    assert rank.process.returncode == 0, rank.err()
    assert "time.monotonic_ns" not in rank.err()
    assert "recompile_limit" not in rank.err()
    # 20 compiled steps, and 20 in a function with the rest.
    assert (rank.beat().steps, rank.beat().own_steps) == (40, 20)


def test_a_rank_that_dies_while_it_imports_torch_has_a_slot_without_a_beat(ranks: Ranks) -> None:
    ranks.write("broken/torch/__init__.py", "raise ImportError('libcudart.so.13')\n")
    ranks.write("dies.py", "import torch\n")
    rank = ranks.run("dies.py", PYTHONPATH=str(ranks.folder / "broken"))
    assert rank.process.returncode == 1
    assert "ImportError: libcudart.so.13" in rank.err()
    assert "_cockpit" not in rank.err()
    assert (rank.beat().beats, rank.beat().flags) == (0, 0)


def test_a_torch_without_the_hook_trains_and_says_so(ranks: Ranks) -> None:
    ranks.write("old/torch/__init__.py", "__version__ = '1.9'\nfrom torch import optim\n")
    ranks.write("old/torch/optim/__init__.py", "from torch.optim import optimizer\n")
    ranks.write("old/torch/optim/optimizer.py", "")
    ranks.write("trains.py", "import torch; print(torch.__version__)\n")
    rank = ranks.run("trains.py", PYTHONPATH=str(ranks.folder / "old"))
    assert (rank.process.returncode, rank.out(), rank.err()) == (0, "1.9\n", "")
    assert rank.beat().note == "torch 1.9 has no register_optimizer_step_post_hook"
    assert rank.beat().flags == slot.ENDED


def test_a_user_who_names_a_module_torch_keeps_it(ranks: Ranks) -> None:
    ranks.write("torch.py", "mine = 1\n")
    ranks.write("uses.py", "import torch\nassert torch.mine\n")
    rank = ranks.run("uses.py")
    assert (rank.process.returncode, rank.err()) == (0, "")
