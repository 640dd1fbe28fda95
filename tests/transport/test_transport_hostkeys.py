"""Looking up host keys as OpenSSH does; reading what a profile and an ssh_config say."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from cockpit.errors import LinkError
from cockpit.profiles.types import Cluster
from cockpit.transport import sshconfig
from cockpit.transport.hostkeys import KnownHosts, entry_name, fingerprint, key_name
from cockpit.transport.sshsettings import Hop, Settings, parse_hop
from tests.harness.sshd import make_key


def public(tmp_path: Path, name: str) -> str:
    return Path(f"{make_key(tmp_path / name)}.pub").read_text().rsplit(" ", 1)[0]


def known(tmp_path: Path, text: str) -> KnownHosts:
    file = tmp_path / "known_hosts"
    file.write_text(text)
    return KnownHosts([str(file), str(tmp_path / "missing")])


def test_a_host_is_found_by_name_and_by_name_with_port(tmp_path: Path) -> None:
    one, two = public(tmp_path, "one"), public(tmp_path, "two")
    hosts = known(tmp_path, f"gpu01 {one}\n[gpu01]:2222 {two}\n")
    assert len(hosts.match("gpu01", 22).keys) == 1
    assert hosts.match("gpu01", 22).keys != hosts.match("gpu01", 2222).keys
    assert hosts.match("gpu01", 2022).keys == hosts.match("gpu01", 22).keys
    assert hosts.match("gpu02", 22).keys == ()


def test_patterns_hashes_authorities_and_revocations_are_honoured(tmp_path: Path) -> None:
    key, ca, bad = (public(tmp_path, name) for name in ("key", "ca", "bad"))
    plain = tmp_path / "plain"
    plain.write_text(f"hidden {key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(plain)], check=True, capture_output=True)
    hosts = known(
        tmp_path,
        f"gpu*,!gpu09 {key}\n@cert-authority *.lab {ca}\n@revoked * {bad}\n" + plain.read_text(),
    )
    assert len(hosts.match("gpu01", 22).keys) == 1
    assert hosts.match("gpu09", 22).keys == ()
    assert len(hosts.match("hidden", 22).keys) == 1
    assert len(hosts.match("x.lab", 22).authorities) == 1
    assert len(hosts.match("anything", 22).revoked) == 1


def test_a_broken_line_spoils_no_other(tmp_path: Path) -> None:
    key = public(tmp_path, "key")
    hosts = known(tmp_path, f"@nonsense x y\n|1|bad\n\xff\xfe\ngpu01\ngpu01 {key}\n@bad\n")
    assert len(hosts.match("gpu01", 22).keys) == 1
    assert hosts.files == [str(tmp_path / "known_hosts")]


def test_known_key_types_are_asked_for_first_and_certificates_only_with_an_authority(
    tmp_path: Path,
) -> None:
    rsa = tmp_path / "rsa"
    command = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(rsa)]
    subprocess.run(command, check=True)
    key = Path(f"{rsa}.pub").read_text().rsplit(" ", 1)[0]
    algorithms = known(tmp_path, f"gpu01 {key}\n").match("gpu01", 22).algorithms()
    assert algorithms[0].startswith("rsa-sha2")
    assert "ssh-ed25519" in algorithms
    assert not any("cert" in name for name in algorithms)
    algorithms = known(tmp_path, f"@cert-authority * {key}\n").match("x", 22).algorithms()
    assert "cert" in algorithms[0]


def test_names_and_fingerprints_are_those_of_openssh(tmp_path: Path) -> None:
    key = known(tmp_path, f"h {public(tmp_path, 'key')}\n").match("h", 22).keys[0]
    command = ["ssh-keygen", "-l", "-f", str(tmp_path / "key.pub")]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert fingerprint(key) in shown
    assert key_name("GPU01.Lab") == "gpu01.lab"
    assert key_name("GPU01.Lab", "Alias") == "Alias"
    assert entry_name("h", 22) == "h"
    assert entry_name("h", 2222) == "[h]:2222"


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("gate", Hop("gate")),
        ("ada@gate", Hop("gate", None, "ada")),
        ("ada@gate:2222", Hop("gate", 2222, "ada")),
        ("ssh://ada@gate:2222", Hop("gate", 2222, "ada")),
        (" [fe80::1]:22 ", Hop("fe80::1", 22)),
        ("ada@lab.org@gate", None),
        ("-oProxyCommand=x", None),
        ("gate:port", None),
        ("a b", None),
        ("", None),
        ("$(reboot)", None),
        ("ada;id@gate", None),
    ],
)
def test_a_jump_host_is_read_as_ssh_reads_it_or_refused(text: str, hop: Hop | None) -> None:
    if hop is None:
        with pytest.raises(LinkError) as caught:
            parse_hop(text)
        assert not caught.value.retry
    else:
        assert parse_hop(text) == hop


def settings(tmp_path: Path, config: str = "", **fields: Any) -> Settings:
    file = tmp_path / "config"
    file.write_text(config)
    return Settings(Cluster(name="lab", ssh_config=(str(file),), **fields))


def test_a_jump_host_for_all_hosts_is_not_used_for_itself(tmp_path: Path) -> None:
    found = settings(tmp_path, "Host *\n  ProxyJump gate\n")
    assert found.resolve(Hop("gpu01")).jumps == (Hop("gate"),)
    assert found.resolve(Hop("gate"), jump=True).jumps == ()


def test_the_profiles_jump_host_wins_and_none_means_none(tmp_path: Path) -> None:
    text = "Host a\n  ProxyJump none\nHost *\n  ProxyJump gate\n  HostKeyAlias alias\n"
    assert settings(tmp_path, text).resolve(Hop("a")).jumps == ()
    other = settings(tmp_path, text, proxy_jump="one,ada@two:3")
    assert other.resolve(Hop("b")).jumps == (Hop("one"), Hop("two", 3, "ada"))
    assert other.resolve(Hop("b")).key_name == "alias"


def test_keys_are_read_again_only_when_their_files_change(tmp_path: Path) -> None:
    key = make_key(tmp_path / "id")
    found = settings(tmp_path, identity_file=(str(key),))
    first = found.resolve(Hop("a")).keys
    assert found.resolve(Hop("b")).keys is first
    key.unlink()
    make_key(key)
    again = found.resolve(Hop("a")).keys
    assert again is not first
    assert again.pairs[0].public_data != first.pairs[0].public_data


def test_only_the_named_keys_are_offered(tmp_path: Path) -> None:
    key = make_key(tmp_path / "id")
    keys = settings(tmp_path, identity_file=(str(key),)).resolve(Hop("a")).keys
    assert len(keys.pairs) == 1
    assert keys.agent_identities == ()
    config = f"Host *\n  IdentityFile {key}\n  IdentityFile {tmp_path}/missing\n"
    keys = settings(tmp_path, config).resolve(Hop("a")).keys
    assert len(keys.pairs) == 1
    assert keys.agent_identities is None
    keys = settings(tmp_path, config + "  IdentitiesOnly yes\n").resolve(Hop("a")).keys
    assert keys.agent_identities == ()


def test_a_broken_ssh_config_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="config line 2") as caught:
        settings(tmp_path, "Host *\n  Port many\n").resolve(Hop("a"))
    assert not caught.value.retry
    missing = Settings(Cluster(name="lab", ssh_config=("/no/such/config",)))
    with pytest.raises(LinkError, match="/no/such/config"):
        missing.resolve(Hop("a"))


def test_options_without_effect_are_noted_with_their_place(tmp_path: Path) -> None:
    included = tmp_path / "more"
    included.write_text("Host gpu*\n  KnownHostsCommand /bin/keys %H\n")
    text = (
        "Host other\n  ControlMaster auto\n"
        f"Host gpu* !gpu09\n  StrictHostKeyChecking=no\n  Include {included}\n"
        "Host gpu09\n  StrictHostKeyChecking yes\n"
        'Match exec "true"\n  ControlMaster auto\n'
    )
    found = settings(tmp_path, text)
    notes = found.notes("gpu01")
    assert len(notes) == 2
    assert f"{tmp_path}/config:4: stricthostkeychecking no has no effect" in notes[0]
    assert f"{included}:2: knownhostscommand" in notes[1]
    assert found.notes("gpu09") == []
    assert len(found.notes("other")) == 1
    assert sshconfig.notes(["/no/such/file"], "x") == []
