"""Each defect of a file is reported with its key, its line and a hint, and all of them at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.errors import ConfigError, Problem
from cockpit.profiles import check, load


def problems(folder: Path, text: str | bytes) -> list[Problem]:
    file = folder / "cockpit.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    config, found = check([file])
    assert all(problem.file == str(file) for problem in found)
    assert (config is None) == any(problem.level == "error" for problem in found)
    return found


LAB = '[clusters.lab]\nnodes = ["a", "b"]\n'
FT = '[launchers.x]\nkind = "ft"\n'
JOB = '[jobs.j]\nscript = "x"\n'

CASES = [
    # Keys.
    (LAB + 'usr = "ada"', 3, "clusters.lab.usr", "unknown key", "did you mean user?"),
    (LAB + 'identity-file = "x"', 3, "clusters.lab.identity-file", "unknown", "identity_file?"),
    (LAB + 'script = "x"', 3, "clusters.lab.script", "unknown key", "a key of jobs"),
    (LAB + 'name = "x"', 3, "clusters.lab.name", "unknown key", "last word of its header"),
    (LAB + "zzzz = 1", 3, "clusters.lab.zzzz", "unknown key", "known here: connect_timeout, env"),
    ("[cluster.lab]\n", 1, "cluster", "unknown table", "did you mean clusters?"),
    ('[jobs]\nscript = "x"', 2, "jobs.script", "must be a table", "every profile has a name"),
    ("clusters = 3", 1, "clusters", "must be a table of profiles, not 3", "[clusters.NAME]"),
    ('[clusters."-x"]\nnodes = ["a"]', 1, "clusters.-x", "name of a profile", "leading dash"),
    ('[clusters."a\\n"]\nnodes = ["a"]', 1, 'clusters."a\\u000A"', "name of a profile", ""),
    # Passwords.
    (LAB + 'password = "geheim"', 3, "clusters.lab.password", "no password", "ssh-agent"),
    (LAB + 'ssh_passphrase = "geheim"', 3, "clusters.lab.ssh_passphrase", "no password", "key"),
    ('passwd = "geheim"', 1, "passwd", "no password", "ssh-agent"),
    ('[clusters.x]\nnodes = [\n"a",\n{ host = "b", Password = "geheim" }]', 4,
     "clusters.x.nodes[1].Password", "no password", "ssh-agent"),
    # Types.
    (LAB + 'port = "22"', 3, "clusters.lab.port", '65535, not the string "22"', "without"),
    (LAB + "port = 0", 3, "clusters.lab.port", "from 1 to 65535, not 0", ""),
    (LAB + "port = 65536", 3, "clusters.lab.port", "not 65536", ""),
    (LAB + "port = true", 3, "clusters.lab.port", "not true", ""),
    (LAB + "port = 2.5", 3, "clusters.lab.port", "not 2.5", ""),
    (LAB + f"port = {'9' * 400}", 3, "clusters.lab.port", "a huge number", ""),
    (LAB + "sync = 1", 3, "clusters.lab.sync", "true or false, not 1", ""),
    (LAB + 'sync = "true"', 3, "clusters.lab.sync", "true or false", "without quotes"),
    (LAB + "user = 7", 3, "clusters.lab.user", "text on one line, not 7", '"7"'),
    (LAB + 'user = ""', 3, "clusters.lab.user", "not an empty string", ""),
    (LAB + 'python = "a\\nb"', 3, "clusters.lab.python", "control characters", ""),
    (LAB + "user = 1979-05-27", 3, "clusters.lab.user", "a date or time", ""),
    (LAB + "env = []", 3, "clusters.lab.env", "a table of strings, not a list", "{ NAME = "),
    (LAB + "env = { A = 1 }", 3, "clusters.lab.env.A", "a string, not 1", '"1"'),
    (LAB + "env = { A = false }", 3, "clusters.lab.env.A", "a string, not false", '"false"'),
    (LAB + "connect_timeout = -1", 3, "clusters.lab.connect_timeout", "above 0, not -1", ""),
    (LAB + "connect_timeout = 0", 3, "clusters.lab.connect_timeout", "above 0, not 0", ""),
    (LAB + "connect_timeout = inf", 3, "clusters.lab.connect_timeout", "not inf", ""),
    (LAB + "connect_timeout = nan", 3, "clusters.lab.connect_timeout", "not nan", ""),
    ("[launchers.x]\ngrace = -0.5", 2, "launchers.x.grace", "0 or more, not -0.5", ""),
    ("[launchers.x]\nmax_restarts = -1", 2, "launchers.x.max_restarts", "not -1", ""),
    ('[launchers.x]\nkind = "mpi"', 2, "launchers.x.kind", '"command", "ft", "torchrun", not', ""),
    ("[launchers.x]\nrank_heartbeat_timeout = 0", 2, "launchers.x.rank_heartbeat_timeout",
     "above 0, not 0", ""),
    ('[launchers.x]\non_stall = "kill"', 2, "launchers.x.on_stall", '"restart", "warn"', ""),
    ('[launchers.x]\nrdzv_id = "a b"', 2, "launchers.x.rdzv_id", "cannot name", "at most 64"),
    ('[launchers.x]\nrdzv_id = "-a"', 2, "launchers.x.rdzv_id", "cannot name", ""),
    (FT + 'rank_termination_signal = "SIGNAL"', 3, "launchers.x.rank_termination_signal",
     "no signal SIGNAL", "SIGTERM"),
    (FT + 'rank_termination_signal = "kill"', 3, "launchers.x.rank_termination_signal",
     'such as "SIGKILL"', ""),
    (FT + 'log_level = "LOUD"', 3, "launchers.x.log_level", '"WARNING", not', ""),
    (FT + 'finished_flag_file = "done"', 3, "launchers.x.finished_flag_file", "no absolute path",
     "${attempt_dir}/"),
    (FT + 'finished_flag_file = "${job}/done"', 3, "launchers.x.finished_flag_file",
     "no absolute path", ""),
    (FT + 'job_results_file = "/x/${jobs}"', 3, "launchers.x.job_results_file",
     "no macro ${jobs}", "${job}"),
    (FT + 'rank_section_timeouts = { "a:b" = 1 }', 3, 'launchers.x.rank_section_timeouts."a:b"',
     "no name of a section", "colons"),
    (FT + 'rank_section_timeouts = { a = "1" }', 3, "launchers.x.rank_section_timeouts.a",
     "a number above 0", "without quotes"),
    (FT + 'rdzv_backend = "static"', 3, "launchers.x.rdzv_backend", "c10d", "remove it"),
    # Keys of a launcher that contradict its kind or each other.
    ('[launchers.x]\ncfg_path = "a.yaml"', 2, "launchers.x.cfg_path", "only launchers of kind ft",
     'kind = "ft"'),
    ("[launchers.x]\nrank_section_timeouts = { a = 1 }", 2, "launchers.x.rank_section_timeouts.a",
     "only launchers of kind ft", ""),
    ('[launchers.x]\nkind = "command"\non_stall = "warn"', 3, "launchers.x.on_stall",
     "nothing beats", "torchrun"),
    ('[launchers.x]\nkind = "command"\nrdzv_conf = { read_timeout = 1 }', 3,
     "launchers.x.rdzv_conf.read_timeout", "no rendezvous", "remove the key"),
    ('[launchers.x]\ninstrument = false\non_stall = "restart"', 3, "launchers.x.on_stall",
     "nothing beats", "instrument"),
    ("[launchers.x]\ninstrument = false\nrank_heartbeat_timeout = 9", 3,
     "launchers.x.rank_heartbeat_timeout", "nothing beats", ""),
    ('[launchers.x]\nrdzv_backend = "static"\nrdzv_conf = { read_timeout = 1 }', 3,
     "launchers.x.rdzv_conf.read_timeout", "reads none", "c10d"),
    # Patterns.
    (JOB + 'metrics = { "a-b" = "(.)" }', 3, "jobs.j.metrics.a-b", "no name of a metric", "40"),
    (JOB + f'metrics = {{ {"m" * 41} = "(.)" }}', 3, f"jobs.j.metrics.{'m' * 41}", "no name", ""),
    (JOB + "metrics = { loss = 'loss=[0-9]+' }", 3, "jobs.j.metrics.loss", "no group", "loss"),
    (JOB + "metrics = { loss = '(' }", 3, "jobs.j.metrics.loss", "no regular expression", "single"),
    (JOB + "metrics = { loss = 1 }", 3, "jobs.j.metrics.loss", "one line, not 1", ""),
    ("[rules.r]\npattern = '*'\ncause = 'x'", 2, "rules.r.pattern", "no regular expression", ""),
    ("[rules.r]\npattern = 'x'", 1, "rules.r", "does not say its cause", "pattern ="),
    ("[rules.r]\nhint = 'x'", 1, "rules.r", "its pattern and cause", ""),
    ("[rules.r]\npattern = 'x'\ncause = ''", 3, "rules.r.cause", "an empty string", ""),
    ("[rules.r]\npattern = 'x'\ncaus = 'y'", 3, "rules.r.caus", "unknown key", "mean cause?"),
    ("[rule.r]\npattern = 'x'", 1, "rule", "unknown table", "did you mean rules?"),
    # Hosts.
    ('[clusters.x]\nnodes = [\n  "a",\n  "gpu[04-01]",\n]', 4, "clusters.x.nodes[1]", "backwards",
     "write 01-04"),
    ('[clusters.x]\nnodes = ["gpu[a-b]"]', 2, "clusters.x.nodes[0]", "'a-b' is no number", ""),
    ('[clusters.x]\nnodes = ["-oProxyCommand=x"]', 2, "clusters.x.nodes[0]", "dash", "option"),
    ('[clusters.x]\nnodes = ["a b"]', 2, "clusters.x.nodes[0]", "no host name", ""),
    ('[clusters.x]\nnodes = ["gpu[1-5000]"]', 2, "clusters.x.nodes[0]", "more than 4096", ""),
    ('[clusters.x]\nnodes = "gpu1"', 2, "clusters.x.nodes", "a list of hosts, not", "write ["),
    ("[clusters.x]\nnodes = [1]", 2, "clusters.x.nodes[0]", "a host or a table, not 1", ""),
    ("[clusters.x]\nnodes = [{ gpus = 8 }]", 2, "clusters.x.nodes[0]", "needs a host", ""),
    ('[clusters.x]\nnodes = [{ host = "a", gpus = -1 }]', 2, "clusters.x.nodes[0].gpus",
     "not -1", ""),
    ('[clusters.x]\nnodes = [{ host = "a", gpu = 1 }]', 2, "clusters.x.nodes[0].gpu", "unknown",
     "did you mean gpus?"),
    ('[clusters.x]\nnodes = [{ host = "a", addr = "-x" }]', 2, "clusters.x.nodes[0]", "dash", ""),
    ('[clusters.x]\nnodes = [{ host = "a[1-3]", addr = "b[1-2]" }]', 2, "clusters.x.nodes[0]",
     "addr 'b[1-2]' stands for 2, but there are 3 hosts", "same length"),
    ('[clusters.x]\nnodes = [\n"a[1-3]",\n"A2"]', 4, "clusters.x.nodes[1]", "A2 is in the",
     ""),
    ('[clusters.x]\nnodes = ["a[1-3,2]"]', 2, "clusters.x.nodes[0]", "twice", ""),
    ('[clusters.x]\nnodes = ["a"]\nspares = ["a"]', 3, "clusters.x.spares[0]", "twice", ""),
    ('[clusters.x]\nnodes = [{ host = "a", name = "n" }, { host = "b", name = "n" }]', 2,
     "clusters.x.nodes[1]", "two nodes are called n", ""),
    ("[clusters.x]\nnodes = []", 2, "clusters.x.nodes", "has no nodes", ""),
    ("[clusters.x]\nport = 22", 1, "clusters.x", "has no nodes", "write nodes"),
    # Other values of a cluster.
    (LAB + 'executor = "slurm"', 3, "clusters.lab.executor", "not there yet", '"ssh" and "local"'),
    (LAB + 'executor = "k8s"', 3, "clusters.lab.executor", 'one of "local", "ssh"', ""),
    ('[clusters.local]\nexecutor = "ssh"', 2, "clusters.local.executor", "is this machine", "name"),
    (LAB + 'state_dir = ""', 3, "clusters.lab.state_dir", "an empty string", ""),
    (LAB + 'state_dir = "x/y"', 3, "clusters.lab.state_dir", "a relative path", "~/"),
    (LAB + 'user = "-l"', 3, "clusters.lab.user", "no login name", ""),
    (LAB + 'proxy_jump = "a:b"', 3, "clusters.lab.proxy_jump", "'b' is no port", ""),
    (LAB + 'python = "-c"', 3, "clusters.lab.python", "starts with a dash", ""),
    (LAB + 'env = { "A B" = "x" }', 3, 'clusters.lab.env."A B"', "no name", ""),
    (LAB + 'env = { A = "a\\u0000b" }', 3, "clusters.lab.env.A", "text with NUL", ""),
    (LAB + 'env = { COCKPIT_ATTEMPT = "x" }', 3, "clusters.lab.env.COCKPIT_ATTEMPT", "own", ""),
    ("[launchers.x]\nrdzv_conf = { timeout = 900 }", 2, "launchers.x.rdzv_conf.timeout",
     "does not read it", "known here: read_timeout"),
    ("[launchers.x]\nrdzv_conf = { join_timeout = 900 }", 2, "launchers.x.rdzv_conf.join_timeout",
     "a key of its own", ""),
    # Secrets.
    (LAB + 'secrets = { A = "geheim" }', 3, "clusters.lab.secrets.A", "not the value", "env"),
    (LAB + 'secrets = "geheim"', 3, "clusters.lab.secrets", "must be a table", "HF_TOKEN"),
    (LAB + "secrets = { A = {} }", 3, "clusters.lab.secrets.A", "exactly one", "none of them"),
    (LAB + 'secrets = { A = { env = "A", file = "x" } }', 3, "clusters.lab.secrets.A",
     "exactly one", "env and file"),
    (LAB + 'secrets = { A = { cmd = "pass show" } }', 3, "clusters.lab.secrets.A.cmd", "list", ""),
    (LAB + "secrets = { A = { cmd = [] } }", 3, "clusters.lab.secrets.A.cmd", "no program", ""),
    (LAB + 'secrets = { A = { env = "1" } }', 3, "clusters.lab.secrets.A.env", "no name", ""),
    (LAB + 'secrets = { A = { file = "" } }', 3, "clusters.lab.secrets.A.file", "no path", ""),
    (LAB + 'secrets = { "A B" = { env = "X" } }', 3, 'clusters.lab.secrets."A B"', "no name", ""),
    (LAB + 'env = { A = "1" }\nsecrets = { A = { env = "X" } }', 3, "clusters.lab.env.A",
     "in env and in secrets", ""),
    # Jobs.
    ("[jobs.j]\nnodes = 1", 1, "jobs.j", "does not say what to run", "script, module, command"),
    ('[jobs.j]\nscript = "x"\nmodule = "y"', 3, "jobs.j.module", "script and module", "keep one"),
    ('[jobs.j]\nscript = "x"\ncluster = "lok"', 3, "jobs.j.cluster", "no cluster called 'lok'",
     "there are local"),
    ('[jobs.j]\nscript = "x"\nlauncher = "torchrn"', 3, "jobs.j.launcher", "no launcher called",
     "did you mean torchrun?"),
    ('[jobs.j]\nscript = "x"\nnodes = 0', 3, "jobs.j.nodes", '"MIN:MAX", not 0', ""),
    ('[jobs.j]\nscript = "x"\nnodes = "x"', 3, "jobs.j.nodes", '"MIN:MAX", not the string "x"', ""),
    ('[jobs.j]\nscript = "x"\nnodes = "1:2\\n"', 3, "jobs.j.nodes", "control characters", ""),
    ('[jobs.j]\nscript = "x"\nnodes = "4:2"', 3, "jobs.j.nodes", "backwards", "write 2:4"),
    ('[jobs.j]\nscript = "x"\nnodes = "0:2"', 3, "jobs.j.nodes", "less than one", ""),
    ('[jobs.j]\nscript = "x"\nnproc_per_node = 0', 3, "jobs.j.nproc_per_node", '"cpu", not 0', ""),
    ('[jobs.j]\nscript = "x"\nnproc_per_node = "all"', 3, "jobs.j.nproc_per_node", '"auto"', ""),
    ('[jobs.j]\nscript = "x"\nargs = ["--lr", 0.1]', 3, "jobs.j.args[1]", "a string, not 0.1",
     '"0.1"'),
    ('[jobs.j]\nscript = "x"\nargs = "--lr"', 3, "jobs.j.args", "a list of strings", ""),
    ("[jobs.j]\ncommand = []", 2, "jobs.j.command", "empty list", ""),
    ('[jobs.j]\ncommand = "ls -l"', 2, "jobs.j.command", "a list of strings, not the string", ""),
    ('[jobs.j]\ncommand = [""]', 2, "jobs.j.command", "no program", ""),
    ('[jobs.j]\nmodule = "a b"', 2, "jobs.j.module", "no name of a module", ""),
    ('[jobs.j]\nmodule = "-c"', 2, "jobs.j.module", "no name of a module", ""),
    # Files.
    ("[clusters.lab\n", 1, "", "no valid TOML", ""),
    ("a = 1\n[x]\nuser = ada\n", 3, "", "no valid TOML", 'in quotes: key = "text"'),
    ("[a]\n[a]\n", 2, "", "no valid TOML", ""),
    ("a = [1,\n", 2, "", "no valid TOML", ""),
    (b"# ok\na = '\xff'\n", 2, "", "not UTF-8", ""),
    ("a = " + "[" * 100_000, 0, "", "nests", ""),
    ("#" * 1_100_000, 0, "", "larger than", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "key", "message", "hint"),
    CASES,
    ids=[f"{number}-{case[2] or case[3]}" for number, case in enumerate(CASES)],
)
def test_a_defect_is_named_with_key_line_and_hint(
    tmp_path: Path, text: str | bytes, line: int, key: str, message: str, hint: str
) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1, found
    problem = found[0]
    assert (problem.key, problem.line, problem.level) == (key, line, "error")
    assert message in problem.message
    assert hint in problem.hint
    assert "geheim" not in str(problem)


def test_every_problem_of_every_file_comes_in_one_go(tmp_path: Path) -> None:
    near, far, broken = (tmp_path / name for name in ("near.toml", "far.toml", "broken.toml"))
    near.write_text('[clusters.lab]\nusr = "x"\nport = "22"\n[jobs.j]\nargs = [1, 2]\n')
    broken.write_text("[clusters\n")
    far.write_text('[launchers.x]\nkind = "?"\n')
    config, found = check([near, broken, far])
    assert config is None
    assert [(Path(p.file).name, p.line) for p in found] == [
        ("near.toml", 2),
        ("near.toml", 3),
        ("near.toml", 5),
        ("near.toml", 5),
        ("broken.toml", 1),
        ("far.toml", 2),
    ]


def test_a_syntax_error_has_its_column(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "[clusters.lab]\nport = 22 33\n")
    assert (problem.line, problem.column) == (2, 11)


def test_what_a_broken_file_may_hold_is_not_called_missing(tmp_path: Path) -> None:
    near, broken = tmp_path / "near.toml", tmp_path / "broken.toml"
    near.write_text('[jobs.j]\nscript = "x"\ncluster = "lab"\n[clusters.x]\nport = 1\n')
    broken.write_text('[clusters.lab]\nnodes = ["a"\nx\n')
    assert [Path(p.file).name for p in check([near, broken])[1]] == ["broken.toml"]


def test_a_wrong_value_does_not_also_count_as_missing(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "[jobs.j]\nscript = 1\n")) == 1
    assert len(problems(tmp_path, '[clusters.x]\nhosts = ["a"]\n')) == 1
    text = '[clusters.x]\nnodes = ["gpu[2-1]"]\n[jobs.j]\nscript = "x"\ncluster = "x"\n'
    assert len(problems(tmp_path, text)) == 1


def test_a_literal_secret_in_env_is_only_a_warning(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, LAB + 'env = { HF_TOKEN = "geheim", TOKEN = "" }\n')
    assert (problem.level, problem.line, problem.key) == (
        "warning",
        3,
        "clusters.lab.env.HF_TOKEN",
    )
    assert "geheim" not in str(problem)
    assert "secrets" in problem.hint
    assert load(tmp_path / "cockpit.toml").warnings == (problem,)


def test_a_job_larger_than_its_cluster_is_only_a_warning(tmp_path: Path) -> None:
    text = LAB + '[jobs.j]\nscript = "x"\ncluster = "lab"\nnodes = "2:3"\n'
    (problem,) = problems(tmp_path, text)
    assert (problem.level, problem.line) == ("warning", 6)
    assert "asks for 3 nodes, the cluster lab has 2" in problem.message


def test_load_raises_with_all_errors_and_without_warnings(tmp_path: Path) -> None:
    file = tmp_path / "cockpit.toml"
    file.write_text(LAB + 'usr = "x"\nport = 0\nenv = { MY_TOKEN = "x" }\n')
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert [problem.line for problem in caught.value.problems] == [3, 4]
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "folder", "unreadable"])
def test_a_named_file_that_cannot_be_read_is_a_problem_of_its_own(
    tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "x.toml"
    if kind == "folder":
        file.mkdir()
    elif kind == "unreadable":
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
        file.write_text("")
        file.chmod(0)
    config, found = check([file])
    assert config is None
    assert [problem.file for problem in found] == [str(file)]
    assert "cannot be read" in found[0].message


def test_nodes_may_share_a_host_on_different_ports(tmp_path: Path) -> None:
    text = """
[clusters.x]
nodes = [
  { name = "a", host = "127.0.0.1", port = 2201 },
  { name = "b", host = "127.0.0.1", port = 2202 },
]
"""
    assert problems(tmp_path, text) == []


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates()
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["host", "env", "cmd", "A", "password"]), inner, max_size=3
        )
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["nodes", "spares", "user", "port", "env", "secrets", "script", "command", "args", "kind",
     "executor", "identity_file", "rdzv_conf", "working_dir", "max_restarts", "grace", "x",
     "metrics", "pattern", "cause", "instrument", "on_stall", "cfg_path", "rank_section_timeouts",
     "rdzv_backend", "rank_heartbeat_timeout", "finished_flag_file", "rank_termination_signal"]
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(["clusters", "launchers", "jobs", "rules", "other"]),
        st.dictionaries(
            st.sampled_from(["local", "torchrun", "a"]),
            st.dictionaries(KEYS, VALUES, max_size=4) | VALUES,
            max_size=3,
        )
        | VALUES,
        max_size=4,
    )
)
def test_no_parsed_file_makes_the_check_fail(data: dict[str, object]) -> None:
    from cockpit.profiles.assembly import assemble, built_in
    from cockpit.profiles.checking import check_document
    from cockpit.profiles.document import Document

    document = Document("x.toml", "/", data=data)
    check_document(document)
    config = assemble([document, built_in()])
    assert config is not None or document.problems
