"""A function runs once a module has been imported, and nobody can tell that it was waiting."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import textwrap

import pytest

from cockpit.node.rank import afterimport

FILE = afterimport.__file__


class Bench:
    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.write("pack/__init__.py", "from pack import first, second\n")
        self.write("pack/first.py", "import pack.other\nmade = 1\ndef f():\n    return 'source'\n")
        self.write("pack/second.py", "made = 2\n")
        self.write("pack/other.py", "")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def run(self, script: str, wait: str = "pack.first pack.second") -> list[str]:
        """The lines that `script` prints in a fresh interpreter that waits for modules."""
        self.write(
            "main.py",
            f"""
            import importlib.machinery, sys, types
            plain = list(sys.meta_path)
            loader = importlib.machinery.SourceFileLoader("private", {FILE!r})
            private = types.ModuleType("private")
            loader.exec_module(private)
            def then(module): print("then", module.__name__, module.made)
            def wait(): private.call({{name: then for name in {wait.split()!r}}})
            """,
        )
        with open(self.folder / "main.py", "a") as file:
            file.write(textwrap.dedent(script))
        done = subprocess.run(
            [sys.executable, "main.py"], cwd=self.folder, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture
def bench(tmp_path: pathlib.Path) -> Bench:
    return Bench(tmp_path)


BOTH = ["then pack.first 1", "then pack.second 2"]


def test_each_function_runs_right_after_its_module_and_no_trace_stays(bench: Bench) -> None:
    script = """
    wait()
    assert sys.modules.keys().isdisjoint({"pack", "pack.first"})
    assert sys.meta_path[1:] == plain
    import pack
    print("imported")
    assert sys.meta_path == plain
    import importlib, inspect, pickle, pkgutil
    assert type(pack.first.__loader__) is importlib.machinery.SourceFileLoader
    assert vars(pack.first.__loader__).keys() == vars(pack.other.__loader__).keys()
    assert pack.first.__spec__.loader is pack.first.__loader__
    assert "return 'source'" in inspect.getsource(pack.first.f)
    assert pickle.loads(pickle.dumps(pack.first.f)) is pack.first.f
    assert sorted(m.name for m in pkgutil.walk_packages(pack.__path__)) == [
        "first", "other", "second"]
    importlib.reload(pack.first)
    importlib.reload(pack)
    """
    assert bench.run(script) == [*BOTH, "imported"]


def test_a_module_that_is_there_already_is_told_at_once(bench: Bench) -> None:
    script = """
    import pack
    wait()
    assert sys.meta_path == plain
    """
    assert bench.run(script) == BOTH


def test_looking_for_the_module_is_not_importing_it(bench: Bench) -> None:
    script = """
    wait()
    import importlib.util
    sys.modules["pack"] = types.ModuleType("pack")
    sys.modules["pack"].__path__ = ["pack"]
    for _ in range(2):
        spec = importlib.util.find_spec("pack.first")
        print(spec.origin.rpartition("/")[2])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    """
    assert bench.run(script, "pack.first") == ["first.py", "first.py", "then pack.first 1"]


def test_a_module_that_fails_is_told_when_it_succeeds(bench: Bench) -> None:
    bench.write("flaky.py", "import sys\nmade = sys.made\n")
    script = """
    wait()
    try:
        import flaky
    except AttributeError as error:
        print("failed", error.__traceback__.tb_next is not None)
    sys.made = 3
    import flaky
    assert sys.meta_path == plain
    """
    assert bench.run(script, "flaky") == ["failed True", "then flaky 3"]


def test_a_module_that_is_not_there_is_missed_as_ever(bench: Bench) -> None:
    script = """
    wait()
    try:
        import nothing
    except ModuleNotFoundError as error:
        print(error)
    """
    assert bench.run(script, "nothing") == ["No module named 'nothing'"]


def test_other_finders_keep_their_say(bench: Bench) -> None:
    """Also one whose loader takes no attribute: then nothing is told, and all is as ever."""
    script = """
    import importlib.util
    class Loader:
        __slots__ = ("made",)
        def __init__(self, made): self.made = made
        def create_module(self, spec): return None
        def exec_module(self, module): module.made = self.made
    class Open(Loader): pass
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.startswith("virtual"):
                kind = Open if name == "virtual_open" else Loader
                return importlib.util.spec_from_loader(name, kind("theirs"))
    sys.meta_path.append(Finder())
    wait()
    import virtual_other, virtual, virtual_open
    print(virtual_other.made, virtual.made, virtual_open.made)
    """
    told = bench.run(script, "virtual virtual_open")
    assert told == ["then virtual_open theirs", "theirs theirs theirs"]


def test_a_finder_that_raises_is_heard_by_the_import_and_ours_is_gone(bench: Bench) -> None:
    script = """
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "pack.first":
                raise ImportError("not this one")
    theirs = Finder()
    sys.meta_path.insert(0, theirs)
    wait()
    try:
        import pack
    except ImportError as error:
        print(error)
    assert sys.meta_path == [theirs, *plain]
    """
    assert bench.run(script) == ["not this one"]


def test_whoever_walks_along_the_finders_meanwhile_misses_none(bench: Bench) -> None:
    script = """
    wait()
    seen = []
    for finder in sys.meta_path:
        import pack
        seen.append(finder)
    assert seen[1:] == plain, seen
    """
    assert bench.run(script) == BOTH


def test_a_zip_archive_loads_others_with_the_same_loader(bench: Bench) -> None:
    script = """
    import zipfile
    with zipfile.ZipFile("lib.zip", "w") as file:
        file.writestr("one.py", "import two\\nmade = 1\\n")
        file.writestr("two.py", "made = 2\\n")
    sys.path.insert(0, "lib.zip")
    wait()
    import one
    assert "exec_module" not in vars(one.__loader__)
    """
    assert bench.run(script, "one") == ["then one 1"]
