"""A job's own copy of its code, made once and whole.

The code store is shared by jobs and never written to by them; ranks run in this copy. Used when
an agent prepares an attempt. Never follows a link.
"""

from __future__ import annotations

import os

from cockpit.node import durable


def copy_once(source: str, target: str) -> None:
    """Copy the folder `source` to `target` unless that exists; links stay links, modes stay.

    `target` appears in one step, whoever else copies at the same time. Raises OSError.
    """
    import shutil  # loads slowly, and only a first attempt copies

    if os.path.isdir(target):
        return
    durable.make_folder(os.path.dirname(target))
    temporary = durable.temporary_name(target)
    try:
        try:
            shutil.copytree(source, temporary, symlinks=True)
        except shutil.Error as error:
            # One (source, copy, reason) per file; the first says what is wrong.
            _, copy, reason = error.args[0][0]
            raise OSError(0, str(reason), copy) from None
        try:
            os.rename(temporary, target)
        except OSError:
            if not os.path.isdir(target):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
