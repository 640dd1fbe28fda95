"""Every built-in rule knows its own words and not those that look like them."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cockpit.errors import UsageError
from cockpit.model.rules import MAX_HINT, MAX_LABEL, Rules, builtin
from cockpit.model.types import Cause
from cockpit.profiles.types import Rule

XID = "NVRM: Xid (PCI:0000:3b:00): {}, pid=1234, name=python, {}"

# name -> (what it says in real life, what looks alike and means something else)
SAMPLES: dict[str, tuple[str, str]] = {
    "xid-off-the-bus": (
        XID.format(79, "GPU has fallen off the bus."),
        "Xid (PCI:0000:3b:00): 790, unknown",
    ),
    "xid-ecc": (
        XID.format(94, "Contained: SM (0x1). RST: No, D-RST: No"),
        XID.format(45, "Ch 00000010"),
    ),
    "xid-row-remap": (
        XID.format(63, "Row Remapper: New row marked for remapping"),
        XID.format(163, "x"),
    ),
    "xid-nvlink": (
        XID.format(74, "NVLink: fatal error detected on link 2"),
        "step 74, loss 0.1",
    ),
    "xid-gsp": (
        XID.format(119, "Timeout waiting for RPC from GSP!"),
        XID.format(11, "x"),
    ),
    "xid-hardware": (
        XID.format(62, "Internal micro-controller halt"),
        XID.format(43, "Ch 00000008"),
    ),
    "xid-memory-access": (
        XID.format(31, "Ch 00000008, intr 00000000. MMU Fault"),
        XID.format(131, "x"),
    ),
    "cuda-out-of-memory": (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
        "capacity of 79.15 GiB of which 1.2 GiB is free.",
        "CUDA memory allocated: 12 GiB",
    ),
    "shared-memory": (
        "RuntimeError: DataLoader worker (pid 4242) is killed by signal: Bus error. It is possible "
        "that dataloader's workers are out of shared memory.",
        "RuntimeError: DataLoader worker (pid 4242) is killed by signal: Killed.",
    ),
    "worker-killed": (
        "RuntimeError: DataLoader worker (pid(s) 4242, 4243) exited unexpectedly",
        "DataLoader worker 3 is slow",
    ),
    "bus-error": ("killed by SIGBUS", "killed by SIGBUSY"),
    "host-out-of-memory": (
        "RuntimeError: [enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't "
        "allocate memory: you tried to allocate 999999 bytes.",
        "MemoryErrorHandler was installed",
    ),
    "quota": (
        "OSError: [Errno 122] Disk quota exceeded: '/home/ada/ckpt.pt'",
        "quota: 10 of 20 GB used",
    ),
    "disk-full": (
        "OSError: [Errno 28] No space left on device: '/data/ckpt/step_100.pt'",
        "[Errno 280] whatever",
    ),
    "read-only": (
        "OSError: [Errno 30] Read-only file system: '/data/out'",
        "mounted read-only on purpose",
    ),
    "stale-file": (
        "OSError: [Errno 116] Stale file handle: '/nfs/data/shard-3'",
        "stale cache entry removed",
    ),
    "too-many-files": (
        "OSError: [Errno 24] Too many open files: '/data/x'",
        "too many openings in file 24",
    ),
    "permission": (
        "PermissionError: [Errno 13] Permission denied: '/data/run/ckpt'",
        "permissions were checked",
    ),
    "checkpoint-corrupt": (
        "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central "
        "directory",
        "PytorchStreamReader opened /data/x.pt",
    ),
    "missing-file": (
        "FileNotFoundError: [Errno 2] No such file or directory: 'data/train.bin'",
        "no such luck",
    ),
    "missing-module": (
        "ModuleNotFoundError: No module named 'flash_attn'",
        "module named 'x' was reloaded",
    ),
    "shared-library": (
        "OSError: libcudnn.so.9: cannot open shared object file",
        "loaded libcudnn.so.9",
    ),
    "import": (
        "ImportError: cannot import name 'Trainer' from 'transformers' (unknown location)",
        "importing trainer …",
    ),
    "syntax": (
        "SyntaxError: invalid syntax (train.py, line 3)",
        "MySyntaxErrors: 3",
    ),
    "cuda-ecc": (
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        "ECC is enabled on GPU 0",
    ),
    "device-side-assert": (
        "RuntimeError: CUDA error: device-side assert triggered",
        "AssertionError: sizes differ",
    ),
    "illegal-access": (
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "illegal argument: --memory",
    ),
    "cuda-version": (
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
        "CUDA driver version 12.4",
    ),
    "cuda-architecture": (
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "kernel image loaded",
    ),
    "driver-mismatch": (
        "Failed to initialize NVML: Driver/library version mismatch",
        "driver version 550.54, library version 550.54",
    ),
    "no-cuda": (
        "RuntimeError: No CUDA GPUs are available",
        "8 CUDA GPUs are available",
    ),
    "gpu-busy": (
        "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable",
        "all devices are busy",
    ),
    "nccl-interface": (
        "NCCL WARN Bootstrap : no socket interface found",
        "NCCL INFO NCCL_SOCKET_IFNAME set by environment to eth0",
    ),
    "gloo-interface": (
        "RuntimeError: Unable to find address for: eth7",
        "gloo uses eth0",
    ),
    "nccl-watchdog": (
        "[Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=14, "
        "OpType=ALLREDUCE, NumelIn=1, Timeout(ms)=600000) ran for 600029 milliseconds",
        "the watchdog is enabled",
    ),
    "nccl-remote": (
        "torch.distributed.DistBackendError: NCCL error in: NCCLUtils.hpp:268, remote process "
        "exited or there was a network error, NCCL version 2.21.5",
        "the remote process is ready",
    ),
    "nccl-system": (
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1970, unhandled "
        "system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.20.5",
        "a system error was handled",
    ),
    "nccl-cuda": (
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1970, unhandled "
        "cuda error (run with NCCL_DEBUG=INFO for details), NCCL version 2.20.5",
        "a CUDA error was handled",
    ),
    "nccl-duplicate-gpu": (
        "ncclInvalidUsage: Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000",
        "duplicate key detected",
    ),
    "infiniband": (
        "NCCL WARN Call to ibv_modify_qp failed with error Connection timed out",
        "ibv_devinfo lists mlx5_0",
    ),
    "collective-mismatch": (
        "RuntimeError: Detected mismatch between collectives on ranks. Rank 0 is running "
        "collective: ALLREDUCE",
        "no mismatch between ranks",
    ),
    "unused-parameters": (
        "RuntimeError: Expected to have finished reduction in the prior iteration before starting "
        "a new one.",
        "finished reduction of iteration 3",
    ),
    "rendezvous-timeout": (
        "torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while "
        "trying to connect to (10.0.0.1, 29500).",
        "the socket has data",
    ),
    "address-in-use": (
        "RuntimeError: The server socket has failed to listen on any local network address. port: "
        "29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use",
        "address is in use by design",
    ),
    "connection-refused": (
        "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:799] connect "
        "[127.0.1.1]:4711: Connection refused",
        "the offer was refused",
    ),
    "peer-gone": (
        "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection "
        "closed by peer [127.0.0.1]:58054",
        "connection closed",
    ),
    "hub-auth": (
        "huggingface_hub.errors.GatedRepoError: 401 Client Error. Cannot access gated repo for url "
        "https://huggingface.co/meta-llama/Llama-3-8B",
        "the repo is open to all",
    ),
    "unauthorized": (
        "requests.exceptions.HTTPError: 403 Client Error: Forbidden for url: https://data.example",
        "sample 403 of 999",
    ),
    "offline": (
        "urllib3.exceptions.NameResolutionError: Failed to resolve 'huggingface.co' ([Errno -3] "
        "Temporary failure in name resolution)",
        "name resolution took 3 ms",
    ),
    "not-finite": (
        "ValueError: loss is nan at step 1200, stopping",
        "loss is near 0.3, banana",
    ),
    "shapes": (
        "RuntimeError: Error(s) in loading state_dict for GPT:",
        "loading state_dict for GPT",
    ),
    "segfault": ("killed by SIGSEGV", "the segment was faulty"),
    "aborted": ("killed by SIGABRT", "the run was aborted by ada"),
    "killed": ("killed by SIGKILL", "SIGKILL was not needed"),
}  # fmt: skip


def test_every_rule_has_a_sample_and_a_name_of_its_own() -> None:
    names = [rule.name for rule in builtin()]
    assert len(names) == len(set(names))
    assert set(names) == set(SAMPLES)


def found(text: str) -> str:
    """The name of the first built-in rule that matches, "" for none."""
    return next((rule.name for rule in builtin() if re.search(rule.pattern, text)), "")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_rule_explains_its_sample_and_no_other_rule_comes_before_it(name: str) -> None:
    assert found(SAMPLES[name][0]) == name


@pytest.mark.parametrize("name", SAMPLES)
def test_a_rule_does_not_explain_what_only_looks_alike(name: str) -> None:
    assert found(SAMPLES[name][1]) != name


@pytest.mark.parametrize("name", SAMPLES)
def test_a_label_and_a_hint_are_whole_sentences_without_holes(name: str) -> None:
    match = Rules().find(SAMPLES[name][0], ())
    assert match is not None
    assert match.label and match.hint
    for text in (match.label, match.hint):
        assert "{" not in text and "()" not in text and "  " not in text
        assert text == text.strip()


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("ModuleNotFoundError: No module named 'apex'", "Python module apex is missing"),
        ("/usr/bin/python3: No module named nanotron.run", "Python module nanotron.run is missing"),
        (
            "RuntimeError: DataLoader worker (pid 17) is killed by signal: Killed.",
            "a DataLoader worker died (Killed)",
        ),
        (
            "RuntimeError: DataLoader worker (pid(s) 17) exited unexpectedly",
            "a DataLoader worker died",
        ),
        (
            "PermissionError: [Errno 13] Permission denied: '/data/run'",
            "permission denied /data/run",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: 'a.bin'",
            "file not found a.bin",
        ),
        ("killed by the kernel: out of memory (the cgroup counts 1 OOM kill)",
         "host out of memory"),
    ],
)  # fmt: skip
def test_what_was_found_is_named(text: str, label: str) -> None:
    match = Rules().find(text, ())
    assert match is not None and match.label == label


# -- the order ---------------------------------------------------------------------------------


def user(pattern: str, cause: str = "mine", hint: str = "") -> Rule:
    return Rule(name="mine", pattern=pattern, cause=cause, hint=hint)


def test_the_message_is_looked_at_before_the_last_lines() -> None:
    match = Rules().find("ValueError: loss is nan", ("warning: Broken pipe", "CUDA out of memory"))
    assert match is not None and "not finite" in match.label


def test_the_last_lines_explain_what_the_message_does_not() -> None:
    match = Rules().find("exited with code 1", ("x", "OSError: [Errno 28] No space left on device"))
    assert match is not None and match.label == "disk full"


def test_rules_of_the_user_come_first_in_the_last_lines_too() -> None:
    match = Rules([user("shard 7")]).find("CUDA out of memory", ("reading shard 7",))
    assert match is not None and match.label == "mine"


def test_the_exception_is_part_of_what_is_searched() -> None:
    cause = Cause(kind="exit", exception="MyError", message="oops")
    explained = Rules([user(r"^MyError: (o+)", "{1} by {0}", "see {2}{9}")]).explain(cause)
    assert (explained.label, explained.hint) == ("oo by MyError: oo", "see")


def test_nothing_known_is_left_unexplained() -> None:
    cause = Cause(kind="exit", message="RuntimeError: boom")
    assert Rules().explain(cause) is cause


def test_groups_from_a_node_cannot_make_a_label_long_or_dirty() -> None:
    rules = Rules([user("(?s)(.*)", "{1}", "{1}")])
    match = rules.find("x\x1b[2J\n" * 1000, ())
    assert match is not None
    assert (len(match.label) <= MAX_LABEL, len(match.hint) <= MAX_HINT) == (True, True)
    assert match.label.isprintable()


def test_a_pattern_that_is_no_expression_is_named() -> None:
    with pytest.raises(UsageError, match="rule mine"):
        Rules([user("(")])


def test_a_pattern_that_could_stop_the_controller_is_named_and_refused() -> None:
    with pytest.raises(UsageError, match=r"rule mine: .*may take for ever") as caught:
        Rules([user(r"(\w+\s?)+: fatal")])
    assert caught.value.hint


def test_lines_are_searched_one_by_one_as_far_as_a_line_is_looked_at() -> None:
    rules = Rules([user(r"^bad\s+end$")])
    assert rules.find("first\nbad end\nlast", ()) is not None
    assert rules.find("bad\nend", ("bad", "end")) is None
    assert Rules([user("end")]).find("x" * 400 + "end", ("x" * 400 + "end",)) is None
    assert Rules([user("end")]).find("x" * 397 + "end", ()) is not None


def test_the_first_lines_of_a_message_and_the_last_of_stderr_are_searched() -> None:
    rules, many = Rules([user("end")]), ["x"] * 19
    assert rules.find("\n".join([*many, "end"]), ()) is not None
    assert rules.find("\n".join([*many, "x", "end"]), ()) is None
    assert rules.find("", ("end", *many)) is not None
    assert rules.find("", ("end", *many, "x")) is None


# -- cost ---------------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [" ", "a", "'", '"', ":", "(", ")", "0, ", "\n", "`", "nan", "loss", "Xid (", ".so", "x.y",
     "[Errno ", "DataLoader worker (pid(s) ", "No module named ", "Watchdog caught collective "]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(_PIECES, min_size=1, max_size=6), st.sampled_from([10_000]))
def test_no_text_makes_the_rules_slow(pieces: list[str], length: int) -> None:
    unit = "".join(pieces)
    text = (unit * (length // len(unit) + 1))[:length]
    begin = time.process_time()
    Rules().find(text, (text,))
    # Backtracking without bounds would take minutes; 4 ms is usual.
    assert time.process_time() - begin < 2.0


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300), st.lists(st.text(max_size=100), max_size=5))
def test_no_words_whatever_break_the_rules(head: str, tail: list[str]) -> None:
    Rules().explain(Cause(kind="exit", message=head, tail=tuple(tail)))
