from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cockpit.errors import ConfigError
from cockpit.profiles import (
    Cluster,
    Config,
    Launcher,
    NodeSpec,
    Rule,
    SecretRef,
    Source,
    builtin,
    check,
    config_files,
    load,
    with_cluster,
)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with a project in `project/deep` and an own configuration folder in `config`."""
    (tmp_path / "project" / "deep").mkdir(parents=True)
    (tmp_path / "config" / "cockpit").mkdir(parents=True)
    return tmp_path


def own(world: Path, text: str) -> Path:
    file = world / "config" / "cockpit" / "cockpit.toml"
    file.write_text(text)
    return file


def project(world: Path, text: str) -> Path:
    file = world / "project" / "cockpit.toml"
    file.write_text(text)
    return file


def loaded(world: Path, explicit: Path | None = None, **environ: str) -> Config:
    return load(
        explicit,
        cwd=world / "project" / "deep",
        environ={"XDG_CONFIG_HOME": str(world / "config"), **environ},
    )


def test_without_any_file_this_machine_and_torchrun_are_there(world: Path) -> None:
    config = loaded(world)
    assert config == builtin()
    assert config.clusters == {
        "local": Cluster(
            name="local",
            executor="local",
            nodes=(NodeSpec(name="local", host="localhost"),),
            python=sys.executable,
            sync=False,
        )
    }
    assert config.launchers == {"torchrun": Launcher(name="torchrun")}
    assert config.jobs == {}
    assert config.files == ()
    assert config.sources["clusters.local.python"] == Source()


def test_single_keys_of_the_built_in_profiles_may_be_changed(world: Path) -> None:
    file = project(
        world, '[clusters.local]\npython = "/py"\n[launchers.torchrun]\nmax_restarts = 2\n'
    )
    config = loaded(world)
    assert config.clusters["local"].python == "/py"
    assert config.clusters["local"].nodes == builtin().clusters["local"].nodes
    assert config.clusters["local"].executor == "local"
    assert config.launchers["torchrun"].max_restarts == 2
    assert config.sources["clusters.local.python"] == Source(file=str(file), line=2)
    assert config.sources["clusters.local.executor"] == Source()


def test_metrics_sections_and_rules_of_both_files_are_in_force_the_nearest_first(
    world: Path,
) -> None:
    ft = '[launchers.x]\nkind = "ft"\n'
    job = '[jobs.j]\nscript = "x"\n'
    near = project(
        world,
        ft
        + "rank_section_timeouts = { a = 1 }\n"
        + job
        + "metrics = { loss = '(near)' }\n"
        + "[rules.mine]\npattern = 'near'\ncause = 'c'\n",
    )
    far = own(
        world,
        "[launchers.x.rank_section_timeouts]\na = 2.0\nb = 3\n"
        "[jobs.j.metrics]\nloss = '(far)'\nrate = '(r)'\n"
        "[rules.other]\npattern = 'other'\ncause = 'o'\n"
        "[rules.mine]\npattern = 'far'\ncause = 'f'\nhint = 'h'\n",
    )
    config = loaded(world)
    assert config.launchers["x"].rank_section_timeouts == {"a": 1.0, "b": 3.0}
    assert config.jobs["j"].metrics == {"loss": "(near)", "rate": "(r)"}
    assert list(config.rules) == ["mine", "other"], "tried in this order"
    assert config.rules["mine"] == Rule(name="mine", pattern="near", cause="c", hint="h")
    assert config.sources["jobs.j.metrics.loss"].file == str(near)
    assert config.sources["jobs.j.metrics.rate"].file == str(far)
    assert config.sources["rules.mine.hint"].file == str(far)


def test_a_rank_monitor_configuration_is_a_file_of_this_machine(world: Path) -> None:
    project(
        world,
        '[launchers.x]\nkind = "ft"\ncfg_path = "ft.yaml"\n'
        'finished_flag_file = "${attempt_dir}/done"\njob_results_file = "/r/${job}.${attempt}"\n',
    )
    launcher = loaded(world).launchers["x"]
    assert launcher.cfg_path == str(world / "project" / "ft.yaml")
    assert launcher.finished_flag_file == "${attempt_dir}/done"
    assert launcher.job_results_file == "/r/${job}.${attempt}"


def test_heartbeat_limits_without_beats_are_for_the_rank_monitors_of_ft(world: Path) -> None:
    project(
        world,
        '[launchers.x]\nkind = "ft"\ninstrument = false\nrank_heartbeat_timeout = 5\n'
        "[launchers.y]\ninstrument = false\n",
    )
    assert loaded(world).launchers["x"].rank_heartbeat_timeout == 5.0


def test_the_nearest_file_upwards_is_taken_and_then_the_users(world: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(world / "config")}
    near, far = project(world, ""), own(world, "")
    assert config_files(cwd=world / "project" / "deep", environ=environ) == (near, far)
    (world / "project" / "deep" / "cockpit.toml").mkdir()  # No file: passed over.
    assert config_files(cwd=world / "project" / "deep", environ=environ) == (near, far)
    nearer = world / "project" / "deep" / "x" / "cockpit.toml"
    nearer.parent.mkdir()
    nearer.write_text("")
    assert config_files(cwd=nearer.parent, environ=environ) == (nearer, far)


def test_a_named_file_replaces_the_search_but_not_the_users_file(world: Path) -> None:
    project(world, "")
    far = own(world, "")
    other = world / "other.toml"
    environ = {"XDG_CONFIG_HOME": str(world / "config"), "COCKPIT_CONFIG": "../env.toml"}
    cwd = world / "project"
    assert config_files(other, cwd=cwd, environ=environ) == (other, far)
    assert config_files(Path("x.toml"), cwd=cwd, environ=environ)[0] == cwd / "x.toml"
    named = config_files(cwd=cwd, environ=environ)
    assert [file.resolve() for file in named] == [world / "env.toml", far]
    environ["COCKPIT_CONFIG"] = ""
    assert config_files(cwd=cwd, environ=environ)[0] == cwd / "cockpit.toml"


def test_a_file_is_read_once_even_if_it_is_found_twice(world: Path) -> None:
    file = own(world, "")
    environ = {"XDG_CONFIG_HOME": str(world / "config")}
    assert config_files(cwd=file.parent, environ=environ) == (file,)


def test_the_home_folder_is_used_where_xdg_says_nothing(home: Path, tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("the folder is another one here")
    file = home / ".config" / "cockpit" / "cockpit.toml"
    file.parent.mkdir(parents=True)
    file.write_text("")
    assert config_files(cwd=tmp_path)[-1] == file


def test_a_missing_named_file_is_an_error(world: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        loaded(world, world / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        loaded(world, COCKPIT_CONFIG=str(world / "none.toml"))


def test_the_nearer_file_wins_key_by_key(world: Path) -> None:
    near = project(
        world,
        """\
[clusters.lab]
nodes = ["a"]
env = { A = "near" }
[clusters.lab.secrets]
S = { cmd = ["x"] }
[launchers.ddp]
rdzv_conf = { read_timeout = 1 }
""",
    )
    far = own(
        world,
        """\
[clusters.lab]
nodes = ["b", "c"]
user = "ada"
env = { A = "far", B = "far" }
secrets = { S = { env = "S" } }
[launchers.ddp]
max_restarts = 1
rdzv_conf = { read_timeout = 2, close_timeout = 3 }
""",
    )
    config = loaded(world)
    lab = config.clusters["lab"]
    assert [node.host for node in lab.nodes] == ["a"]
    assert lab.user == "ada"
    assert lab.env == {"A": "near", "B": "far"}
    assert lab.secrets == {"S": SecretRef(cmd=("x",))}
    assert config.launchers["ddp"].rdzv_conf == {"read_timeout": 1, "close_timeout": 3}
    assert config.launchers["ddp"].max_restarts == 1
    assert config.files == (str(near), str(far))
    wanted = {
        "clusters.lab.nodes": (near, 2),
        "clusters.lab.user": (far, 3),
        "clusters.lab.env": (near, 3),
        "clusters.lab.env.A": (near, 3),
        "clusters.lab.env.B": (far, 4),
        "clusters.lab.secrets.S": (near, 5),
        "launchers.ddp.rdzv_conf.close_timeout": (far, 8),
    }
    for key, (file, line) in wanted.items():
        assert config.sources[key] == Source(file=str(file), line=line), key
    assert config.sources["clusters.lab.port"] == Source()


def test_every_field_of_every_profile_has_a_source(world: Path) -> None:
    project(world, '[clusters."gpu.lab"]\nnodes = ["a"]\n[jobs.j]\nscript = "x"\n')
    config = loaded(world)
    for section in ("clusters", "launchers", "jobs"):
        for name, profile in getattr(config, section).items():
            quoted = f'"{name}"' if "." in name else name
            for field in profile.__struct_fields__:
                if field != "name":
                    assert f"{section}.{quoted}.{field}" in config.sources


def test_what_to_run_comes_from_one_file(world: Path) -> None:
    project(world, '[jobs.j]\nmodule = "pkg"\n')
    own(world, '[jobs.j]\nscript = "x.py"\nargs = ["1"]\n')
    job = loaded(world).jobs["j"]
    assert (job.script, job.module, job.args) == (None, "pkg", ("1",))


def test_two_things_to_run_in_one_file_are_an_error_even_below_a_nearer_one(world: Path) -> None:
    near = project(world, '[jobs.j]\nmodule = "pkg"\ncommand = ["x"]\n')
    far = own(world, '[jobs.j]\nscript = "x.py"\n')
    _, problems = check([near, far])
    assert [(problem.file, problem.line) for problem in problems] == [(str(near), 3)]


def test_a_wrong_value_in_the_farther_file_is_reported_though_it_is_not_in_force(
    world: Path,
) -> None:
    near = project(world, '[clusters.lab]\nnodes = ["a"]\nport = 22\n')
    far = own(world, '[clusters.lab]\nport = "x"\n')
    _, problems = check([near, far])
    assert [(problem.file, problem.line) for problem in problems] == [(str(far), 2)]


def test_paths_of_this_machine_start_from_the_file_that_holds_them(world: Path, home: Path) -> None:
    project(
        world,
        """\
[clusters.lab]
nodes = ["a"]
identity_file = "keys/id"
known_hosts = ["/abs", "~/kh"]
ssh_config = []
secrets = { S = { file = "s" } }
[jobs.a]
script = "x"
working_dir = ".."
[jobs.b]
script = "x"
""",
    )
    own(world, '[jobs.c]\nscript = "x"\n[jobs.d]\nscript = "x"\nworking_dir = "w"\n')
    config = loaded(world)
    lab = config.clusters["lab"]
    folder = str(world / "project")
    assert lab.identity_file == (f"{folder}/keys/id",)
    assert lab.known_hosts == ("/abs", f"{home}/kh")
    assert lab.ssh_config == ()
    assert lab.secrets["S"].file == f"{folder}/s"
    assert config.jobs["a"].working_dir == str(world)
    assert config.jobs["b"].working_dir == folder
    assert config.jobs["c"].working_dir == f"{folder}/deep"
    assert config.jobs["d"].working_dir == f"{folder}/deep/w"


def test_nodes_are_expanded_with_names_and_addresses_alongside(world: Path) -> None:
    project(
        world,
        """\
[clusters.lab]
nodes = [
  "gpu[01-02].lab",
  { host = "gpu[03-04].lab", name = "n[3-4]", addr = "10.0.0.[3-4]", gpus = 8 },
]
spares = ["gpu09"]
""",
    )
    lab = loaded(world).clusters["lab"]
    assert lab.nodes == (
        NodeSpec(name="gpu01.lab", host="gpu01.lab"),
        NodeSpec(name="gpu02.lab", host="gpu02.lab"),
        NodeSpec(name="n3", host="gpu03.lab", addr="10.0.0.3", gpus=8),
        NodeSpec(name="n4", host="gpu04.lab", addr="10.0.0.4", gpus=8),
    )
    assert lab.spares == (NodeSpec(name="gpu09", host="gpu09"),)


def test_a_further_local_cluster_is_this_machine_unless_it_says_otherwise(world: Path) -> None:
    project(world, '[clusters.here]\nexecutor = "local"\nenv = { A = "1" }\n')
    here = loaded(world).clusters["here"]
    assert here.nodes == builtin().clusters["local"].nodes
    assert (here.python, here.sync) == (sys.executable, False)


def test_numbers_take_the_type_of_their_field(world: Path) -> None:
    project(world, '[launchers.x]\ngrace = 5\n[jobs.j]\nscript = "x"\nnodes = "1"\n')
    config = loaded(world)
    assert isinstance(config.launchers["x"].grace, float)
    assert config.jobs["j"].nodes == 1


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(world: Path) -> None:
    file = world / "project" / "cockpit.toml"
    file.write_bytes(b'\xef\xbb\xbf[clusters.lab]\r\nnodes = ["a"]\r\nuser = "ada"\r\n')
    config = loaded(world)
    assert config.clusters["lab"].user == "ada"
    assert config.sources["clusters.lab.user"].line == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_a_strangers_file_in_a_folder_for_everybody_is_left_out(world: Path) -> None:
    planted = world / "cockpit.toml"
    planted.write_text('[clusters.evil]\nnodes = ["x"]\n')
    os.chown(planted, 12345, 12345)
    assert "evil" in loaded(world).clusters  # Nobody else could have put it there.
    world.chmod(0o1777)
    config = loaded(world)
    assert "evil" not in config.clusters
    assert [warning.file for warning in config.warnings] == [str(planted)]
    named = loaded(world, planted)
    assert "evil" in named.clusters
    assert named.warnings == ()


def test_a_cluster_may_be_added_to_profiles_that_were_read() -> None:
    cluster = Cluster(name="demo", nodes=(NodeSpec(name="a", host="a"),))
    config = with_cluster(builtin(), cluster)
    assert sorted(config.clusters) == ["demo", "local"]
    assert sorted(builtin().clusters) == ["local"]
