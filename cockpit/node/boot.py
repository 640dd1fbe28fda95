"""Second stage of the bootstrap: brings the runtime in place where `entry` did not find it ready.

`cockpit.transport.bootstrap` sends this file's text, `entry` calls `main` with the settings. It
answers with one line `NONCE {...}` on stdout: need (it waits for the runtime), or an error for
people. It must parse on Python 3.6, so that an old Python can say that it is too old: hence no
`from __future__ import annotations`, no f-string tricks and no typing. It never lets anything be
imported that it has not verified.
"""

import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OLDEST = (3, 9)
LARGEST_RUNTIME = 64 * 1024 * 1024

_PLACES = {
    errno.ENOSPC: "no space is left there",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ENOTDIR: "a part of the path is not a folder",
    errno.EEXIST: "it is not a folder",
    errno.ESTALE: "the network file system does not answer properly",
    errno.EIO: "the disk reports an error",
}


class Refusal(Exception):
    """Why this node cannot run the agent; `code` is for the controller."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def read_exactly(size: int) -> bytes:
    """`size` bytes of stdin, and not one more: what follows belongs to the agent."""
    parts = []
    while size > 0:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            raise SystemExit(1)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def say(nonce: str, answer: "Mapping[str, object]") -> None:
    """One answer line. It starts on a line of its own, whatever a shell has printed before."""
    import json

    data = ("\n" + nonce + " " + json.dumps(answer) + "\n").encode()
    while data:
        data = data[os.write(1, data) :]


def expand(state_dir: str) -> str:
    """`state_dir` as an absolute path of this node, with `~` and `~user` replaced."""
    path = os.path.expanduser(state_dir)
    if not os.path.isabs(path):
        raise Refusal(
            "state_dir",
            "state_dir " + repr(state_dir) + " is not an absolute path on this node",
            "give an absolute path, or one that starts with ~/",
        )
    return os.path.normpath(path)


def claim_state_dir(path: str) -> None:
    """Make the folder, or check that the one that is there belongs to us alone."""
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        status = os.stat(path)
    except OSError as error:
        raise cannot_write(path, error) from None
    if status.st_uid != os.geteuid():
        raise Refusal(
            "state_dir",
            f"state_dir {path} belongs to user id {status.st_uid}, not to {os.geteuid()}",
            "set `state_dir` in the profile to a folder of your own",
        )
    if status.st_mode & 0o022:
        raise Refusal(
            "state_dir",
            "state_dir " + path + " can be written by other users",
            "chmod go-w " + path,
        )


def cannot_write(path: str, error: OSError) -> Refusal:
    """The refusal for an OSError met while writing below `path`."""
    why = _PLACES.get(error.errno or 0, str(error.strerror or error))
    hint = "set `state_dir` in the profile to a folder of this node that can be written"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space, or set `state_dir` in the profile to another folder"
    return Refusal("state_dir", "cannot write below " + path + ": " + why, hint)


def digest_of(files: "dict[str, bytes]") -> str:
    """As `cockpit.transport.runtime.digest_of`."""
    # The interpreter's own module imports in a fraction of hashlib's time.
    for module in ("_sha2", "_sha256", "hashlib"):
        try:
            digest = __import__(module).sha256()
            break
        except ImportError:
            continue
    for path in sorted(files):
        data = files[path]
        digest.update(f"{path}\0{len(data)}\0".encode())
        digest.update(data)
    return str(digest.hexdigest())


def read_runtime(folder: str) -> "dict[str, bytes]":
    """Every module below `folder`; bytecode and notes are left out. Empty without a folder."""
    files = {}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            entries = list(os.scandir(os.path.join(folder, below)))
        except OSError:
            continue
        for entry in entries:
            name = below + entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    waiting.append(name + "/")
                continue
            if entry.name.startswith("."):
                continue
            try:
                with open(entry.path, "rb") as file:
                    files[name] = file.read()
            except OSError:
                files[name] = b""
    return files


def is_whole(folder: str, digest: str) -> bool:
    """Whether `folder` holds the runtime `digest`, byte for byte."""
    return digest_of(read_runtime(folder)) == digest


def check(folder: str, digest: str, listing: "Callable[[str], str]", note: str) -> bool:
    """As `is_whole`. If so, what `listing` says of the folder goes into its file `note`.

    The next start then need not hash again, which would take it a fifth longer.
    """
    try:
        found = listing(folder)
    except OSError:
        found = ""
    if not is_whole(folder, digest):
        return False
    path = os.path.join(folder, note)
    fresh = path + "-" + str(os.getpid())
    try:
        with open(fresh, "w") as file:
            file.write(found)
        os.replace(fresh, path)
    except OSError:
        pass  # a full or read-only disk: the next start hashes again
    return True


def unpack(payload: bytes) -> "dict[str, bytes]":
    """The files of a runtime's payload. Refuses paths that would leave its folder."""
    import json
    import zlib

    try:
        texts = json.loads(zlib.decompress(payload).decode())
        files = {str(path): text.encode() for path, text in texts.items()}
    except (ValueError, AttributeError, zlib.error) as error:
        raise Refusal("runtime", "the node runtime arrived damaged: " + repr(error)) from None
    for path in files:
        if not {"", "..", "."}.isdisjoint(path.split("/")):
            raise Refusal("runtime", "the node runtime holds the path " + repr(path))
    return files


def install(files: "dict[str, bytes]", parent: str, digest: str, nonce: str) -> None:
    """Write `files` to parent/digest: complete at once, or not at all."""
    import shutil

    final = os.path.join(parent, digest)
    fresh = os.path.join(parent, "new-" + nonce)
    stale = os.path.join(parent, "old-" + nonce)
    try:
        os.makedirs(fresh, 0o700)
        for path in sorted(files):
            target = os.path.join(fresh, path)
            os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
            with open(target, "wb") as file:
                file.write(files[path])
                file.flush()
                os.fsync(file.fileno())
        for _ in range(3):
            try:
                os.rename(fresh, final)
                return
            except OSError:
                # Another controller was faster, or what lies there is damaged.
                if is_whole(final, digest):
                    return
                os.rename(final, stale)
                shutil.rmtree(stale, ignore_errors=True)
    except OSError as error:
        raise cannot_write(parent, error) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    raise Refusal("runtime", "the folder " + final + " cannot be replaced")


def prepare(
    settings: "dict[str, str]", listing: "Callable[[str], str]", note: str
) -> "tuple[str, str]":
    """Bring the runtime in place. Returns (absolute state_dir, folder of the runtime)."""
    nonce, digest = settings["nonce"], settings["digest"]
    size = int(settings["size"])
    if sys.version_info[:2] < OLDEST:
        raise Refusal(
            "python_too_old",
            "Python " + sys.version.split()[0] + " is too old, 3.9 is needed",
            "set `python` in the profile to a Python 3.9 or newer",
        )
    state_dir = expand(settings["state_dir"])
    claim_state_dir(state_dir)
    parent = os.path.join(state_dir, "runtime")
    folder = os.path.join(parent, digest)
    if check(folder, digest, listing, note):
        return state_dir, folder
    if not 0 < size <= LARGEST_RUNTIME:
        raise Refusal("runtime", f"the node runtime announces {size} bytes")
    say(nonce, {"need": True})
    files = unpack(read_exactly(size))
    if digest_of(files) != digest:
        raise Refusal("runtime", "the node runtime arrived damaged: its digest is wrong")
    install(files, parent, digest, nonce)
    if not check(folder, digest, listing, note):
        raise Refusal("runtime", "the node runtime in " + folder + " does not read back as written")
    return state_dir, folder


def main(
    settings: "dict[str, str]", listing: "Callable[[str], str]", note: str
) -> "tuple[str, str]":
    """As `prepare`; or say why not and end with status 1."""
    try:
        return prepare(settings, listing, note)
    except Refusal as refusal:
        answer = {"error": refusal.code, "message": refusal.message, "hint": refusal.hint}
        say(settings["nonce"], answer)
        raise SystemExit(1) from None
