# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Rules of the repository: who imports whom, what every file begins with, what the wheel holds.

`modeling_collap/` and `processing/` are copied flat into a model repository on the Hub, so a careless import there
breaks published models, not this checkout. That is why the rules are tests.
"""

import ast
import importlib.metadata
import itertools
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import collap

REPOSITORY = Path(__file__).resolve().parents[1]
COPYRIGHT = "# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0."

INNER_ROOMS = ("modeling_collap", "processing")

# What may be imported from outside, beside the standard library. A model opens no audio and reads no text.
MAY_USE = {
    "modeling_collap": {"torch", "transformers", "huggingface_hub", "safetensors"},
    "processing": {"torch", "transformers", "huggingface_hub", "numpy", "av", "soxr", "sentencex"},
}


def tracked_files() -> list[Path]:
    """Files of the checkout that git knows or would take, relative to its root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return sorted({Path(line) for line in listing.splitlines() if (REPOSITORY / line).is_file()})


FILES = tracked_files()
PYTHON_FILES = [path for path in FILES if path.suffix == ".py"]
pytestmark = pytest.mark.skipif(not FILES, reason="not a git checkout")


def in_room(path: Path, *rooms: str) -> bool:
    return path.parts[0] in rooms


def parse(path: Path) -> ast.Module:
    return ast.parse((REPOSITORY / path).read_text(encoding="utf-8"), filename=str(path))


def imports_of(path: Path) -> list[tuple[int, str, list[str]]]:
    """All imports of a file, also those inside functions, as `(level, module, names)`."""
    found = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or "", [alias.name for alias in node.names]))
        elif isinstance(node, ast.Import):
            found.extend((0, alias.name, []) for alias in node.names)
    return found


def import_fault(room: str, level: int, module: str, names: list[str]) -> str | None:
    """What is wrong with an import in an inner room, or None."""
    if level > 1:
        return "only from .sibling import name: the Hub has no folders above or below"
    if level == 1 and not module:
        return "from . import name: the Hub silently leaves such a file behind"
    if level == 1 and not (REPOSITORY / room / f"{module}.py").is_file():
        return "no such sibling"
    if names == ["*"]:
        return "name what is taken"
    package = module.split(".")[0]
    if level == 0 and package not in sys.stdlib_module_names and package not in MAY_USE[room]:
        return f"not for {room}"
    return None


def test_inner_rooms_import_siblings_and_nothing_of_ours_besides() -> None:
    faults = []
    for path in PYTHON_FILES:
        if in_room(path, *INNER_ROOMS):
            assert len(path.parts) == 2, f"{path}: an inner room is flat, the Hub copies its files by their basenames"
            for imported in imports_of(path):
                fault = import_fault(path.parts[0], *imported)
                faults += [f"{path}: {imported}: {fault}"] if fault else []
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("rooms", [INNER_ROOMS, ("tests",)], ids=["inner rooms", "tests"])
def test_basenames_are_unique(rooms: tuple[str, ...]) -> None:
    """The Hub copies the inner rooms flat, and pytest imports test files by their basenames."""
    files = [path for path in PYTHON_FILES if in_room(path, *rooms) and "stubs" not in path.parts]
    counts = Counter(path.name for path in files if path.name not in ("__init__.py", "conftest.py"))
    assert [name for name, count in counts.items() if count > 1] == []


# Which parts of the package a part may import, beside itself, the two inner rooms and the public names of `collap`.
EVERYWHERE = {"extras", "files", "progress", "modeling_collap", "processing"}
MAY_IMPORT = {
    "__init__": {"towers", "hub"},  # what is pushed brings its code
    "__main__": {"cli"},
    "cli": set(),  # its commands are imported when they are called
    "extras": set(),
    "files": set(),
    "progress": set(),
    "metrics": set(),
    "towers": set(),
    "precision": set(),
    "data": {"cli"},
    "encode": {"data", "precision"},
    "baselines": {"data", "encode", "metrics"},
    "captioning": {"data", "encode", "cli"},
    "training": {"data", "encode", "metrics", "baselines", "hub", "cli"},
    "evaluation": {"data", "encode", "metrics", "baselines", "precision"},
    "search": {"data", "encode", "metrics", "baselines", "evaluation", "cli", "precision"},
    "hub": {"metrics", "cli", "data", "captioning"},
    "export": {"cli"},
}


def test_the_parts_of_the_package_import_one_way() -> None:
    """Training and evaluation never import each other, data imports neither."""
    faults = []
    for path in PYTHON_FILES:
        if not in_room(path, "collap"):
            continue
        part = path.with_suffix("").parts[1]
        for level, module, _ in imports_of(path):
            parts = module.split(".")
            assert level < 2, f"{path}: write `from collap....` in place of {'.' * level}{module}"
            inside = level == 0 and parts[0] == "collap" and len(parts) > 1
            if inside and parts[1] not in EVERYWHERE | MAY_IMPORT[part] | {part}:
                faults.append(f"{path}: {module}")
    assert not faults, "\n".join(faults)


def test_ours_is_imported_as_collap() -> None:
    """As any user does: a bare `import processing` finds the user's file of that name, or nothing."""
    faults = []
    for path in PYTHON_FILES:
        imported = {module.split(".")[0] for level, module, _ in imports_of(path) if level == 0}
        forbidden = set(INNER_ROOMS)
        if in_room(path, "collap", *INNER_ROOMS):
            forbidden |= {"examples", "benchmarks", "tests"}  # not in the wheel
        if in_room(path, "examples"):
            siblings = {other.stem for other in PYTHON_FILES if in_room(other, "examples")}
            forbidden |= siblings - {"run"} | {"examples", "tests"}
            if "demo" not in path.parts:  # the demo is a small run of the benchmark's pipeline
                forbidden |= {"benchmarks"}
        faults += [f"{path}: import {name}" for name in sorted(imported & forbidden)]
        if not in_room(path, "tests") and "sys.path" in (REPOSITORY / path).read_text(encoding="utf-8"):
            faults.append(f"{path}: sys.path")
    assert not faults, "\n".join(faults)


def test_no_script_has_the_name_of_a_library() -> None:
    """A script's folder comes first on the path: `examples/accelerate` would hide the library of that name."""
    project = read_pyproject()["project"]
    extras = itertools.chain(*project["optional-dependencies"].values())
    libraries = {Requirement(line).name.replace("-", "_") for line in [*project["dependencies"], *extras]}
    names = {part for path in PYTHON_FILES if in_room(path, "examples") for part in path.with_suffix("").parts}
    assert names & libraries == set()


def test_the_face_offers_what_it_says() -> None:
    assert collap.__all__
    for name in collap.__all__:
        assert getattr(collap, name).__doc__ or name == "__version__", f"collap.{name} has no docstring"


def test_python_files_begin_with_the_copyright() -> None:
    texts = {path: (REPOSITORY / path).read_text(encoding="utf-8") for path in PYTHON_FILES}
    assert [str(path) for path, text in texts.items() if not text.startswith(COPYRIGHT + "\n")] == []


def test_no_file_names_a_place_on_one_machine() -> None:
    faults = []
    for path in FILES:
        try:
            text = (REPOSITORY / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture, say
            continue
        faults += [f"{path}: {found}" for found in re.findall(r"(?<![\w.:/])/(?:work|root|home|Users)/\S*", text)]
    assert not faults, "\n".join(faults)


def read_pyproject() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def test_one_version_everywhere() -> None:
    version = read_pyproject()["project"]["version"]
    assert collap.__version__ == version
    assert importlib.metadata.version("collap") == version
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, flags=re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == version


def test_constraints_pin_every_dependency_inside_its_range() -> None:
    project = read_pyproject()["project"]
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, separator, version = line.partition("==")
            assert separator, f"constraints.txt does not pin: {line}"
            pins[canonicalize_name(name)] = version
    extras = project["optional-dependencies"].values()
    for requirement in map(Requirement, [*project["dependencies"], *itertools.chain(*extras)]):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), str(requirement)


def test_the_wheel_holds_the_packages_and_nothing_else(tmp_path: Path) -> None:
    source, wheels, unpacked = tmp_path / "source", tmp_path / "wheels", tmp_path / "unpacked"
    for path in FILES:  # a copy, because a build leaves its folders in the tree it builds
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, source / path)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(wheels)]
    build = subprocess.run([*pip, *options, str(source)], capture_output=True, text=True, check=False)
    if build.returncode and "setuptools" in build.stderr:
        pytest.skip("no setuptools here to build with")
    assert build.returncode == 0, build.stderr

    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(unpacked)
    expected = {path.as_posix() for path in PYTHON_FILES if in_room(path, "collap")}
    expected |= {f"collap/{path.as_posix()}" for path in PYTHON_FILES if in_room(path, *INNER_ROOMS)}
    jsons = ("modules.json", "sentence_bert_config.json")
    cards = ("dataset_card.md", "model_card.md", "model_card_beats.md")
    expected |= {f"collap/hub/{name}" for name in ("LICENSE", *jsons, *cards)}
    expected |= {path.as_posix() for path in FILES if in_room(path, "collap") and "page" in path.parts}
    expected |= {"collap/py.typed", "collap/captioning/prompts.json"}
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith("/licenses/LICENSE") for name in names)

    # What was built is imported from where it was unpacked, with every name of the face.
    check = "import collap; assert all(hasattr(collap, name) for name in collap.__all__); print(collap.__file__)"
    run = run_python(f"import sys; sys.path.insert(0, {str(unpacked)!r}); {check}", tmp_path)
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip()).is_relative_to(unpacked)


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


# Where the extra is not installed. A library that is None in sys.modules is not found.
WITHOUT_EXTRA = """
import importlib, pkgutil, sys
for name in ("accelerate", "datasets", "evaluate", "matplotlib", "pandas", "peft", "pyarrow", "soundfile"):
    sys.modules[name] = None
import collap
assert "av" not in sys.modules  # FFmpeg is loaded when a file of audio is
for found in pkgutil.walk_packages(collap.__path__, "collap."):
    try:
        importlib.import_module(found.name) if found.name != "collap.__main__" else None
        print(found.name)
    except ImportError as error:
        assert str(error).endswith(': pip install ".[train]" in a checkout'), (found.name, error)
from collap.cli import main
sys.exit(main(["validate", "songs.jsonl"]))
"""


def test_the_wheel_alone_says_which_extra_is_missing(tmp_path: Path) -> None:
    run = run_python(WITHOUT_EXTRA, tmp_path)
    assert run.returncode == 1, run.stderr
    assert run.stderr.splitlines()[-1] == (
        'collap validate: accelerate and datasets must be installed for this: pip install ".[train]" in a checkout'
    )
    loaded = set(run.stdout.splitlines())
    assert {"collap.towers", "collap.hub.push", "collap.metrics"} <= loaded  # what `publish` and `from_towers` need
    assert not [name for name in loaded if name.startswith(("collap.data", "collap.encode", "collap.training."))]


def test_python_m_collap(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-m", "collap", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("usage: collap [-h]")
