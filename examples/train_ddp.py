"""A small but real distributed training: a causal character model under DistributedDataParallel.

It runs with gloo on CPUs and with NCCL where there are GPUs, for `--seconds` of training, and
prints a line about twice a second. Rank 0 keeps a checkpoint, so that a restart goes on where the
last one stopped, and makes one when somebody asks for it. `--fail-rank` and `--fail-at` make one
rank fail, once, to show what a first cause and a restart look like.

    cockpit run --nproc-per-node 2 examples/train_ddp.py --seconds 10
    torchrun --standalone --nproc-per-node 2 examples/train_ddp.py --seconds 10
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.elastic.multiprocessing.errors import record
from torch.nn.parallel import DistributedDataParallel

try:  # in a job of cockpit's; under another launcher nobody asks for a checkpoint
    from cockpit import checkpoint_saved, checkpoint_wanted
except ImportError:

    def checkpoint_wanted(step: int | None = None) -> bool:  # noqa: ARG001
        return False

    def checkpoint_saved() -> None:
        pass


VOCABULARY = 64
CONTEXT = 16


@dataclasses.dataclass(frozen=True)
class Place:
    """Where this process stands among all."""

    rank: int
    local_rank: int
    world_size: int
    restart: int

    @classmethod
    def from_environment(cls) -> Place:
        return cls(
            rank=int(os.environ.get("RANK", "0")),
            local_rank=int(os.environ.get("LOCAL_RANK", "0")),
            world_size=int(os.environ.get("WORLD_SIZE", "1")),
            restart=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")),
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to train")
    parser.add_argument("--batch", type=int, default=64, help="sequences per rank and step")
    parser.add_argument("--width", type=int, default=64, help="width of the model")
    parser.add_argument("--lr", type=float, default=3e-4, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-every", type=float, default=0.5, help="seconds between lines")
    parser.add_argument(
        "--step-time", type=float, default=0.02, help="least seconds per step, to spare a laptop"
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("checkpoint.pt"), help="rank 0's file"
    )
    parser.add_argument("--checkpoint-every", type=float, default=1.0, help="seconds between saves")
    parser.add_argument("--fail-rank", type=int, help="the rank that fails once, at --fail-at")
    parser.add_argument("--fail-at", type=int, default=100, metavar="STEP")
    return parser.parse_args()


class Model(nn.Module):
    """Predicts the next character from the `CONTEXT` before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(CONTEXT * width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, VOCABULARY),
        )

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """(batch, CONTEXT) character ids -> (batch, VOCABULARY) logits."""
        logits: torch.Tensor = self.layers(self.embed(context))
        return logits


class Text:
    """An endless made-up text whose next character follows from the two before it, with noise."""

    def __init__(self, seed: int, rank: int) -> None:
        rules = torch.Generator().manual_seed(seed)
        self._next = torch.randint(VOCABULARY, (VOCABULARY, VOCABULARY), generator=rules)
        self._random = torch.Generator().manual_seed(seed * 100_003 + rank + 1)

    def batch(self, size: int) -> torch.Tensor:
        """(size, CONTEXT + 1) character ids."""
        columns = [torch.randint(VOCABULARY, (size,), generator=self._random) for _ in range(2)]
        while len(columns) <= CONTEXT:
            following = self._next[columns[-2], columns[-1] % 4]
            noise = torch.randint(VOCABULARY, (size,), generator=self._random)
            noisy = torch.rand(size, generator=self._random) < 0.02
            columns.append(torch.where(noisy, noise, following))
        return torch.stack(columns, dim=1)


class Trainer:
    """The model with its optimizer, its clock and its checkpoint."""

    def __init__(self, options: argparse.Namespace, place: Place, device: torch.device) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.place = place
        self.device = device
        self.text = Text(options.seed, place.rank)
        model = Model(options.width).to(device)
        self.model = DistributedDataParallel(
            model, device_ids=[device.index] if device.type == "cuda" else None
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=options.lr)
        self.step = 0
        self.resumed = False
        self.trained = 0.0
        """Seconds of training, those before a restart included."""

    def load(self) -> None:
        """Go on from rank 0's checkpoint, if there is one; the others hear of it."""
        saved: list[object] = [None]
        path: Path = self.options.checkpoint
        if self.place.rank == 0 and path.exists():
            state = torch.load(path, map_location="cpu", weights_only=True)
            if state["trained"] < self.options.seconds:  # a finished one belongs to another run
                saved[0] = state
        dist.broadcast_object_list(saved, device=self.device)
        state = saved[0]
        if isinstance(state, dict):
            self.model.module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.trained, self.resumed = state["step"], state["trained"], True
            say(self.place, f"resumed at step={self.step} after {self.trained:.1f} s of training")

    def save(self) -> None:
        """Rank 0 writes the checkpoint; a crash in the middle leaves the previous one."""
        if self.place.rank != 0:
            return
        path: Path = self.options.checkpoint
        unfinished = path.with_name(path.name + ".part")
        state = {
            "model": self.model.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "trained": self.trained,
        }
        torch.save(state, unfinished)
        unfinished.replace(path)

    def train_step(self) -> float:
        """One step; returns this rank's loss."""
        batch = self.text.batch(self.options.batch).to(self.device)
        loss = nn.functional.cross_entropy(self.model(batch[:, :-1]), batch[:, -1])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def train(self) -> None:
        """Train until `--seconds` are over for rank 0."""
        options = self.options
        logged = saved = last = time.monotonic()
        losses: list[float] = []
        self.save()
        while self.goes_on():
            if (
                self.place.rank == options.fail_rank
                and self.step >= options.fail_at
                and not self.resumed
            ):
                raise RuntimeError(f"rank {self.place.rank} was asked to fail at step {self.step}")
            losses.append(self.train_step())
            now = time.monotonic()
            time.sleep(max(0.0, options.step_time - (now - last)))
            now = time.monotonic()
            self.trained += now - last
            last = now
            if now - logged >= options.log_every:
                rate = len(losses) * options.batch * CONTEXT / (now - logged)
                loss = sum(losses) / len(losses)
                say(self.place, f"step={self.step} loss={loss:.4f} tokens/s={rate:.0f}")
                logged = now
                losses.clear()
            wanted = checkpoint_wanted(self.step)
            if wanted or now - saved >= options.checkpoint_every:
                self.save()
                saved = now
            if wanted:
                checkpoint_saved()
        self.save()

    def goes_on(self) -> bool:
        """Rank 0 decides for all: clocks differ, and a rank that left would hang the others."""
        answer = torch.tensor([float(self.trained < self.options.seconds)], device=self.device)
        dist.broadcast(answer, src=0)
        return bool(answer.item())


def say(place: Place, message: str) -> None:
    print(f"[rank {place.rank}] {message}", flush=True)


@record  # leaves the exception where the launcher finds it
def main() -> None:
    options = arguments()
    place = Place.from_environment()
    if torch.cuda.is_available():
        device = torch.device("cuda", place.local_rank)
        torch.cuda.set_device(device)
        backend = "nccl"
    else:
        device = torch.device("cpu")
        backend = "gloo"
        torch.set_num_threads(1)
    if "RANK" not in os.environ:  # started as plain `python train_ddp.py`
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0", RANK="0", WORLD_SIZE="1")
    dist.init_process_group(backend)
    say(place, f"{backend} on {device}, world size {place.world_size}, restart {place.restart}")
    trainer = Trainer(options, place, device)
    trainer.load()
    trainer.train()
    dist.barrier()
    say(place, f"done: step={trainer.step} after {trainer.trained:.1f} s of training")
    # Only at a good end: after a failure it could wait for ranks that will never come.
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
