#!/usr/bin/env bash
# The one test command: set-up, quality gates, pytest. Arguments go to pytest: bash tests/run.sh -m slow tests/training
# TEXTHASH_TEST_CLUSTERS is the number of clusters beside each other, each of about 2 GB: 2 by default.
# TEXTHASH_TEST_COVERAGE=1 measures the lines that ran before Python 3.12 too, where that takes a quarter of the time. TMPDIR names the folder of the tests' files.
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/common.sh"
cd "$ROOT"

unset PYTHONDONTWRITEBYTECODE # or each of thousands of processes would compile PyTorch, Ray and MLflow for itself
bash deploy/setup.sh --extras test,text,docs
PATH="$VENV/bin:$PATH"

# Tests look for these themselves and skip with the reason where there is none.
debian() {
    local command=$1 package=$2 log
    command -v "$command" >/dev/null && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "no $command; its tests are skipped. Install it (Debian, as root: apt-get install $package) to run them"
        return
    fi
    say "$command: installing Debian's package"
    log=$(mktemp)
    { run_logged "$package" "$log" apt-get update &&
        run_logged "$package" "$log" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"; } ||
        say "$package could not be installed (see $log); its tests are skipped"
}
command -v google-chrome >/dev/null || debian chromium chromium
debian shellcheck shellcheck

# Every process of the tests inherits the mark, by which those left over are found at the end.
mark="tests-$$-$(date +%s)"
scratch=$(mktemp -d /tmp/texthash-tests.XXXXXX)
# The tests' files are in memory where there is room for them, since thousands of writes wait for a disk.
memory_mb=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo 2>/dev/null || true)
memory_mb=${memory_mb:-0}
in_memory() {
    [ "$memory_mb" -ge 12000 ] && [ "$(df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')" -ge 8000 ] &&
        ! findmnt --noheadings --output OPTIONS /dev/shm | grep -qw noexec # tests write programs too
} 2>/dev/null
files=${TMPDIR:-$(in_memory && echo /dev/shm || echo /tmp)}
files=$(mktemp -d "$files/th.XXXXXX") # short, for the paths of sockets
export TMPDIR=$files
clusters_at_once=${TEXTHASH_TEST_CLUSTERS:-2}
unset TEXTHASH_HOME TEXTHASH_DATA RAY_ADDRESS
export TEXTHASH_MARK=$mark RAY_TMPDIR=$scratch RAY_USAGE_STATS_ENABLED=0
export COVERAGE_FILE=$scratch/coverage
# Several processes compute at once, and threads that wait for a busy core make all of them slower.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" HF_HUB_OFFLINE=1 MPLBACKEND=Agg

failed="" times=""
# stage NAME COMMAND...: runs on after a failure, so that one run shows everything that is wrong.
stage() {
    local name=$1 began=$SECONDS verdict=passed
    shift
    "$@" || { verdict=FAILED && failed="$failed $name"; }
    say "$name: $verdict after $((SECONDS - began)) s"
    times="$times; $name $((SECONDS - began)) s"
}

short_files() {
    local long
    long=$(find texthash pipelines deploy tests -name '*.py' -exec awk 'END { if (NR > 500) print FILENAME ": " NR " lines" }' {} \;)
    [ -z "$long" ] || { printf 'files of more than 500 lines; divide them:\n%s\n' "$long" >&2 && return 1; }
}

nothing_left() {
    local left
    left=$(env -u TEXTHASH_MARK python deploy/processes.py stop "$mark") && return 0
    printf 'the tests left processes behind, which have now been ended:\n%s\n' "$left" >&2
    return 1
}

# part NAME ARGUMENTS...: one of the parts of tests/parts.py. Status 5: no test of this part was asked for.
part() {
    local name=$1 status=0
    shift
    TEXTHASH_TEST_PART=$name python -m pytest --no-header --basetemp "$files/$name" "$@" || status=$?
    rm -rf "${files:?}/$name"
    [ "$status" = 0 ] || { [ "$status" = 5 ] && [ "$name" != alone ]; }
}

# Before Python 3.12 every line that runs costs; since then the interpreter counts each once.
if python -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then
    export COVERAGE_CORE=sysmon
    TEXTHASH_TEST_COVERAGE=${TEXTHASH_TEST_COVERAGE:-1}
fi
measured=()
[ "${TEXTHASH_TEST_COVERAGE:-0}" = 0 ] || measured=(--cov texthash --cov-report "")

beside() { part beside -n 2 --dist loadfile --no-loadscope-reorder "${measured[@]}" "$@"; }
clusters() {
    # Ray's own processes make a token where there is none, and two clusters that begin at once would make two.
    python -c 'from texthash.private import use_token; use_token()'
    part clusters -n "$clusters_at_once" --dist loadfile --no-loadscope-reorder "$@"
}
alone() { part alone --durations=20 "$@"; }
export TEXTHASH_TEST_REPORTS="$scratch/reports"

trap 'nothing_left || true; rm -rf "$scratch" "$files"' EXIT

# Kernels are compiled once, beside the first gates: several processes that begin at once would each compile their own.
python -m texthash.service.compile_kernels >/dev/null 2>&1 &
kernels=$!
stage "ruff check" ruff check .
stage "ruff format" ruff format --check .
# Types are checked while the first tests run: what they say is shown after them.
mypy >"$scratch/mypy" 2>&1 &
types=$!
checked_types() {
    local status=0
    wait "$types" || status=$?
    cat "$scratch/mypy" >&2
    return "$status"
}
stage "import-linter" lint-imports --no-logo
stage "file length" short_files
if [ -f pipelines/readme.py ]; then stage "README" python pipelines/readme.py --check; fi
wait "$kernels" || true # what is missing is compiled by the process that needs it
stage "pytest, beside each other" beside "$@"
stage "mypy, beside those" checked_types
stage "pytest, on clusters" clusters "$@"
stage "pytest, alone" alone "$@" # its closing lines are of all parts
if [ -f "$COVERAGE_FILE" ]; then
    printf 'lines of texthash that ran in the first part: %s%%\n' "$(python -m coverage report --format=total)"
else
    say "lines that ran: not measured; TEXTHASH_TEST_COVERAGE=1 does so, or Python 3.12"
fi
python tests/untested.py | tail -n 1
stage "no process left" nothing_left

say "times${times/;/:}"
[ -z "$failed" ] || die 1 "failed:$failed; the reasons are above."
say "all passed in $SECONDS s"
