"""The rules of the house that a machine can check, read from the source without importing it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"pruneguard": "pruneguard", "export": "pruneguard.export", "runtime": "pruneguard.runtime"}
HEAVY = ("torch", "diffusers", "transformers", "accelerate", "onnx", "onnxruntime", "datasets", "matplotlib")
TEXTS = (".py", ".toml", ".md", ".html", ".txt", ".yml", ".yaml", ".sh", "Makefile", "run")

MOST_MODULES = 14

# The parts from the lowest to the highest, and what each may import of ours besides itself. A part may name only parts
# that stand above it in this table, which are the lower ones.
BASE = ("errors", "settings", "registry", "measurement")
ALLOWED: dict[str, tuple[str, ...]] = {
    "errors": (),
    "staging": (),
    "versions": (),
    "weights": ("errors",),
    "macs": ("errors",),
    "settings": ("errors",),
    "registry": ("errors", "settings"),
    "measurement": ("errors", "settings"),
    "bundle": (*BASE, "staging"),
    "text": BASE,
    "runtime": (*BASE, "bundle", "text"),
    "atelier": ("errors",),
    "pruning": (*BASE, "macs"),
    "sources": ("errors",),
    "models": (*BASE, "staging", "weights", "sources", "pruning", "atelier", "runtime"),
    "concepts": (*BASE, "text"),
    "diffusion": BASE,
    "runs": (*BASE, "staging"),
    "data": (*BASE, "text", "runtime", "models", "diffusion", "runs"),
    "export": (*BASE, "bundle", "runtime", "models", "macs", "staging", "versions"),
    "erasure": (*BASE, "text", "runtime", "models", "concepts", "diffusion", "runs", "data"),
    "training": (
        *BASE,
        *("text", "runtime", "pruning", "models", "concepts", "diffusion", "runs", "data", "erasure", "staging"),
    ),
    "evaluation": (*BASE, "bundle", "text", "runtime", "models", "sources", "concepts", "runs", "staging"),
    "families": (
        *BASE,
        *("bundle", "text", "atelier", "models", "concepts", "runs", "data", "erasure", "training", "evaluation"),
    ),
}
ALLOWED["stages"] = tuple(ALLOWED)
ALLOWED["cli"] = tuple(ALLOWED)


def _modules() -> dict[str, Path]:
    """Module name -> file, of everything that is installed."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            inside = path.relative_to(ROOT / folder)
            if inside.parts[0] in FOLDERS:  # the links inside pruneguard/ lead to the folders beside it
                continue
            parts = [package, *inside.with_suffix("").parts]
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = _modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def _imports(module: str, *, at_import_only: bool = False) -> Iterator[str]:
    """Absolute names of the modules that a module imports; `at_import_only` skips functions and TYPE_CHECKING."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    nodes = _at_import(TREES[module]) if at_import_only else ast.walk(TREES[module])
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (above, node.module) if part)
            names = (f"{source}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else source for name in names)
        elif isinstance(node, ast.keyword) and node.arg == "packages":  # a registry imports these packages on first use
            yield from ast.literal_eval(node.value)


def _at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if lazy or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            continue
        yield node
        yield from _at_import(node)


def _part(module: str) -> str:
    """`training` of `pruneguard.training.trainer`; empty for the package itself and for other packages."""
    names = module.split(".")
    return names[1] if names[0] == "pruneguard" and len(names) > 1 else ""


def _definitions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


def test_the_rules_see_the_whole_package() -> None:
    assert {_part(module) for module in MODULES} == {*ALLOWED, "", "__main__"}
    assert set(_imports("pruneguard.runtime.sampling.sampler")) >= {
        "pruneguard.errors",
        "pruneguard.runtime.sampling.solver",
    }
    assert "pruneguard.evaluation.detectors" in set(_imports("pruneguard.evaluation.detectors.detector"))
    assert "torch" in set(_imports("pruneguard.runtime.engines.torch_engine"))
    assert "torch" not in set(_imports("pruneguard.runtime.engines.torch_engine", at_import_only=True))


def test_a_part_imports_only_what_it_may() -> None:
    """Imports inside functions and for type checking count as well."""
    wrong = {}
    for module in MODULES:
        part = _part(module)
        allowed = {"", part, *ALLOWED.get(part, ("models", "cli"))}  # the package itself and __main__ pass these on
        if imported := {_part(name) for name in _imports(module)} - allowed:
            wrong[module] = sorted(imported)
    assert wrong == {}


def test_no_tie_runs_upwards() -> None:
    places = {part: place for place, part in enumerate(ALLOWED)}
    upwards = [(part, lower) for part, allowed in ALLOWED.items() for lower in allowed if places[lower] >= places[part]]
    assert upwards == []


def test_models_know_where_ateliers_weights_lie_and_nothing_of_its_world() -> None:
    names = {name for name in _imports("pruneguard.models") if _part(name) == "atelier"}
    assert names == {"pruneguard.atelier"}


def test_no_folder_has_many_modules() -> None:
    folders = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    assert {folder.relative_to(ROOT).as_posix(): n for folder, n in folders.items() if n > MOST_MODULES} == {}


def _programs() -> Iterator[tuple[Path, ast.Module]]:
    """All installed modules and the benchmarks."""
    for module, tree in TREES.items():
        yield MODULES[module], tree
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def _compares_families(node: ast.AST) -> bool:
    """Whether a node asks which family something is, as in `family == "atelier"` or `match family:`."""
    if isinstance(node, ast.Match):
        return "family" in ast.unparse(node.subject)
    return isinstance(node, ast.Compare) and any(
        re.search(r"\bfamily\b", ast.unparse(part)) and not isinstance(operator, ast.Is | ast.IsNot)
        for part, operator in zip([node.left, *node.comparators], [node.ops[0], *node.ops], strict=True)
    )


def test_nothing_asks_which_family_a_model_has() -> None:
    """A family's own object answers; code outside `families` calls it."""
    assert _compares_families(ast.parse('settings.family.name == "atelier"', mode="eval").body)
    assert not _compares_families(ast.parse("families.count == 1", mode="eval").body)
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in _programs()
        for node in ast.walk(tree)
        if _compares_families(node) and isinstance(node, ast.Compare | ast.Match)
    ]
    assert found == []


def _words(node: ast.AST) -> set[object]:
    """The constants of a tuple, list or set, or of a dictionary's keys."""
    entries: list[ast.expr | None] = []
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        entries = [*node.elts]
    elif isinstance(node, ast.Dict):
        entries = [*node.keys]
    return {entry.value for entry in entries if isinstance(entry, ast.Constant)}


def test_the_attributes_of_ateliers_world_are_listed_in_atelier_only() -> None:
    attributes = {"object", "style", "colour"}
    assert _words(ast.parse('{"colour": 1, "style": 2, "object": 3}', mode="eval").body) >= attributes
    found = [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        for path, tree in _programs()
        if "atelier" not in path.relative_to(ROOT).parts[:-1]
        for node in ast.walk(tree)
        if _words(node) >= attributes
    ]
    assert found == []


def test_inside_export_and_runtime_imports_of_their_own_modules_are_relative() -> None:
    absolute = [
        f"{module}:{node.lineno}"
        for module in MODULES
        if (part := _part(module)) in ("export", "runtime")
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.ImportFrom) and not node.level and f"{node.module}.".startswith(f"pruneguard.{part}.")
    ]
    assert absolute == []


@pytest.mark.parametrize("package", ["export", "runtime"])
def test_the_folders_at_the_root_refuse_to_be_imported_by_their_own_name(package: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {package}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"ImportError: import pruneguard.{package}" in done.stderr


def test_what_must_start_fast_imports_nothing_heavy_at_import() -> None:
    light = ("", *BASE, "text", "runtime", "bundle", "staging", "versions", "cli", "__main__")
    heavy = {
        module: found
        for module in MODULES
        if _part(module) in light
        and (found := {name.split(".")[0] for name in _imports(module, at_import_only=True)} & set(HEAVY))
    }
    assert heavy == {}


@pytest.mark.parametrize(
    "statement",
    [
        "import pruneguard.runtime, pruneguard.bundle",
        "import pruneguard.cli; assert pruneguard.cli.run(['--help']) == 0",
        "import pruneguard.cli; assert pruneguard.cli.run(['train', '--help']) == 0",
        "import pruneguard.cli; assert pruneguard.cli.run(['verify', '--bundle', 'none']) == 1",
    ],
)
def test_a_fresh_process_loads_no_heavy_library(statement: str) -> None:
    code = f"import sys; {statement}; print('loaded', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_files_and_functions_are_short() -> None:
    files = {module: lines for module, path in MODULES.items() if (lines := len(path.read_text().splitlines())) > 400}
    functions = {
        f"{module}.{node.name}": lines
        for module in MODULES
        for node in _definitions(module)
        if not isinstance(node, ast.ClassDef) and (lines := (node.end_lineno or 0) - node.lineno + 1) > 80
    }
    assert files == {}
    assert functions == {}


def test_nothing_can_run_code_from_a_file() -> None:
    readers = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    calls = {"torch.load", "torch.save", "eval", "exec", "__import__"}
    options = {"trust_remote_code", "allow_pickle"}
    found = [
        f"{module}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func) in calls or {keyword.arg for keyword in node.keywords} & options)
    ]
    imported = [module for module in MODULES if {name.split(".")[0] for name in _imports(module)} & readers]
    assert found == []
    assert imported == []


def test_modules_public_functions_and_classes_say_what_they_are_for() -> None:
    silent = [module for module, tree in TREES.items() if tree.body and not ast.get_docstring(tree)]
    silent += [
        f"{module}.{node.name}"
        for module, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_names_are_nouns_of_the_field() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "processor", "common", "misc"}
    assert [module for module in MODULES if set(module.split(".")) & vague] == []
    classes = (node.name for module in MODULES for node in _definitions(module) if isinstance(node, ast.ClassDef))
    assert [name for name in classes if re.search(r"(Helper|Manager|Util)s?$", name)] == []


def _texts() -> list[Path]:
    """Every text that is part of the project: source, tests, configuration and pages."""
    folders = ("pruneguard", "export", "runtime", "tests", "benchmarks", ".ci")
    inside = [path for folder in folders if (ROOT / folder).is_dir() for path in sorted((ROOT / folder).rglob("*"))]
    links = (ROOT / "pruneguard/export", ROOT / "pruneguard/runtime")
    return [
        path
        for path in [*sorted(ROOT.iterdir()), *inside]
        if path.is_file()
        and path.name.endswith(TEXTS)
        and "__pycache__" not in path.parts
        and not any(link in path.parents for link in links)
    ]


def test_no_text_names_a_machine() -> None:
    """A path of somebody's machine, or the host of a mirror, works nowhere else."""
    homes = "|".join(("home", "root", "work", "Users", "mnt", "workspace"))
    places = re.compile(rf"(?<![\w.~/])/({homes})/[\w.-]+")
    mirrors = re.compile(r"https?://[\w.-]*(artifactory|nexus|jfrog|mirror|devpi|localhost|\d+\.\d+\.\d+\.\d+)")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if places.search(line) or mirrors.search(line)
    ]
    assert found == []
