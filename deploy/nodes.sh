#!/usr/bin/env bash
# Start nodes that share nothing on one Linux machine, to try a cluster: each has a network, a host name and a home
# directory of its own. Needs root.
#
#   bash deploy/nodes.sh start 2                 two nodes, 10.77.0.11 and 10.77.0.12; this machine is 10.77.0.1
#   bash deploy/nodes.sh run 1 COMMAND...        run a command on node 1, in the present directory
#   bash deploy/nodes.sh kill 2                  end node 2 with all of its processes, as a loss of power would
#   bash deploy/nodes.sh add 2                   start a node 2 in the place of one that has ended, or beside the others
#   bash deploy/nodes.sh stop                    end all nodes
#   bash deploy/nodes.sh check                   print why nodes cannot be started here; status 1 if so
#
# NODES_DIR (default /tmp/thn) has to be short, since Ray puts sockets into the nodes' homes. A bucket and an MLflow
# server that the nodes use have to listen on 10.77.0.1.
set -euo pipefail

dir=${NODES_DIR:-/tmp/thn}
bridge=thn0
net=10.77.0

reason() {
    [ "$(uname -s)" = Linux ] || { echo "network namespaces need Linux"; return; }
    [ "$(id -u)" = 0 ] || { echo "network namespaces need root"; return; }
    for tool in ip unshare nsenter mount; do
        command -v "$tool" >/dev/null || { echo "there is no command $tool"; return; }
    done
    unshare --net --mount --uts --pid --fork true 2>/dev/null || { echo "this machine permits no namespaces"; return; }
    ip link add thn-try type bridge 2>/dev/null || { echo "this machine permits no network bridges"; return; }
    ip link del thn-try
}

# Prepare the inside of a node: runs as its first process, in namespaces of its own.
inside() {
    local node=$1
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$dir/home"
    mount -t proc proc /proc
    hostname "node-$node"
    printf '127.0.0.1 localhost\n%s node-%s\n' "$net.$((10 + node))" "$node" >"$dir/home/hosts"
    mount --bind "$dir/home/hosts" /etc/hosts
    ip link set lo up
    touch "$dir/node-$node.ready"
    # The end of the first process ends all others of the node.
    exec sleep infinity
}

start_node() {
    local node=$1 pid
    rm -f "$dir/node-$node.ready"
    setsid unshare --net --mount --uts --pid --fork --kill-child bash "$0" inside "$node" \
        >"$dir/node-$node.log" 2>&1 </dev/null &
    echo $! >"$dir/node-$node.outer"
    for _ in $(seq 100); do
        pid=$(pgrep -P "$(cat "$dir/node-$node.outer")" || true)
        [ -n "$pid" ] && [ -e "$dir/node-$node.ready" ] && break
        sleep 0.1
    done
    [ -e "$dir/node-$node.ready" ] || { echo "node $node did not start: see $dir/node-$node.log" >&2; exit 1; }
    echo "$pid" >"$dir/node-$node.pid"
    ip link add "thn-$node" type veth peer name eth0 netns "$pid"
    ip link set "thn-$node" master "$bridge" up
    nsenter -t "$pid" --net ip addr add "$net.$((10 + node))/24" dev eth0
    nsenter -t "$pid" --net ip link set eth0 up
    nsenter -t "$pid" --net ip route add default via "$net.1"
}

kill_node() {
    [ -e "$dir/node-$1.pid" ] || { echo "there is no node $1" >&2; exit 1; }
    kill -9 "$(cat "$dir/node-$1.pid")" 2>/dev/null || true
    ip link del "thn-$1" 2>/dev/null || true
    rm -f "$dir/node-$1".*
}

case ${1:-} in
check)
    why=$(reason)
    [ -z "$why" ] || { echo "$why"; exit 1; }
    ;;
start)
    why=$(reason)
    [ -z "$why" ] || { echo "nodes cannot be started: $why" >&2; exit 1; }
    count=${2:?number of nodes}
    [ ! -e "$dir/node-1.pid" ] || { echo "nodes are running: bash $0 stop" >&2; exit 1; }
    mkdir -p "$dir/home"
    ip link add "$bridge" type bridge
    ip addr add "$net.1/24" dev "$bridge"
    ip link set "$bridge" up
    for node in $(seq "$count"); do start_node "$node"; done
    ;;
run)
    node=${2:?number of the node}
    shift 2
    [ -e "$dir/node-$node.pid" ] || { echo "there is no node $node" >&2; exit 1; }
    export HOME=$dir/home TEXTHASH_CACHE=$dir/home/cache RAY_TMPDIR=$dir/home
    exec nsenter -t "$(cat "$dir/node-$node.pid")" --net --mount --uts --pid --wd="$PWD" "$@"
    ;;
add)
    node=${2:?number of the node}
    ip link show "$bridge" >/dev/null 2>&1 || { echo "no nodes are running: bash $0 start COUNT" >&2; exit 1; }
    [ ! -e "$dir/node-$node.pid" ] || { echo "node $node is running" >&2; exit 1; }
    start_node "$node"
    ;;
kill)
    kill_node "${2:?number of the node}"
    ;;
stop)
    for file in "$dir"/node-*.pid; do
        [ -e "$file" ] && node=${file##*node-} && kill_node "${node%.pid}"
    done
    ip link del "$bridge" 2>/dev/null || true
    ;;
inside)
    inside "$2"
    ;;
*)
    sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
