#!/usr/bin/env bash
# Makes .venv in the repository and installs texthash with the tested versions. Safe to run again: it does only what is missing.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: bash deploy/setup.sh [--extras NAMES] [--cpu | --torch-index URL]

  --extras NAMES      extras of texthash, comma separated: test, bench, text, s3, docs (added to those installed before)
  --cpu               take PyTorch's CPU build from PyTorch's own index; for Linux machines without a GPU, where
                      the default build brings gigabytes of CUDA libraries
  --torch-index URL   take PyTorch from this package index instead (also TEXTHASH_TORCH_INDEX)
  --help

PYTHON names the interpreter to use; else the first Python 3.11-3.14 on PATH. pip's own configuration is respected.
TEXT
}

NEEDED_GB=6
extras=""
torch_index="${TEXTHASH_TORCH_INDEX:-}"
while [ $# -gt 0 ]; do
    case $1 in
    --extras) need_value "$@" && extras=$2 && shift ;;
    --cpu) torch_index="https://download.pytorch.org/whl/cpu" ;;
    --torch-index) need_value "$@" && torch_index=$2 && shift ;;
    --help | -h) usage && exit 0 ;;
    *) die 2 "unknown option $1; see bash deploy/setup.sh --help." ;;
    esac
    shift
done
case $extras in *[!a-z,]*) die 2 "--extras '$extras' is no comma separated list of names, such as test,bench." ;; esac

stamp="$VENV/texthash-setup"
log="$VENV/setup.log"

if [ -e "$VENV" ] && ! usable_python "$VENV/bin/python"; then
    [ -f "$VENV/pyvenv.cfg" ] || die 1 "$VENV exists but is no virtual environment; move it away."
    say "the Python of $VENV is gone or too old: making it anew"
    rm -rf "$VENV"
fi

# What an up-to-date environment was made from. The path is part of it, since an editable install points there.
fingerprint() {
    "$VENV/bin/python" - "$ROOT" <<'CODE'
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
parts = [str(root), *((root / name).read_text() for name in ("pyproject.toml", "deploy/constraints.txt"))]
print(hashlib.sha256("\0".join(parts).encode()).hexdigest())
CODE
}

installed_key="" installed_extras=""
if [ -f "$stamp" ]; then { read -r installed_key && read -r installed_extras; } <"$stamp" || true; fi
extras=$(printf '%s\n' "$installed_extras" "$extras" | tr ',' '\n' | sed '/^$/d' | sort -u | paste -sd, -)
if [ -f "$stamp" ] && [ "$extras" = "$installed_extras" ] && [ "$installed_key" = "$(fingerprint)" ]; then
    say "set-up: .venv is up to date (extras: ${extras:-none})"
    exit 0
fi

free_gb=$(($(df -Pk "$ROOT" | awk 'NR == 2 { print $4 }') / 1048576))
[ -f "$stamp" ] || [ "$free_gb" -ge "$NEEDED_GB" ] ||
    die 1 "only $free_gb GB free at $ROOT, the set-up needs $NEEDED_GB GB; free some, or clone to a larger disk."

started=$SECONDS
if [ ! -d "$VENV" ]; then
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die 1 "$python has no venv module; install it (Debian: apt-get install python3-venv) and run this again."
    say "set-up: making .venv with $("$python" --version)"
    "$python" -m venv "$VENV" || die 1 "$python -m venv $VENV failed; see the lines above."
fi
rm -f "$stamp"

# Python compiles what it imports; to compile all packages at once takes a third of the set-up, most of it for nothing.
# But where it may keep no bytecode, as in many images, each process would compile PyTorch, Ray and MLflow for itself.
compile_pip=--no-compile compile_uv=""
[ -z "${PYTHONDONTWRITEBYTECODE:-}" ] || { compile_pip=--compile compile_uv=--compile-bytecode; }
by_pip() { run_logged "$1" "$log" "$VENV/bin/python" -m pip install --no-input "$compile_pip" --progress-bar off "${@:2}"; }

# uv installs the same versions in a fifth of the time. What pip's configuration says holds for it too; where uv cannot be
# had or has no word for a setting, and wherever it fails, pip installs.
export UV_LINK_MODE=copy # NLTK refuses to read data files that are hard links, as uv makes them to its cache
uv=""
find_uv() {
    local setting settings name unknown
    uv=$(command -v uv || true)
    if [ -z "$uv" ] && by_pip uv "$(grep '^uv==' "$ROOT/deploy/constraints.txt")"; then uv="$VENV/bin/uv"; fi
    [ -x "$uv" ] || { uv="" && return; }
    unknown=$(mktemp)
    if settings=$("$VENV/bin/python" -m pip config list 2>>"$log" | "$VENV/bin/python" "$ROOT/deploy/uv_settings.py" 2>"$unknown"); then
        while IFS= read -r setting; do
            name=${setting%%=*}
            [ -n "${!name:-}" ] || export "${setting?}" # the user's own stays
        done <<<"$settings"
    else
        say "set-up: pip installs, since uv has no word for a setting of pip: $(head -n 1 "$unknown")"
        uv=""
    fi
    rm -f "$unknown"
}

install() {
    local label=$1
    shift
    say "set-up: installing $label (log: $log)"
    if [ -n "$uv" ]; then
        run_logged "installing $label" "$log" "$uv" pip install --python "$VENV/bin/python" --no-progress ${compile_uv:+"$compile_uv"} "$@" && return
        say "set-up: uv could not install $label (see $log); pip tries it"
        uv=""
    fi
    by_pip "installing $label" "$@" ||
        die 1 "installing $label failed: $(grep -a '^ERROR' "$log" | tail -n 1 | cut -c 1-200); see $log, check the network and pip's index, and run this again."
}

if [ -z "$torch_index" ] && [ ! -f "$log" ] && [ "$(uname -s)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1; then
    say "set-up: no GPU found; if CUDA libraries are now fetched, stop and use --cpu for the smaller CPU build"
fi
find_uv
torch=$(grep '^torch==' "$ROOT/deploy/constraints.txt")
install "$torch" "$torch" -c "$ROOT/deploy/constraints.txt" ${torch_index:+--index-url "$torch_index"}
install "texthash and what it needs" -e "$ROOT${extras:+[$extras]}" -c "$ROOT/deploy/constraints.txt"

printf '%s\n%s\n' "$(fingerprint)" "$extras" >"$stamp.new"
mv "$stamp.new" "$stamp"
say "set-up: done in $((SECONDS - started)) s"
