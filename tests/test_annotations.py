"""Every function has its types; only what numba or Triton compiles goes without, and its entry points have them too."""

import ast
import configparser
from pathlib import Path

import rdasde

PACKAGE = Path(rdasde.__file__).parent
# decorators of what numba, and Triton (`jit`), infer the types of
INFERRED = {"compilable", "compiled_by", "generic", "implements", "intrinsic", "jit"}


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def decorators(function):
    names = [node.func if isinstance(node, ast.Call) else node for node in function.decorator_list]
    return {node.id for node in names if isinstance(node, ast.Name)}


def is_annotated(function):
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    typed = all(argument.annotation for argument in arguments if argument.arg not in ("self", "cls"))
    return typed and function.returns is not None


def test_only_compiled_functions_go_without_types():
    without = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        nested = {inner for outer in functions(tree) if outer.name == "_teach_numba" for inner in functions(outer)}
        for function in functions(tree):
            place = f"{path.relative_to(PACKAGE)}:{function.lineno} {function.name}"
            if "Kernel" in decorators(function):
                assert is_annotated(function), place
            elif not is_annotated(function):
                # what stands within `_teach_numba` is handed to numba, too
                assert decorators(function) & INFERRED or function in nested, place
                without.add(".".join(["rdasde", *path.relative_to(PACKAGE).with_suffix("").parts]))
    config = configparser.ConfigParser()
    config.read(PACKAGE.parent / "setup.cfg")
    sections = [name for name in config.sections() if name.startswith("mypy-rdasde")]
    assert len(sections) == 1
    assert set(sections[0].removeprefix("mypy-").split(",")) == without
