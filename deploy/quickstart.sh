#!/usr/bin/env bash
# From a fresh clone to live search on this machine: set-up, a local Ray head, the whole pipeline as a Ray job, MLflow.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: bash deploy/quickstart.sh [options]
       bash deploy/quickstart.sh --stop

  --config FILE        what to prepare, train and serve (configs/quickstart.yaml)
  --port N             HTTP port of the search service (8000)
  --mlflow-port N      port of the MLflow UI (5000)
  --query TEXT         the query asked at the end
  --python-proxy       serve through Ray's default proxy instead of the faster HAProxy (fixed when the cluster starts)
  --cpu                PyTorch's CPU build, from PyTorch's own index (see deploy/setup.sh --help)
  --torch-index URL    PyTorch from this package index
  --stop               end the service, the MLflow UI and the Ray head that this script started, and nothing else
  --help

Service, MLflow and Ray listen on 127.0.0.1; ports of replicas, which take a token, do not. State, logs and process ids lie under TEXTHASH_HOME (.texthash in the repository).
Run again, it uses the running cluster and submits the job anew.
TEXT
}

config="$ROOT/configs/quickstart.yaml" port=8000 mlflow_port=5000 query="" proxy=haproxy stop=""
torch_option="" torch_value=""
while [ $# -gt 0 ]; do
    case $1 in
    --config) need_value "$@" && config=$2 && shift ;;
    --port) need_port "$@" && port=$2 && shift ;;
    --mlflow-port) need_port "$@" && mlflow_port=$2 && shift ;;
    --query) need_value "$@" && query=$2 && shift ;;
    --python-proxy) proxy=python ;;
    --cpu) torch_option=--cpu ;;
    --torch-index) need_value "$@" && torch_option=--torch-index && torch_value=$2 && shift ;;
    --stop) stop=yes ;;
    --help | -h) usage && exit 0 ;;
    *) die 2 "unknown option $1; see bash deploy/quickstart.sh --help." ;;
    esac
    shift
done

home="${TEXTHASH_HOME:-$ROOT/.texthash}"
case $home in
*://*) die 2 "TEXTHASH_HOME=$home: the quickstart keeps its state in a local directory; name one or unset it." ;;
/*) ;;
*) home="$PWD/$home" ;;
esac
record="$home/run/quickstart.json"

if [ -n "$stop" ]; then
    if [ ! -f "$record" ]; then
        say "nothing to stop: no quickstart is running with its state in $home"
        exit 0
    fi
    usable_python "$VENV/bin/python" || die 1 "$VENV is gone, and with it the means to stop; run bash deploy/setup.sh first."
    exec "$VENV/bin/python" "$ROOT/deploy/local.py" stop --home "$home"
fi

[ -f "$config" ] || die 2 "there is no configuration file $config; see $ROOT/configs for those that exist."
config="$(cd "$(dirname "$config")" && pwd)/$(basename "$config")"
[ "$port" != "$mlflow_port" ] || die 2 "--port and --mlflow-port are both $port; give them different numbers."

# Before minutes of installing; where a quickstart has left its record, local.py looks closer at whose the port is.
if [ ! -f "$record" ]; then
    if port_taken "$port"; then die 1 "port $port is taken by another program; choose one with --port."; fi
    if port_taken "$mlflow_port"; then die 1 "port $mlflow_port is taken by another program; choose one with --mlflow-port."; fi
fi

unset PYTHONDONTWRITEBYTECODE # or none of its processes could use what another has compiled
# The sentence encoder teaches the codes which words mean alike.
bash "$ROOT/deploy/setup.sh" --extras text ${torch_option:+"$torch_option"} ${torch_value:+"$torch_value"}
exec "$VENV/bin/python" "$ROOT/deploy/local.py" start --home "$home" --config "$config" --port "$port" \
    --mlflow-port "$mlflow_port" --proxy "$proxy" ${query:+--query "$query"}
