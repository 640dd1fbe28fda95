"""What an intention led to, as the faces show it: frozen records, made by the controller."""

from __future__ import annotations

import msgspec

from cockpit.model.types import Leftover


class NodeProof(msgspec.Struct, frozen=True, kw_only=True):
    """What a cancel found on one node. All three empty: the node is proven free of the job."""

    name: str
    swept: tuple[Leftover, ...] = ()
    """Processes that outlived the one SIGTERM and had to be killed."""
    left: tuple[Leftover, ...] = ()
    """Processes of the job that are still there."""
    unreachable: str = ""
    """Why the node could not be asked; "" when it was."""
    mute: int | None = None
    """Pid of its supervisor, where that lives and has not obeyed."""

    @property
    def muteness(self) -> str:
        """That its supervisor does not obey, in words; "" where that is not so."""
        if self.mute is None:
            return ""
        return f"its supervisor (pid {self.mute}) does not answer"


class CancelReport(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of a cancel, node by node."""

    job: str
    nodes: tuple[NodeProof, ...]

    @property
    def proven(self) -> bool:
        """Every node was asked after the end, and none has a process of the job left."""
        return all(not node.left and not node.unreachable for node in self.nodes)

    @property
    def proof(self) -> str:
        """One line for people."""
        free = sum(1 for node in self.nodes if not node.left and not node.unreachable)
        swept = sum(len(node.swept) for node in self.nodes)
        text = f"nothing of it is left on {free} of {len(self.nodes)} nodes"
        if self.nodes and not free:
            text = "nowhere is it proven that nothing of it is left"
        if swept:
            text += f", {swept} processes had to be swept"
        for node in self.nodes:
            if node.left:
                pids = ", ".join(str(process.pid) for process in node.left)
                text += f"; {node.name} still has {pids}"
                text += f", {node.muteness}" if node.muteness else ""
            elif node.unreachable:
                text += f"; {node.name} could not be asked ({node.unreachable})"
        return text


class RestartOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the next attempt of a job shall differ from the last."""

    without: tuple[str, ...] = ()
    """Nodes of the last attempt that shall not take part."""
    spares: bool = False
    """Whether spare nodes of the cluster may take the place of nodes that do not take part."""
    checkpoint: bool = False
    """Ask the ranks for a checkpoint first, and wait for it."""
    checkpoint_timeout: float = 600.0
    """Seconds to wait for it; the job runs on where it does not come."""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the last attempt that has no part in the next."""

    name: str
    why: str
    unproven: str = ""
    """Why processes of the last attempt may still run there; "" where none does."""


class RestartReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a restart led to: an attempt that runs."""

    job: str
    attempt: int
    nodes: tuple[str, ...]
    """By node rank."""
    left_out: tuple[LeftOut, ...] = ()
    checkpoint: int | None = None
    """The step at which the ranks saved a checkpoint before; None where none was asked for."""
