"""The import graph is the architecture diagram: imports point down, siblings do not know each other."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import openfsar
from openfsar.shapes import ALPHABET

PACKAGE = Path(openfsar.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

LEVELS = [
    {"shapes", "interpolation", "grouping"},
    {"episode"},  # the records every part may speak of
    {"video", "encoders", "temporal", "prototypes", "matchers", "objectives"},
    {"methods", "data"},
    {"toy", "hub"},
    {"engine", "classifier", "timeline"},
    {"serve", "studies"},
    {"cli"},
]
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}
NARROWER = {
    "data": {"shapes", "episode", "video"},
    "toy": {"shapes", "video", "data"},
    # And video: what an upload may be is read from its header before anything is decoded.
    "serve": {"classifier", "timeline", "video"},
}
"""Parts that may know less than everything below them."""

FORBIDDEN = {"torchvision", "torchaudio", "decord", "mmcv", "pytorchvideo", "open_clip", "timm", "__future__"}
LAZY = {
    *("transformers", "accelerate", "matplotlib", "huggingface_hub", "jinja2", "tensorboard", "peft"),
    *("fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client"),
}
"""Costly to import; none of them may load with the package itself."""


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module a file names, in functions too, as a dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "relative imports hide the part they name"
            if node.module == "openfsar":
                yield from (f"openfsar.{alias.name}" for alias in node.names)
            else:
                yield node.module


def annotations(tree: ast.AST) -> Iterator[str]:
    """Every shape string: the second index of a jaxtyping annotation."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.slice, ast.Tuple)
            and len(node.slice.elts) == 2
        ):
            kind, shape = node.value, node.slice.elts[1]
            if (
                isinstance(kind, ast.Name)
                and isinstance(shape, ast.Constant)
                and isinstance(shape.value, str)
            ):
                if kind.id in {"Float", "Int", "UInt8", "Bool", "Shaped", "Num", "Integer", "Complex"}:
                    yield shape.value


def violations(part: str, modules: Iterator[str] | list[str]) -> list[str]:
    """The imports of a part that do not point down."""
    wrong = []
    for module in modules:
        package, _, rest = module.partition(".")
        other = rest.partition(".")[0]
        if package == "openfsar" and other and other != part:
            allowed = NARROWER.get(part, {below for below in LEVEL if LEVEL[below] < LEVEL[part]})
            if other not in allowed:
                wrong.append(module)
    return wrong


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return  # the public names come from everywhere
    assert part in LEVEL, f"{part!r} has no place in the law: give it a level in this file and in the design"
    assert violations(part, imports(ast.parse(path.read_text()))) == []


def test_the_law_can_be_broken() -> None:
    assert violations("matchers", ["openfsar.methods.otam"]) == ["openfsar.methods.otam"]  # upwards
    assert violations("matchers", ["openfsar.encoders", "torch"]) == ["openfsar.encoders"]  # sideways
    assert violations("data", ["openfsar.encoders"]) == ["openfsar.encoders"]  # down, but not its business
    assert violations("methods", ["openfsar.matchers", "openfsar.methods.base"]) == []
    tree = ast.parse("def f():\n    from openfsar import engine\n    import openfsar.cli.main")
    assert violations("hub", imports(tree)) == ["openfsar.engine", "openfsar.cli.main"]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_imports_what_the_library_must_not_need(path: Path) -> None:
    assert {module.partition(".")[0] for module in imports(ast.parse(path.read_text()))} & FORBIDDEN == set()


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=name_of)
def test_init_files_only_re_export(path: Path) -> None:
    if path.parent == PACKAGE:
        return  # lazy names, tested below
    for node in ast.parse(path.read_text()).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        listing = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        assert docstring or listing or isinstance(node, ast.ImportFrom), ast.unparse(node)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_axis_is_a_letter_of_the_alphabet(path: Path) -> None:
    """Also allowed: rests (``*b``), ``_``, ``...``, numbers, ``#N``, ``N+1``, and arguments (``{size}``)."""
    for shape in annotations(ast.parse(path.read_text())):
        for axis in shape.split():
            letters = re.findall(r"[A-Za-z]\w*", axis.lstrip("#"))
            rest = re.fullmatch(r"#?\*#?[a-z]|\.\.\.|_|\{\w+\}", axis)
            assert rest or all(letter in ALPHABET for letter in letters), f"{axis!r} in {shape!r}"


def test_annotations_are_found() -> None:
    found = [shape for path in FILES for shape in annotations(ast.parse(path.read_text()))]
    assert len(found) > 100 and "*b Q N T U" in found


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120
    )
    return done.stdout


def test_importing_the_package_loads_nothing() -> None:
    loaded = run("import sys, openfsar; print(*sys.modules)").split()
    assert {"torch", "numpy", "av", *LAZY} & set(loaded) == set()


def test_parts_load_without_the_heavy_libraries() -> None:
    names = "create load save Clip Episode SupportSet data matchers.otam __version__".split()
    script = f"import sys, openfsar; {'; '.join(f'openfsar.{name}' for name in names)}; print(*sys.modules)"
    loaded = set(run(script).split())
    assert "torch" in loaded and LAZY & loaded == set()


def test_every_public_name_exists_and_an_unknown_one_is_an_error() -> None:
    for name in [*openfsar.__all__, "__version__"]:
        assert getattr(openfsar, name) is not None and name in dir(openfsar)
    assert openfsar.data.splits.load_split("hmdb51", "test").classes
    with pytest.raises(AttributeError, match="has no 'creat'; its public names are Clip,"):
        openfsar.creat  # noqa: B018
