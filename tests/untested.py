"""Print the public names of texthash that no test mentions: `python tests/untested.py`. A list to read, not a gate."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def public_names(tree: ast.Module) -> Iterator[str]:
    """Names of a module: those of ``__all__``, else its documented functions and classes and their methods."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            yield from ast.literal_eval(node.value)
        yield from _documented(node)
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                yield from _documented(inner)


def _documented(node: ast.stmt) -> Iterator[str]:
    definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    if definition and not node.name.startswith("_") and ast.get_docstring(node):
        yield node.name


def main() -> None:
    words = {
        word for path in (ROOT / "tests").rglob("*.py") for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))
    }
    total = unmentioned = 0
    for path in sorted((ROOT / "texthash").rglob("*.py")):
        names = dict.fromkeys(public_names(ast.parse(path.read_text(encoding="utf-8"))))
        total += len(names)
        if missing := [name for name in names if name not in words]:
            unmentioned += len(missing)
            print(f"{path.relative_to(ROOT)}: {', '.join(missing)}")
    print(
        f"{1 - unmentioned / total:.1%} of {total} public names are in a test by name; the other {unmentioned}, "
        "which tests may reach through others, are listed by `python tests/untested.py`"
    )


if __name__ == "__main__":
    main()
