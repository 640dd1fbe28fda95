"""Which operation answers which request. The table of `cockpit.protocol.messages`, as code.

Called by the agent for every request. Modules are imported when they are first asked for, so that
an agent starts fast and stays small.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cockpit.node.agent.streams import OneShot, Services, Stream
from cockpit.node.agent.workers import Probe
from cockpit.node.arguments import Arguments
from cockpit.node.failures import RequestFailedError

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from cockpit.node.agent.reach import Listeners
    from cockpit.node.agent.tails import Tails
    from cockpit.node.agent.telemetry import Sensors

    Json = dict[str, Any]
    S = TypeVar("S", bound=Stream)


def _registered(stream: S) -> S:
    stream.register()
    return stream


class Operations:
    """Starts operations, and keeps what they share on one connection."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tails: Tails | None = None
        self._sensors: Sensors | None = None
        self._jobs: Probe | None = None
        self._listeners: Listeners | None = None
        self._table: dict[str, Callable[[int, Arguments], None]] = {
            "clock": self._clock,
            "facts": self._facts,
            "jobs": self._list_jobs,
            "watch_jobs": self._watch_jobs,
            "follow": self._follow,
            "read": self._read,
            "list": self._list,
            "has_code": self._has_code,
            "get_code": self._get_code,
            "put_code": self._put_code,
            "free_port": self._free_port,
            "preflight": self._preflight,
            "listen": self._listen,
            "unlisten": self._unlisten,
            "reach": self._reach,
            "prepare": self._prepare,
            "command": self._command,
            "scan": self._scan,
            "stacks": self._stacks,
            "telemetry": self._telemetry,
            "exec": self._exec,
            "clean": self._clean,
        }

    def start(self, number: int, arguments: Arguments) -> None:
        """Begin to answer request `number`. Raises what the request is to be failed with."""
        operation = self._table.get(arguments.op)
        if operation is None:
            raise RequestFailedError(
                "unknown_op",
                f"the agent on {self._services.node.host} does not know {arguments.op!r}",
                "controller and node run different versions of cockpit; reconnect",
            )
        operation(number, arguments)

    def close(self) -> None:
        """End what would go on without a controller; takes a second at most."""
        if self._sensors is not None:
            self._sensors.close()

    @property
    def jobs_probe(self) -> Probe:
        """The scan of this node's jobs."""
        if self._jobs is None:
            from cockpit.node.agent.jobs import Scanner

            self._jobs = Probe(self._services.loop, Scanner(self._services.node).scan, "jobs")
        return self._jobs

    def _in_thread(self, number: int, work: Callable[[], Json], *, vital: bool = False) -> None:
        _registered(OneShot(self._services, number)).run(work, vital=vital)

    def _clock(self, number: int, _: Arguments) -> None:
        now = {"wall": time.time(), "mono": time.monotonic()}
        OneShot(self._services, number).reply_last(now)

    def _facts(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.checks import facts

        self._in_thread(number, lambda: facts.gather(self._services.node, arguments))

    def _list_jobs(self, number: int, _: Arguments) -> None:
        from cockpit.node.agent.jobs import Jobs

        _registered(Jobs(self._services, number)).start(self.jobs_probe)

    def _watch_jobs(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.agent.jobs import WatchJobs

        _registered(WatchJobs(self._services, number, arguments, self.jobs_probe)).start()

    def _follow(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.agent.follow import Follow
        from cockpit.node.agent.tails import Tails

        if self._tails is None:
            self._tails = Tails(self._services.loop)
        _registered(Follow(self._services, number, arguments, self._tails)).start()

    def _read(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.agent.files import Read

        _registered(Read(self._services, number, arguments)).start()

    def _list(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.agent import files

        self._in_thread(number, lambda: files.list_folder(self._services.node, arguments))

    def _has_code(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.agent import codestore

        answer = codestore.has_code(self._services.node, arguments)
        OneShot(self._services, number).reply_last(answer)

    def _get_code(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.agent.codefetch import GetCode

        _registered(GetCode(self._services, number, arguments)).start()

    def _put_code(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.agent.codestore import PutCode

        _registered(PutCode(self._services, number, arguments)).start()

    def _free_port(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.checks import ports

        self._in_thread(number, lambda: ports.free_port(self._services.node, arguments))

    def _preflight(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.checks import preflight

        self._in_thread(number, lambda: preflight.run(self._services.node, arguments))

    @property
    def _ports(self) -> Listeners:
        if self._listeners is None:
            from cockpit.node.agent.reach import Listeners

            self._listeners = Listeners(self._services)
        return self._listeners

    def _listen(self, number: int, arguments: Arguments) -> None:
        self._ports.listen(number, arguments)

    def _unlisten(self, number: int, arguments: Arguments) -> None:
        closed = self._ports.close(arguments.integer("port"))
        OneShot(self._services, number).reply_last({"closed": closed})

    def _reach(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.agent import reach

        self._in_thread(number, lambda: reach.reach(arguments))

    def _prepare(self, number: int, arguments: Arguments) -> None:
        job = arguments.mapping("job")
        record = arguments.mapping("record")
        secrets = arguments.text_mapping("secrets")
        node = self._services.node

        def prepare() -> Json:
            from cockpit.node.supervise import supervision

            return supervision.prepare(node.state_dir, node.runtime, job, record, secrets)

        self._in_thread(number, prepare, vital=True)

    def _command(self, number: int, arguments: Arguments) -> None:
        node = self._services.node

        def leave() -> Json:
            from cockpit.node.supervise import supervision

            return supervision.leave_command(node.state_dir, arguments.values)

        self._in_thread(number, leave, vital=True)

    def _scan(self, number: int, arguments: Arguments) -> None:
        prefix = arguments.job()
        for name in ("attempt", "node_rank"):
            part = arguments.optional_integer(name)
            if part is None:
                break
            prefix += f"/{part}"

        def scan() -> Json:
            from cockpit.node import processes

            return {"processes": processes.scan(prefix)}

        self._in_thread(number, scan)

    def _stacks(self, number: int, arguments: Arguments) -> None:
        from cockpit.protocol import layout

        job = arguments.job()
        attempt, node_rank = arguments.integer("attempt"), arguments.integer("node_rank")
        folder = self._services.node.resolve(layout.attempt_dir(job, attempt, node_rank))
        within = min(arguments.seconds("within", 2.0, least=0.1), 60.0)

        def take() -> Json:
            from cockpit.node.probing import stacks

            return stacks.take(folder, within)

        self._in_thread(number, take)

    def _telemetry(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.agent.telemetry import Sensors, Telemetry

        if self._sensors is None:
            self._sensors = Sensors(self._services)
        _registered(Telemetry(self._services, number, arguments, self._sensors)).start()

    def _exec(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.agent.execution import Execution

        _registered(Execution(self._services, number, arguments)).start()

    def _clean(self, number: int, arguments: Arguments) -> None:
        from cockpit.node.agent import cleaning

        self._in_thread(number, lambda: cleaning.clean(self._services.node, arguments), vital=True)
