"""The Profiles view: files that say what clusters, launchers and jobs there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cockpit.tui.actions.base import Action, Context, View, Words, on


class ProfilesDo(Protocol):
    """What actions may ask of the Profiles view: what its cursor is on."""

    @property
    def section(self) -> str:
        """ "clusters", "keys", …"""

    @property
    def profile(self) -> str:
        """Its name, "" on a heading and on a table without a name."""

    @property
    def key(self) -> str:
        """Of the value under the cursor, "" where the cursor is in the tree."""


class KeeperDo(Protocol):
    """The keeper of the files, who asks before it writes. All of it returns at once."""

    @property
    def names(self) -> Sequence[str]:
        """All that `go` takes."""

    @property
    def clusters(self) -> Sequence[str]: ...
    def go(self, name: str) -> None:
        """Show the profile called so. Raises UsageError."""

    def reload(self) -> None: ...
    def new(self, section: str) -> None: ...
    def edit(self, section: str, name: str, key: str = "") -> None: ...
    def duplicate(self, section: str, name: str) -> None: ...
    def delete(self, section: str, name: str, key: str = "") -> None: ...
    def why_not_delete(self, section: str, name: str, key: str = "") -> str:
        """Why there is nothing to delete, "" when there is."""

    def open_editor(self, section: str, name: str, key: str = "") -> None: ...
    def test(self, cluster: str) -> None:
        """Raises UsageError for an unknown cluster."""

    def trust(self, cluster: str) -> None:
        """Raises UsageError for an unknown cluster."""


_HERE = frozenset((View.PROFILES,))


def _can(context: Context) -> str | None:
    return context.missing("profiles") or None


def _on_profile(context: Context) -> str | None:
    here = context.profiles
    if here is None:
        return "go to the profiles first"
    if not here.profile:
        return "no profile is selected"
    return _can(context)


def _can_edit(context: Context) -> str | None:
    here = context.profiles
    if here is not None and not here.profile and here.section not in ("screen", "notify", "keys"):
        return "no profile is selected"
    if here is not None and here.section == "keys" and not here.key:
        return "no action is selected"
    return _can(context)


def _can_delete(context: Context) -> str | None:
    here = context.profiles
    if here is None:
        return "go to the profiles first"
    why = context.keeper.why_not_delete(here.section, here.profile, here.key)
    return _can(context) or why or None


def _on_cluster(context: Context) -> str | None:
    here = context.profiles
    if here is None or here.section != "clusters" or not here.profile:
        return "no cluster is selected"
    return _can(context)


_on_profiles = on(lambda c: (c.keeper, c.profiles) if c.profiles is not None else None)


def _with(do: Callable[[KeeperDo, ProfilesDo], None]) -> Callable[[Context], None]:
    """An action of the keeper, on what the view's cursor is on."""
    return _on_profiles(lambda both: do(*both))


def _here(context: Context) -> str:
    """The cluster under the cursor."""
    here = context.profiles
    return here.profile if here is not None and here.section == "clusters" else ""


def _clusters(context: Context) -> Sequence[str]:
    return context.keeper.clusters


ACTIONS: tuple[Action, ...] = (
    Action(
        "profile.new",
        "A new profile…",
        ("a",),
        _with(lambda keeper, here: keeper.new(here.section)),
        views=_HERE,
        footer="add",
        writes=True,
        about_cluster=False,
        enabled=_can,
    ),
    Action(
        "profile.edit",
        "Edit in a form",
        ("i",),
        _with(lambda keeper, here: keeper.edit(here.section, here.profile, here.key)),
        views=_HERE,
        writes=True,
        about_cluster=False,
        enabled=_can_edit,
    ),
    Action(
        "profile.duplicate",
        "Duplicate the profile…",
        ("c",),
        _with(lambda keeper, here: keeper.duplicate(here.section, here.profile)),
        views=_HERE,
        footer="copy",
        writes=True,
        about_cluster=False,
        enabled=_on_profile,
    ),
    Action(
        "profile.delete",
        "Delete the profile, or the value…",
        ("x", "delete"),
        _with(lambda keeper, here: keeper.delete(here.section, here.profile, here.key)),
        views=_HERE,
        footer="delete…",
        writes=True,
        about_cluster=False,
        dangerous=True,
        enabled=_can_delete,
    ),
    Action(
        "profile.editor",
        "Open the file in $EDITOR, at this line",
        ("e",),
        _with(lambda keeper, here: keeper.open_editor(here.section, here.profile, here.key)),
        views=_HERE,
        footer="editor",
        writes=True,
        about_cluster=False,
        enabled=_can,
    ),
    Action(
        "profile.test",
        "Connect test of the cluster",
        ("D",),
        _with(lambda keeper, here: keeper.test(here.profile)),
        views=_HERE,
        footer="test",
        enabled=_on_cluster,
        words=Words(
            ("test",), "CLUSTER", lambda c, name: c.keeper.test(name or _here(c)), _clusters
        ),
    ),
    Action(
        "profile.trust",
        "Trust: the host keys of the cluster…",
        ("K",),
        _with(lambda keeper, here: keeper.trust(here.profile)),
        views=_HERE,
        footer="trust…",
        writes=True,
        about_cluster=False,
        enabled=_on_cluster,
        words=Words(
            ("trust",), "CLUSTER", lambda c, name: c.keeper.trust(name or _here(c)), _clusters
        ),
    ),
    Action(
        "profile.reload",
        "Read the files again",
        ("ctrl+r",),
        lambda context: context.keeper.reload(),
        views=_HERE,
        enabled=_can,
        words=Words(("reload",)),
    ),
)
