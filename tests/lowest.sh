#!/usr/bin/env bash
# Checks the lower bounds of pyproject.toml with uv: they resolve, from wheels alone, on every Python that is claimed, and
# none of them is lower than what can be installed. With --install, the quick tests run on them. Not part of tests/run.sh.
#
#   bash tests/lowest.sh              resolve for Python 3.11 to 3.14; takes metadata from the package index
#   bash tests/lowest.sh --install    also install the lowest versions beside .venv and test them; several gigabytes
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/common.sh"
cd "$ROOT"

case ${1:-} in
'' | --install) ;;
*) die 2 "unknown option $1; there is --install." ;;
esac
extras=(--extra text --extra umap --extra s3 --extra bench --extra test
    --extra langchain --extra llamaindex --extra haystack --extra faiss --extra usearch
    --extra duckdb --extra qdrant --extra sentencetransformers --extra mteb --extra hub) # those of docs build the site alone
scratch=$(mktemp -d /tmp/texthash-lowest.XXXXXX)
trap 'rm -rf "$scratch"' EXIT

uv=$(command -v uv) || {
    "$(find_python)" -m venv "$scratch/uv" && "$scratch/uv/bin/python" -m pip install -q uv || die 1 "uv cannot be installed."
    uv=$scratch/uv/bin/uv
}

# s3fs needs the fsspec of its own date: without this, the newest fsspec is taken, and so the newest s3fs.
echo "fsspec>=2025.3" >"$scratch/fsspec.in"

for version in 3.11 3.12 3.13 3.14; do
    for resolution in lowest-direct highest; do
        say "Python $version: $resolution"
        "$uv" pip compile --quiet --no-header --no-annotate "${extras[@]}" --only-binary :all: --resolution "$resolution" \
            --python-version "$version" --python-platform x86_64-manylinux_2_28 pyproject.toml "$scratch/fsspec.in" \
            -o "$scratch/$resolution-$version.txt" || die 1 "nothing resolves on Python $version ($resolution)."
    done
done

"$uv" run --quiet --no-project --with packaging python - "$scratch/lowest-direct-3.11.txt" <<'CODE' || die 1 "raise the bounds above."
import sys, tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

lines = open(sys.argv[1], encoding="utf-8").read().split("\n")
lowest = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines if "==" in line)}
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
extras = [group for name, group in project["optional-dependencies"].items() if name != "docs"]
declared = [project["dependencies"], *extras]
raised = 0
for text in sorted({text for group in declared for text in group}):
    wanted = Requirement(text)
    (bound,) = [limit.version for limit in wanted.specifier if limit.operator == ">="]
    found = lowest[canonicalize_name(wanted.name)].split(" ")[0]
    if Version(found).release[: len(Version(bound).release)] != Version(bound).release:
        print(f"{text}: the lowest that can be installed with the others on Python 3.11 is {found}")
        raised += 1
sys.exit(raised > 0)
CODE

if [ "${1:-}" = --install ]; then
    say "installing the lowest versions into $scratch/venv"
    "$uv" venv --quiet --python 3.11 "$scratch/venv"
    "$uv" pip install --quiet --python "$scratch/venv/bin/python" -r "$scratch/lowest-direct-3.11.txt" --no-deps
    "$scratch/venv/bin/python" -m pytest -q -p no:cacheprovider -m "not slow and not ray and not browser" \
        tests/hamming tests/nn tests/local tests/test_config.py tests/test_import.py
fi
say "the bounds hold"
