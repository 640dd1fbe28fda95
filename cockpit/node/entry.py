"""First stage of the bootstrap after the interpreter's start: is the runtime there, unchanged?

`cockpit.transport.bootstrap` sends this file's text, which every start of an agent has to compile,
so it is short. If `boot` has checked the runtime and nothing in it has changed since, it becomes
`cockpit.node.agent.agent` at once; in all other cases it runs the text of `boot`, which was sent
along, to find out why and what to do. It must parse on Python 3.6, as `boot` does.
"""

import os
import sys

CHECKED = ".checked"
"""In a runtime's folder: what `listing` said when its digest was last found to be right."""


def listing(folder: str) -> str:
    """Size and times of every module below `folder`; another text once any has changed."""
    lines = []
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            if not name.startswith("."):
                status = os.stat(os.path.join(path, name))
                times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
                lines.append(f"{path[len(folder) :]}/{name} {status.st_size} {times}")
    return "\n".join(lines)


def is_unchanged(state_dir: str, folder: str) -> bool:
    """Whether the runtime in `folder` may be run as it is. Raises OSError, ValueError if not."""
    status = os.stat(state_dir)
    private = status.st_uid == os.geteuid() and not status.st_mode & 0o022
    with open(os.path.join(folder, CHECKED)) as note:
        return private and sys.version_info >= (3, 9) and note.read() == listing(folder)


def main(settings: "dict[str, str]", boot: bytes) -> None:
    """Become the agent, by way of `boot` if needed; never returns."""
    os.umask(0o077)
    state_dir = os.path.normpath(os.path.expanduser(settings["state_dir"]))
    folder = os.path.join(state_dir, "runtime", settings["digest"])
    try:
        ready = os.path.isabs(state_dir) and is_unchanged(state_dir, folder)
    except (OSError, ValueError):
        ready = False
    if not ready:
        names = {}  # type: dict[str, object]
        exec(compile(boot, "<cockpit boot>", "exec"), names)  # noqa: S102 - it came as we came
        state_dir, folder = names["main"](settings, listing, CHECKED)  # type: ignore[operator]
    sys.path.insert(0, folder)
    from cockpit.node.agent import agent

    os.write(1, ("\n" + settings["nonce"] + ' {"ready": true}\n').encode())
    code = agent.main(state_dir, settings["digest"])
    sys.stderr.flush()
    # Nothing is left to tidy up; the way out of Python would compete with the next agent's start.
    os._exit(code)
