"""Launcher processes for tests of the supervisor's insight: real ranks with real slots, no torch.

The launcher process starts ranks, tells of them in `launcher.jsonl`, and obeys requests as an
instrumented one does. What a rank does is in the file `do.<generation>.<rank>` of the job's working
directory, else in `do`: beat (as long as nothing is said), save (beat, and make checkpoints on
request), hang, end, mute. With a file `deaf`
there the launcher process hears no request, with `refuse` it refuses restarts.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from cockpit.node import journal
from cockpit.protocol import layout
from cockpit.protocol.records import Watch
from tests.node.supervising import Attempt, Node, eventually

RANK = """
import os, sys, time
generation, local_rank = int(sys.argv[1]), int(sys.argv[2])
sys.path.insert(0, sys.argv[3])
from cockpit.node.rank import slot

def word():
    for name in (f"do.{generation}.{local_rank}", "do"):
        try:
            return open(name).read().strip() or "beat"
        except OSError:
            pass
    return "beat"

mine = None
if "COCKPIT_SLOTS" in os.environ and word() != "mute":
    mine = slot.Slot(f"{os.environ['COCKPIT_SLOTS']}/{generation}.{local_rank}", local_rank)
    mine.add_flags(slot.HOOKED)
print("rank up", flush=True)
step = 0
while True:
    do = word()
    if do == "end":
        if mine is not None:
            mine.add_flags(slot.ENDED)
        break
    if do in ("beat", "save") and mine is not None:
        mine.step(own_ns=2_000_000 if do == "beat" else -1)
        mine.heartbeat(loss=1.0 / (step + 1), broken=float("nan"))
        step += 1
        print(f"step {step} lr={step}e-3", flush=True)
        if do == "save" and mine.checkpoint_wanted(step):
            print(f"saving at {step}", flush=True)
            mine.checkpoint_saved()
    time.sleep(0.02)
"""

LAUNCHER = """
import json, os, subprocess, sys, time
runtime, count, rank_code = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.path.insert(0, runtime)
from cockpit.node.journal import Journal
from cockpit.node.launch.recorder import process
folder = os.environ["COCKPIT_ATTEMPT_DIR"]
first_rank = 4 + count * int(os.environ["COCKPIT_ATTEMPT"].rpartition("/")[2])
journal = Journal(folder + "/launcher.jsonl")

def start(generation):
    logs = f"{folder}/logs/{generation}"
    os.makedirs(logs)
    ranks, told = [], []
    for local_rank in range(count):
        out, err = (f"logs/{generation}/{local_rank}.{stream}" for stream in ("out", "err"))
        with open(f"{folder}/{out}", "wb") as stdout, open(f"{folder}/{err}", "wb") as stderr:
            argv = [sys.executable, "-c", rank_code, str(generation), str(local_rank), runtime]
            rank = subprocess.Popen(argv, stdout=stdout, stderr=stderr)
        ranks.append(rank)
        told.append({
            "rank": first_rank + local_rank, "local_rank": local_rank, "process": process(rank.pid),
            "out": out, "err": err,
        })
    journal.write("generation", generation=generation, ranks=told)
    return ranks

def end(ranks):
    for rank in ranks:
        rank.kill()
        rank.wait()

def refuses(request):
    if request["do"] != "restart" or not os.path.exists("refuse"):
        return False
    told = {"generation": generation, "by": request["by"], "reason": "they would be missed"}
    journal.write("restart_refused", id=request["id"], **told)
    return True

generation, ranks, done = 0, start(0), set()
while True:
    time.sleep(0.02)
    for name in os.listdir(folder + "/requests") if os.path.isdir(folder + "/requests") else ():
        if name.startswith(".") or name in done or os.path.exists("deaf"):
            continue
        done.add(name)
        request = json.load(open(f"{folder}/requests/{name}"))
        if request["generation"] not in (None, generation) or refuses(request):
            continue
        if request["do"] == "stop":
            end(ranks)
            sys.exit(1)
        journal.write("restarting", generation=generation, by=request["by"],
                      reason=request["reason"], cost=request["cost"])
        journal.write("stopping", generation=generation)
        end(ranks)
        generation += 1
        ranks = start(generation)
    if all(rank.poll() is not None for rank in ranks):
        good = all(rank.returncode == 0 for rank in ranks)
        state = "SUCCEEDED" if good else "FAILED"
        journal.write("group", generation=generation, state=state, failures=[])
        sys.exit(not good)
"""


class Training(Attempt):
    """A running attempt of `count` ranks, whose global ranks begin at 4."""

    def do(self, word: str, generation: int | None = None, local_rank: int = 0) -> None:
        name = "do" if generation is None else f"do.{generation}.{local_rank}"
        path = self.node.work / name
        path.with_suffix(".new").write_text(word)
        os.rename(path.with_suffix(".new"), path)

    def digests(self) -> list[dict[str, Any]]:
        return journal.read(str(self.folder / layout.BEATS))

    def wait_for_stages(self, *stages: str) -> dict[str, Any]:
        """The first newest digest in which the ranks have these stages."""

        def newest() -> dict[str, Any] | None:
            found = self.digests()
            matches = found and tuple(r["stage"] for r in found[-1]["ranks"]) == stages
            return found[-1] if matches else None

        try:
            found: dict[str, Any] = eventually(newest, f"stages {stages}")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.digests()[-1:]} {self.events()}") from None
        return found

    def requests(self) -> list[dict[str, Any]]:
        folder = self.folder / layout.REQUESTS
        paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
        return [json.loads(path.read_text()) for path in paths]

    def slots(self) -> Path:
        return Path(layout.slots_dir(os.geteuid(), self.place.marker))

    def all_of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events() if event["kind"] == kind]


def launcher_argv(count: int) -> tuple[str, ...]:
    """What to run, with macros: the launcher process of `count` ranks on each node."""
    launcher, rank = (code.replace("${", "$${") for code in (LAUNCHER, RANK))
    return (sys.executable, "-c", launcher, "${runtime}", str(count), rank)


def training(
    node: Node, count: int = 2, first: str = "beat", fields: Any = None, **watch: Any
) -> Training:
    """A started attempt whose ranks do `first`; `watch` as in Watch, looked at often.

    `fields`: others of JobRecord.
    """
    (node.work / "do").write_text(first)
    job = node.job(
        *launcher_argv(count),
        **{"kind": "torchrun", "watch": Watch(**{"interval": 0.1, **watch}), **(fields or {})},
    )
    plain = node.attempt(job=job)
    attempt = Training(node, plain.job, plain.record)
    attempt.run()
    return attempt
