from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from cockpit.errors import UsageError
from cockpit.launchers import plan, registry
from cockpit.profiles import Config, Request, SecretRef, builtin, load, resolve

TEXT = """\
[clusters.lab]
nodes = ["gpu[1-4]"]
env = { A = "cluster", B = "cluster", C = "cluster", D = "cluster", S = "cluster" }
secrets = { T = { env = "T" }, U = { env = "U" } }

[clusters.shared]
nodes = ["gpu1"]
sync = false

[launchers.ddp]
max_restarts = 3
env = { B = "launcher", C = "launcher", D = "launcher", U = "launcher" }

[jobs.llama]
cluster = "lab"
launcher = "ddp"
nodes = "2:4"
nproc_per_node = 8
script = "train.py"
args = ["--config", "70b.yaml"]
env = { C = "job", D = "job", T = "job" }
secrets = { S = { file = "/s" } }

[jobs.module]
module = "pkg.train"
max_restarts = 0
launcher = "ddp"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "cockpit.toml").write_text(TEXT)
    (folder / "train.py").write_text("")
    (folder / "sub" / "other.py").write_text("")
    (tmp_path / "outside.py").write_text("")
    return folder


@pytest.fixture
def config(project: Path) -> Config:
    return load(project / "cockpit.toml")


def test_a_script_without_profiles_runs_here_on_one_local_node(project: Path) -> None:
    config = builtin()
    assert resolve(config, script="train.py", args=["--x", "1"], cwd=project) == Request(
        name="train",
        cluster=config.clusters["local"],
        launcher=config.launchers["torchrun"],
        nodes=config.clusters["local"].nodes,
        min_nodes=1,
        max_nodes=1,
        nproc_per_node="auto",
        script="train.py",
        args=("--x", "1"),
        working_dir=str(project),
    )


def test_a_job_profile_says_everything(config: Config, project: Path, tmp_path: Path) -> None:
    resolved = resolve(config, job="llama", cwd=tmp_path)
    assert resolved.name == "llama"
    assert resolved.cluster is config.clusters["lab"]
    assert resolved.launcher is config.launchers["ddp"]
    assert [node.host for node in resolved.nodes] == ["gpu1", "gpu2", "gpu3", "gpu4"]
    assert (resolved.min_nodes, resolved.max_nodes, resolved.nproc_per_node) == (2, 4, 8)
    assert (resolved.script, resolved.args) == ("train.py", ("--config", "70b.yaml"))
    assert resolved.working_dir == str(project)
    assert resolved.max_restarts == 3
    assert resolve(config, job="module", cwd=tmp_path).max_restarts == 0


def test_what_was_typed_beats_the_profile(config: Config, project: Path) -> None:
    resolved = resolve(
        config,
        job="llama",
        cluster="shared",
        launcher="torchrun",
        nodes=1,
        nproc_per_node="2",
        name="mine",
        args=[],
        max_restarts=0,
        working_dir="sub",
        cwd=project,
    )
    assert resolved.cluster.name == "shared"
    assert resolved.launcher.name == "torchrun"
    assert (resolved.min_nodes, resolved.max_nodes, resolved.nproc_per_node) == (1, 1, 2)
    assert (resolved.name, resolved.args, resolved.max_restarts) == ("mine", (), 0)
    assert resolved.working_dir == str(project / "sub")


def test_a_typed_script_comes_without_the_profiles_arguments(config: Config, project: Path) -> None:
    resolved = resolve(config, job="llama", script="sub/other.py", cwd=project)
    assert (resolved.script, resolved.args) == ("sub/other.py", ())
    resolved = resolve(config, job="llama", command=["./x", "a b"], cwd=project)
    assert (resolved.script, resolved.command) == (None, ("./x", "a b"))


def test_the_resolved_request_is_the_very_record_that_launchers_plan_from(
    config: Config, project: Path
) -> None:
    assert plan.Request is Request
    resolved = resolve(config, job="llama", cwd=project)
    assert type(resolved) is Request
    assert resolved.asked == ("train.py", "--config", "70b.yaml")
    command = resolve(config, command=["./run.sh"], args=["x"], cwd=project)
    assert command.asked == ("./run.sh", "x")
    module = resolve(config, module="pkg.train", args=["x"], cwd=project)
    assert module.asked == ("-m", "pkg.train", "x")


def test_variables_and_secrets_come_from_the_last_layer_that_has_them(
    config: Config, project: Path
) -> None:
    resolved = resolve(
        config,
        job="llama",
        env={"D": "typed"},
        secrets={"C": SecretRef(env="C")},
        cwd=project,
    )
    assert resolved.env == {
        "A": "cluster",
        "B": "launcher",
        "D": "typed",
        "T": "job",  # A secret of the cluster, a plain variable of the job.
        "U": "launcher",
    }
    assert resolved.secrets == {"S": SecretRef(file="/s"), "C": SecretRef(env="C")}


def test_a_typed_value_of_a_secret_is_not_in_the_request(config: Config, project: Path) -> None:
    typed = {"S": "geheim", "HF_TOKEN": "geheim", "A": "plain"}
    resolved = resolve(config, job="llama", env=typed, cwd=project)
    assert resolved.env["A"] == "plain"
    assert resolved.secrets["S"] == SecretRef(file="/s")
    assert resolved.secrets["HF_TOKEN"] == SecretRef(env="HF_TOKEN")
    assert b"geheim" not in msgspec.json.encode(resolved)


def test_more_nodes_than_the_cluster_has_are_refused_with_both_figures(config: Config) -> None:
    with pytest.raises(UsageError, match=r"5 nodes .* lab has 4 nodes"):
        resolve(config, cluster="lab", nodes=5, module="m")
    with pytest.raises(UsageError, match=r"2 nodes .* local has 1 node$"):
        resolve(config, nodes="1:2", module="m")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"cluster": "lob"}, "no cluster called 'lob'"),
        ({"launcher": "x"}, "no launcher called"),
        ({"job": "lama"}, "no job profile called"),
        ({"module": None}, "nothing to run"),
        ({"script": "train.py"}, "more than one thing to run"),
        ({"module": "-c"}, "no name of a module"),
        ({"module": None, "command": []}, "names no program"),
        ({"module": None, "script": ""}, "no script"),
        ({"nodes": 0}, "less than one node"),
        ({"nodes": "2:1"}, "backwards"),
        ({"nodes": "x"}, "no number of nodes"),
        ({"nodes": "1:"}, "no number of nodes"),
        ({"nodes": "²"}, "no number of nodes"),
        ({"nproc_per_node": 0}, "no number of ranks"),
        ({"nproc_per_node": "-1"}, "no number of ranks"),
        ({"nproc_per_node": "all"}, "no number of ranks"),
        ({"max_restarts": -1}, "restarts make no sense"),
        ({"args": ["a\0b"]}, "NUL"),
        ({"env": {"1A": "x"}}, "no name"),
        ({"env": {"COCKPIT_ATTEMPT": "x"}}, "cockpit's own"),
        ({"name": " \x1b[31m "}, "leaves nothing"),
        ({"working_dir": "none"}, "is not there"),
        ({"module": None, "script": "none.py"}, "none.py is not in"),
    ],
)
def test_what_makes_no_sense_is_refused(
    config: Config, project: Path, typed: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        resolve(config, **{"module": "pkg", "cwd": project, **typed})


def test_a_slip_of_the_finger_names_the_nearest_profile(config: Config) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(config, cluster="lob", module="m")
    assert caught.value.hint == "did you mean lab?"


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ({"script": "sub/other.py"}, "other"),
        ({"module": "pkg.train"}, "train"),
        ({"module": "pkg.__main__"}, "pkg"),
        ({"command": ["/usr/bin/env", "x"]}, "env"),
        ({"command": ["./run.sh"]}, "run"),
        ({"command": ["\x1b[1m"]}, "job"),
        ({"module": "m", "name": " --weird $(name)\n'\" "}, "--weird $(name)'\""),
        ({"module": "m", "name": "x" * 200}, "x" * 128),
        ({"module": "m", "name": "a\x1b]52;c;x\x07b\u202e"}, "ab"),
    ],
)
def test_a_job_has_a_name_that_is_safe_to_show(
    config: Config, project: Path, typed: dict[str, Any], name: str
) -> None:
    resolved = resolve(config, cwd=project, **typed)
    assert resolved.name == name
    assert resolved.name.isprintable()


def test_arguments_arrive_as_they_were_typed(config: Config) -> None:
    args = ("-x", "", "a b", "'\"", "$(id)", "\n", "${rdzv_port}", "é", "\udcff")
    assert resolve(config, module="m", args=args).args == args
    assert resolve(config, command=args[2:]).command == args[2:]


def test_a_script_is_named_as_it_lies_in_the_working_directory(
    config: Config, project: Path, tmp_path: Path
) -> None:
    def script(name: str, **typed: Any) -> str | None:
        return resolve(config, script=name, **{"cwd": project, **typed}).script

    assert script("./sub/../train.py") == "train.py"
    assert script("other.py", working_dir="sub") == "other.py"
    assert script("sub/other.py", working_dir="sub") == "other.py"
    assert script(str(project / "train.py")) == "train.py"
    assert script("other.py", cwd=project / "sub") == "other.py"
    assert script("train.py", job="llama", cwd=tmp_path) == "train.py"
    # Nothing travels to this machine, so a script outside is found where it is.
    assert script("../outside.py") == str(tmp_path / "outside.py")
    assert script("/nodes/only.py", cluster="lab") == "/nodes/only.py"
    # With a shared file system, nobody here knows what the nodes see.
    assert script("none.py", cluster="shared", working_dir="/not/here") == "none.py"
    (project / "-c.py").write_text("")
    assert script("-c.py") == "./-c.py"


def test_a_script_outside_of_what_travels_to_the_nodes_is_refused(
    config: Config, project: Path
) -> None:
    with pytest.raises(UsageError, match=r"outside\.py is outside of the working directory"):
        resolve(config, cluster="lab", script="../outside.py", cwd=project)


def with_cfg(project: Path, cfg: bytes | None) -> Config:
    file = project / "cockpit.toml"
    file.write_text('[launchers.x]\nkind = "ft"\ncfg_path = "ft.yaml"\n')
    if cfg is not None:
        (project / "ft.yaml").write_bytes(cfg)
    return load(file)


def test_the_file_of_cfg_path_travels_with_the_request(project: Path) -> None:
    text = "x:\n  fault_tolerance: {safety_factor: 3}  # ${x} ä\n"
    config = with_cfg(project, text.encode())
    request = resolve(config, launcher="x", script="train.py", cwd=project)
    assert request.cfg == text
    assert registry.plan(request).files["ft.user.yaml"].count("$${x}") == 1
    assert resolve(config, script="train.py", cwd=project).cfg is None


@pytest.mark.parametrize(
    ("cfg", "match"),
    [
        (None, r"ft\.yaml, cannot be read"),
        (b"log_level: INFO", "has no section fault_tolerance"),
        (b"\xff", "is not UTF-8"),
        (b"fault_tolerance: {}\n" + b"#" * 300_000, "is larger than"),
    ],
)
def test_a_cfg_path_that_cannot_be_sent_is_refused(
    project: Path, cfg: bytes | None, match: str
) -> None:
    config = with_cfg(project, cfg)
    with pytest.raises(UsageError, match=match):
        resolve(config, launcher="x", script="train.py", cwd=project)


def test_metrics_of_the_job_profile_are_in_the_request(project: Path) -> None:
    file = project / "cockpit.toml"
    file.write_text("[jobs.j]\nscript = 'train.py'\nmetrics = { loss = 'loss=(.*)' }\n")
    assert resolve(load(file), job="j", cwd=project).metrics == {"loss": "loss=(.*)"}
