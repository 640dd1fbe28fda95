"""Starts one rank: `worker.py script.py args…` or `worker.py -m module args…`, instead of `python`.

torchrun runs this file where it would have run the user's script. It ties the rank's life to the
launcher process, has it beat (`instrument`, where that is asked for), and leaves what ended the
rank (exception or exit code, with a precise time) in the file that torch names; then the script
runs as `python script.py` would run it: same `__main__`, `sys.argv`, `sys.path`, traceback and
exit code. It imports nothing of cockpit and nothing of torch, so that whatever the user calls
`cockpit` or `torch` stays the user's.
"""

from __future__ import annotations

import builtins
import os
import signal
import sys
import time
from importlib import machinery
from types import ModuleType, TracebackType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The same words as in `cockpit.protocol.layout`, which is not imported here (see above).
LAUNCHER_PID_ENV = "COCKPIT_LAUNCHER_PID"
SLOTS_ENV = "COCKPIT_SLOTS"
ERROR_FILE_ENV = "TORCHELASTIC_ERROR_FILE"

MAX_MESSAGE = 1000
"""Characters of the one line that says what went wrong."""
MAX_TEXT = 64 * 1024
"""Characters of an exception's text, and of its traceback, that are kept in the error file."""

ENDED = 8
"""Flag of `slot`: the script and its threads came to their end."""

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Never returns to anything of ours: the script's end is the interpreter's end."""
    arguments = sys.argv[1:]
    if not arguments or arguments == ["-m"]:
        say("usage: worker.py SCRIPT [ARGS…] | worker.py -m MODULE [ARGS…]")
        sys.exit(2)
    die_with_launcher()
    slot = instrument()
    rank = os.getpid()
    try:
        if arguments[0] == "-m":
            run_module(arguments[1:])
        else:
            run_script(arguments)
    except BaseException as error:
        # A child that the script forked unwinds through here as well; it is not the rank.
        if os.getpid() == rank:
            leave_record(error)
        if isinstance(error, SystemExit) and exit_status(error.code) == 0:
            end(slot)
        hide_own_frames(error)
        raise
    end(slot)


def end(slot: Any) -> None:
    """Mark the rank as ended, once the threads that its script left running are done as well.

    The interpreter waits for them and calls what `atexit` knows then, the newest first: ours comes
    before whatever the script has registered, which may take its time to tidy up.
    """
    if slot is not None:
        import atexit

        atexit.register(slot.add_flags, ENDED)


def die_with_launcher() -> None:
    """Have the kernel send SIGKILL when the launcher process dies, which would not notice itself.

    The parent may have died before the kernel was asked; then this process ends likewise. The
    variable is taken out of the environment: what the script starts has another parent.
    """
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    launcher = os.environ.pop(LAUNCHER_PID_ENV, "")
    if launcher and os.getppid() != int(launcher):
        os.kill(os.getpid(), signal.SIGKILL)


def instrument() -> Any:
    """The rank's heartbeat slot, or None: not wanted, or not to be had, which is said."""
    if SLOTS_ENV not in os.environ:
        return None
    name = "_cockpit_instrument"
    path = os.path.join(os.path.dirname(os.path.realpath(__file__)), "instrument.py")
    module = ModuleType(name)
    module.__file__ = path
    try:
        machinery.SourceFileLoader(name, path).exec_module(module)
        return module.instrument()
    except Exception as problem:  # noqa: BLE001 - a rank without beats trains as well
        say(f"cockpit: no heartbeats: {problem!r}")
        return None


def run_script(arguments: list[str]) -> None:
    """Do what `python script.py args…` does; a folder or zip with `__main__.py` works too."""
    import pkgutil

    script = arguments[0]
    sys.argv[:] = arguments
    if pkgutil.get_importer(script) is not None:
        import runpy

        replace_own_folder(absolute(script))
        become_main(__file__)
        runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]  # noqa: SLF001
        return
    replace_own_folder(os.path.dirname(os.path.realpath(script)))
    path = absolute(script)
    namespace = become_main(path)
    exec(load(script, path), namespace)  # noqa: S102 - running the user's script is the purpose


def run_module(arguments: list[str]) -> None:
    """Do what `python -m module args…` does, by the very function that it uses."""
    import runpy

    sys.argv[:] = ["-m", *arguments[1:]]
    replace_own_folder(os.getcwd())
    become_main(__file__)
    runpy._run_module_as_main(arguments[0])  # type: ignore[attr-defined]  # noqa: SLF001


def replace_own_folder(folder: str) -> None:
    """Put `folder` where Python put this file's own, and the runtime at the end of `sys.path`.

    With PYTHONSAFEPATH Python puts no folder in front, so none is put there for the script.
    """
    own = os.path.dirname(os.path.realpath(__file__))
    if sys.path and os.path.realpath(sys.path[0]) == own:
        sys.path[0] = folder
    runtime = os.path.dirname(os.path.dirname(os.path.dirname(own)))
    if runtime not in sys.path:
        sys.path.append(runtime)


def become_main(path: str) -> dict[str, Any]:
    """Replace this module by an empty `__main__` for the file `path`; return its namespace.

    Child processes of `multiprocessing` and pickles find the script there, never this file.
    """
    module = ModuleType("__main__")
    # What Python itself gave to the main module, in this version's way.
    given = {name: value for name, value in globals().items() if name in _GIVEN}
    module.__dict__.update(given)
    module.__dict__.update(
        __doc__=None,
        __annotations__={},
        __builtins__=builtins,
        __file__=path,
        __loader__=machinery.SourceFileLoader("__main__", path),
    )
    sys.modules["__main__"] = module
    return module.__dict__


_GIVEN = frozenset(("__name__", "__package__", "__spec__", "__cached__"))


def absolute(script: str) -> str:
    """`script` as `__file__` has it: Python joins it to the working directory and no more."""
    return os.path.join(os.getcwd(), script)


def load(script: str, path: str) -> Any:
    """The code of a script, source or compiled. A missing file ends the rank as `python` does."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        why = f"[Errno {error.errno}] {error.strerror}"
        say(f"{sys.executable}: can't open file {path!r}: {why}")
        raise SystemExit(2) from error
    if script.endswith(".pyc"):
        return machinery.SourcelessFileLoader("__main__", path).get_code("__main__")
    return compile(data, path, "exec", dont_inherit=True)


def hide_own_frames(error: BaseException) -> None:
    """Let the interpreter print the traceback without this file's frames.

    The interpreter prints through `sys.excepthook`, so the script's own hook, if there is one,
    is called as ever; ours lasts for that one call.
    """
    hook = sys.excepthook

    def show(
        kind: type[BaseException], value: BaseException, traceback: TracebackType | None
    ) -> None:
        sys.excepthook = hook
        if value is error:
            traceback = users_part(traceback)
            value.__traceback__ = traceback
        hook(kind, value, traceback)

    sys.excepthook = show


def users_part(traceback: TracebackType | None) -> TracebackType | None:
    """`traceback` from the first frame on that is not of this file."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    return traceback


def leave_record(error: BaseException) -> None:
    """Write what ended the rank to the file that torch reads, in torch's format, with ours beside.

    An exit with status 0 is no failure. A rank that cannot write ends no differently.
    """
    at, mono = time.time(), time.monotonic()
    path = os.environ.get(ERROR_FILE_ENV, "")
    if not path:
        return
    try:
        record = describe(error)
        if record is None:
            return
        record["cockpit"].update(at=at, mono=mono)
        record["message"]["extraInfo"]["timestamp"] = str(int(at))
        write(path, merge(path, record))
    except Exception as problem:  # noqa: BLE001 - a record must never stand in for the failure
        say(f"cockpit: cannot record the failure in {path}: {problem!r}")


def describe(error: BaseException) -> dict[str, Any] | None:
    """The record of `error` without times, or None when it is an exit with status 0."""
    import traceback as tracebacks

    kind = type(error).__name__
    status = 1
    if isinstance(error, SystemExit):
        status = exit_status(error.code)
        if status == 0:
            return None
        full = f"exit code {status}"
        if error.code is not None and not isinstance(error.code, int):
            full = text(error.code)
        elif error.__cause__ is not None:
            full = f"{full}: {text(error.__cause__)}"
        line = first_line(full) or f"exit code {status}"
    else:
        full = f"{kind}: {text(error)}"
        lines = tracebacks.format_exception_only(type(error), error)
        # For a syntax error the last one; the lines before show the place.
        summary = lines[-1] if isinstance(error, SyntaxError) else "".join(lines)
        line = first_line(summary) or kind
    callstack = "".join(
        tracebacks.format_exception(type(error), error, users_part(error.__traceback__))
    )
    return {
        "message": {
            "message": full[:MAX_TEXT],
            "extraInfo": {"py_callstack": callstack[-MAX_TEXT:]},
        },
        "cockpit": {"type": kind, "message": line[:MAX_MESSAGE], "status": status},
    }


def exit_status(code: Any) -> int:
    """The status that the process ends with after `sys.exit(code)`."""
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


def text(value: Any) -> str:
    try:
        return str(value)
    except Exception as problem:  # noqa: BLE001 - the user's __str__ may do anything
        return f"<{type(value).__name__} whose str() raised {type(problem).__name__}>"


def first_line(several: str) -> str:
    return next((line.strip() for line in several.splitlines() if line.strip()), "")


def merge(path: str, record: dict[str, Any]) -> dict[str, Any]:
    """`record`, or what torch's own @record has just left in `path` with our part added to it."""
    import json

    try:
        with open(path, encoding="utf-8") as file:
            theirs = json.load(file)
        theirs["message"]["extraInfo"]["timestamp"]
    except (OSError, ValueError, KeyError, TypeError):
        return record
    return {**theirs, "cockpit": record["cockpit"]}


def write(path: str, record: dict[str, Any]) -> None:
    """Whole or not at all: the launcher process may read at any moment."""
    import json

    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(record, file)
    os.replace(temporary, path)


def say(line: str) -> None:
    """To the rank's log, where there is one."""
    try:
        sys.stderr.write(line + "\n")
    except Exception:  # noqa: BLE001 - None, closed or broken: then nobody is told
        return


if __name__ == "__main__":
    main()
