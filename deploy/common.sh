# shellcheck shell=bash
# Shared by the scripts of deploy/ and tests/; sourced, never run.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck disable=SC2034  # used by the scripts that source this file
VENV="$ROOT/.venv"

# Progress and errors go to stderr, so that stdout stays the caller's.
say() { printf '[%s] %s\n' "$(date +%H:%M:%S)" "$*" >&2; }

# die STATUS MESSAGE: one line that says what is wrong and what to do.
die() {
    local status=$1
    shift
    printf 'error: %s\n' "$*" >&2
    exit "$status"
}

need_value() { [ -n "${2:-}" ] || die 2 "$1 needs a value; see --help."; }

need_port() {
    case ${2:-} in
    '' | *[!0-9]* | ??????*) die 2 "$1 needs a port number from 1 to 65535, not '${2:-}'." ;;
    esac
    if [ "$2" -lt 1 ] || [ "$2" -gt 65535 ]; then die 2 "$1 needs a port number from 1 to 65535, not '$2'."; fi
}

# port_taken PORT: does anything answer on this machine?
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

usable_python() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

# find_python: prints the first Python 3.11-3.14; $PYTHON, where set, is the only candidate.
find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        usable_python "$PYTHON" || die 2 "PYTHON=$PYTHON is no Python 3.11, 3.12, 3.13 or 3.14; name one, or unset PYTHON."
        printf '%s\n' "$PYTHON"
        return
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if usable_python "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die 2 "no Python 3.11, 3.12, 3.13 or 3.14 on PATH; install one (Debian: apt-get install python3 python3-venv) or set PYTHON=/path/to/python3."
}

# run_logged LABEL LOG COMMAND...: runs it with its output in LOG and a sign of life every 15 seconds.
run_logged() {
    local label=$1 log=$2 child status=0 waited=0
    shift 2
    printf '$ %s\n' "$*" >>"$log"
    "$@" >>"$log" 2>&1 &
    child=$!
    # A background child of a script ignores Ctrl-C, so the signal is passed on.
    trap 'kill "$child" 2>/dev/null || true; exit 130' INT TERM
    while kill -0 "$child" 2>/dev/null; do
        sleep 1
        waited=$((waited + 1))
        if [ $((waited % 15)) = 0 ]; then say "$label: $waited s ... $(grep -av '^WARNING' "$log" | tail -n 1 | cut -c 1-90)"; fi
    done
    wait "$child" || status=$?
    trap - INT TERM
    return "$status"
}
