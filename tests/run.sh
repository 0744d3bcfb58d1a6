#!/usr/bin/env bash
# The one test command: set-up, quality gates, pytest. Arguments go to pytest: bash tests/run.sh -m slow tests/training
# TEXTHASH_TEST_CLUSTERS is the number of clusters beside each other, 2 by default; each takes about 2 GB.
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/common.sh"
cd "$ROOT"

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
unset TEXTHASH_HOME TEXTHASH_DATA RAY_ADDRESS
export TEXTHASH_MARK=$mark RAY_TMPDIR=$scratch RAY_USAGE_STATS_ENABLED=0
export COVERAGE_FILE=$scratch/coverage
# Several processes compute at once, and threads that wait for a busy core make all of them slower.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" HF_HUB_OFFLINE=1 MPLBACKEND=Agg

failed=""
# stage NAME COMMAND...: runs on after a failure, so that one run shows everything that is wrong.
stage() {
    local name=$1 began=$SECONDS verdict=passed
    shift
    "$@" || { verdict=FAILED && failed="$failed $name"; }
    say "$name: $verdict after $((SECONDS - began)) s"
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

# The parts of tests/parts.py. Status 5: no test of this part was asked for.
beside() {
    TEXTHASH_TEST_PART=beside python -m pytest -n 2 --dist loadfile --cov texthash --cov-report "" "$@" ||
        [ $? = 5 ]
}
clusters() {
    # Ray's own processes make a token where there is none, and two clusters that begin at once would make two.
    python -c 'from texthash.private import use_token; use_token()'
    TEXTHASH_TEST_PART=clusters python -m pytest -n "${TEXTHASH_TEST_CLUSTERS:-2}" --dist loadfile \
        --no-loadscope-reorder "$@" || [ $? = 5 ]
}
alone() { TEXTHASH_TEST_PART=alone python -m pytest --durations=20 "$@"; }
export TEXTHASH_TEST_REPORTS="$scratch/reports"

trap 'nothing_left || true; rm -rf "$scratch"' EXIT

stage "ruff check" ruff check .
stage "ruff format" ruff format --check .
stage "mypy" mypy
stage "import-linter" lint-imports
stage "file length" short_files
if [ -f pipelines/readme.py ]; then stage "README" python pipelines/readme.py --check; fi
stage "pytest, beside each other" beside "$@"
stage "pytest, on clusters" clusters "$@"
stage "pytest" alone "$@" # its closing lines are of all parts
printf 'lines of texthash that ran in the first part: %s%%\n' "$(python -m coverage report --format=total)"
python tests/untested.py
stage "no process left" nothing_left

[ -z "$failed" ] || die 1 "failed:$failed; the reasons are above."
say "all passed in $SECONDS s"
