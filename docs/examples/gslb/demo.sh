#!/usr/bin/env bash
# Three regions in three network namespaces, each with an edge and a web server; cloudcore with its DNS server in a fourth, a client in a fifth. The client asks by its system's own
# resolver (getaddrinfo) and fetches. Then the cable of its region is pulled, and in another run an edgecore is killed; each time it prints how long the client's traffic took to move.
#
#   docs/examples/gslb/demo.sh
#
# Needs root, iproute2, dig, curl and python3, and built executables: 'dotnet build Edge.sln', or EDGE_BIN_DIR with NAME/NAME or NAME in it.
# Nothing is left behind: namespaces, processes and files go at the end, and nothing outside of the namespaces is changed.
set -euo pipefail

root=$(cd "$(dirname "$0")/../../.." && pwd)
id=$(printf '%05d' $(($$ % 100000)))
work=$(mktemp -d /tmp/gslb-demo.XXXXXX)
regions=(eu us asia)
pids=()
declare -A edge_pid web_pid

say() { printf '%s\n' "$*"; }
fail() { say "FAILED: $*" >&2; for log in "$work"/*.log; do say "--- $log" >&2; tail -n 15 "$log" >&2; done; exit 1; }
ns() { printf 'g%s-%s' "$id" "$1"; }
in_ns() { local name=$1; shift; ip netns exec "$(ns "$name")" "$@"; }
# For what runs on: its process is the shell's own child, which $! names.
run_ns() { local name=$1; shift; exec ip netns exec "$(ns "$name")" "$@"; }
now_ms() { date +%s%3N; }

cleanup() {
    trap - EXIT INT TERM
    for pid in "${pids[@]}" "${edge_pid[@]}" "${web_pid[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}" "${edge_pid[@]}" "${web_pid[@]}"; do wait "$pid" 2>/dev/null || true; done
    for one in client "${regions[@]}" cloud; do ip netns delete "$(ns "$one")" 2>/dev/null || true; done
    rm -rf "$work" "/etc/netns/$(ns client)"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

[ "$(id -u)" = 0 ] || { say "needs root, for network namespaces" >&2; exit 2; }
for tool in ip dig curl python3; do command -v "$tool" >/dev/null || { say "needs $tool" >&2; exit 2; }; done

find_executable() {
    local name=$1 project=$2 one
    for one in ${EDGE_BIN_DIR:+"$EDGE_BIN_DIR/$name/$name" "$EDGE_BIN_DIR/$name"} "$root/artifacts/publish/$name/$name" "$root/$project/bin/Release/net10.0/$name" "$root/$project/bin/Debug/net10.0/$name"; do
        if [ -f "$one" ] && [ -x "$one" ]; then printf '%s' "$one"; return; fi
    done
    say "$name is not built; run 'dotnet build Edge.sln', or set EDGE_BIN_DIR" >&2
    exit 2
}
cloudcore=$(find_executable cloudcore cloud/CloudCore.Host)
edgecore=$(find_executable edgecore edge/EdgeCore.Host)
edgectl=$(find_executable edgectl cloud/Edgectl)

# Waits until a command succeeds: until WHAT SECONDS COMMAND...
until_ok() {
    local what=$1 limit=$(($(now_ms) + $2 * 1000)); shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt "$limit" ] || fail "$what"
        sleep 0.1
    done
}

# One wire: cloudcore's namespace holds a bridge, every other namespace a cable to it.
ip netns add "$(ns cloud)"
in_ns cloud ip link set lo up
in_ns cloud ip link add wan type bridge
in_ns cloud ip address add 10.77.0.1/16 dev wan
in_ns cloud ip link set wan up
cable() {
    ip netns add "$(ns "$1")"
    in_ns "$1" ip link set lo up
    ip -n "$(ns cloud)" link add "to-$1" type veth peer name up0 netns "$(ns "$1")"
    in_ns cloud ip link set "to-$1" master wan up
    in_ns "$1" ip address add "$2/16" dev up0
    in_ns "$1" ip link set up0 up
    in_ns "$1" ip route add default via 10.77.0.1
}
cable eu 10.77.1.10
cable us 10.77.2.10
cable asia 10.77.3.10
cable client 10.77.1.99
# 'ip netns exec' lays this over /etc/resolv.conf for what it starts.
mkdir -p "/etc/netns/$(ns client)"
printf 'nameserver 10.77.0.1\noptions timeout:1 attempts:2\n' >"/etc/netns/$(ns client)/resolv.conf"

say "cloudcore with its DNS server at 10.77.0.1"
printf 'apiVersion: cloudcore.config.kubeedge.io/v1alpha1\nkind: CloudCore\n' >"$work/cloudcore.yaml"
run_ns cloud "$cloudcore" --config "$work/cloudcore.yaml" --data-dir "$work/cloud" \
    --set modules.cloudHub.advertiseAddress='[10.77.0.1]' --set modules.gslb.enable=true --set modules.gslb.address=10.77.0.1 >"$work/cloudcore.log" 2>&1 &
pids+=($!)
until_ok "cloudcore does not start" 90 test -s "$work/cloud/cloudcore.ports.json"
kubeconfig=$(sed -n 's/.*"kubeconfig": *"\([^"]*\)".*/\1/p' "$work/cloud/cloudcore.ports.json")
until_ok "cloudcore does not answer" 60 in_ns cloud "$edgectl" gettoken --kubeconfig "$kubeconfig"
token=$(in_ns cloud "$edgectl" gettoken --kubeconfig "$kubeconfig")

start_edge() {
    run_ns "$1" "$edgecore" --config "$work/$1.yaml" --data-dir "$work/$1" >>"$work/$1.log" 2>&1 &
    edge_pid[$1]=$!
}
start_web() {
    mkdir -p "$work/www-$1"
    printf '%s\n' "$1" >"$work/www-$1/index.html"
    run_ns "$1" python3 -m http.server 8080 --directory "$work/www-$1" >>"$work/www-$1.log" 2>&1 &
    web_pid[$1]=$!
}
for region in "${regions[@]}"; do
    cat >"$work/$region.yaml" <<CONFIG
apiVersion: edgecore.config.kubeedge.io/v1alpha2
kind: EdgeCore
commonConfig: {monitorServer: {enable: false}}
modules:
  edgeHub:
    httpServer: https://10.77.0.1:10002
    token: "$token"
    heartbeat: 1
    websocket: {server: "10.77.0.1:10000"}
  edged:
    enable: false
    hostnameOverride: edge-$region
    nodeLabels: {topology.kubernetes.io/region: $region, apps.kubeedge.io/belonging-to: shop}
  eventBus: {enable: false}
  deviceTwin: {enable: false}
  edgeDns: {listen: ["127.0.0.1:53"], upstreams: ["10.77.0.1"]}
CONFIG
    start_edge "$region"
    start_web "$region"
done

# The zone, where which clients are, and the service: the nearest edge that is well.
cat >"$work/gslb.yaml" <<'MANIFEST'
apiVersion: gslb.edge.io/v1alpha1
kind: Zone
metadata: {name: demo}
spec:
  apex: demo.example
  nameServers: [ns1]
  records: [{name: ns1, type: A, data: [10.77.0.1]}]
---
apiVersion: gslb.edge.io/v1alpha1
kind: LocationMap
metadata: {name: demo}
spec:
  locations:
    - {region: eu, latitude: 50.1, longitude: 8.7, networks: [10.77.1.0/24]}
    - {region: us, latitude: 38.9, longitude: -77.4, networks: [10.77.2.0/24]}
    - {region: asia, latitude: 35.7, longitude: 139.7, networks: [10.77.3.0/24]}
---
apiVersion: gslb.edge.io/v1alpha1
kind: GlobalService
metadata: {name: shop}
spec:
  hosts: [shop.demo.example]
  ttl: 1
  endpoints: [{nodeGroup: {name: shop}, port: 8080}]
  healthCheck: {type: http, interval: 500ms, timeout: 400ms, rise: 2, fall: 2}
MANIFEST
locate() {
    in_ns cloud kubectl --kubeconfig "$kubeconfig" annotate node "edge-$1" "gslb.edge.io/latitude=$2" "gslb.edge.io/longitude=$3"
}
command -v kubectl >/dev/null || { say "needs kubectl" >&2; exit 2; }
until_ok "the manifests are not taken" 60 in_ns cloud kubectl --kubeconfig "$kubeconfig" apply -f "$work/gslb.yaml"
until_ok "edge-eu does not register" 90 locate eu 50.1 8.7
until_ok "edge-us does not register" 90 locate us 38.9 -77.4
until_ok "edge-asia does not register" 90 locate asia 35.7 139.7

fetch() { in_ns client curl --silent --fail --connect-timeout 1 --max-time 1 http://shop.demo.example:8080/ || true; }
is_fetched_from() { [ "$(fetch)" = "$1" ]; }
# The answer must last: so long all come from there, also after every change of the start is through.
is_steady_at() { is_fetched_from "$1" && sleep 0.5 && is_fetched_from "$1"; }
# Prints the milliseconds until the client's fetches come from somewhere else than REGION, and from where.
moved_from() {
    local began=$1 region=$2 limit=$(($1 + 60000)) from
    while :; do
        from=$(fetch)
        if [ -n "$from" ] && [ "$from" != "$region" ]; then say "the client's traffic moved from $region to $from within $(($(now_ms) - began)) ms"; return; fi
        [ "$(now_ms)" -lt "$limit" ] || fail "the client's traffic did not move from $region within a minute"
        sleep 0.05
    done
}

until_ok "the client does not reach the nearest region" 60 is_steady_at eu
say "asked with dig:       $(in_ns client dig +short shop.demo.example A)"
say "asked by getaddrinfo: $(in_ns client python3 -c 'import socket; print(socket.gethostbyname("shop.demo.example"))')"
say "fetched from:         $(fetch)"
say "on edge-us, local-first by its EdgeDns: $(in_ns us dig +short @127.0.0.1 shop.demo.example A)"
[ "$(in_ns us dig +short @127.0.0.1 shop.demo.example A)" = 10.77.2.10 ] || until_ok "edge-us does not answer with itself" 30 sh -c "[ \"\$(ip netns exec $(ns us) dig +short @127.0.0.1 shop.demo.example A)\" = 10.77.2.10 ]"

say
say "1. the cable of region eu is pulled: no FIN, no word of it"
began=$(now_ms)
in_ns cloud ip link set to-eu down
moved_from "$began" eu
in_ns cloud ip link set to-eu up
until_ok "the traffic does not come back to eu" 90 is_steady_at eu
say "the cable is back, and so is the traffic"

say
say "2. edgecore of region eu is killed; its web server still answers its checks"
began=$(now_ms)
kill -KILL "${edge_pid[eu]}"
wait "${edge_pid[eu]}" 2>/dev/null || true
moved_from "$began" eu
start_edge eu
until_ok "the traffic does not come back to eu" 90 is_steady_at eu
say "edgecore is back, and so is the traffic"

say
say "3. the checks are left to the edges (healthCheck.from: edge), and the web server of region eu is killed"
in_ns cloud kubectl --kubeconfig "$kubeconfig" patch globalservice shop --type merge --patch '{"spec": {"healthCheck": {"from": "edge"}}}' >/dev/null
until_ok "edge-eu does not check its endpoint" 60 grep -q 'endpoint default/shop/shop.edge-eu is Up' "$work/eu.log"
until_ok "the traffic does not stay at eu" 60 is_steady_at eu
began=$(now_ms)
kill -KILL "${web_pid[eu]}"
wait "${web_pid[eu]}" 2>/dev/null || true
moved_from "$began" eu
found() { in_ns cloud kubectl --kubeconfig "$kubeconfig" get globalservice shop --output 'jsonpath={.status.endpoints[?(@.node=="edge-eu")].reason}'; }
is_told() { [ -n "$(found)" ]; }
until_ok "the service's status does not tell what edge-eu found" 60 is_told
say "edge-eu found: $(found)"
start_web eu
until_ok "the traffic does not come back to eu" 90 is_steady_at eu
say "the web server is back, and so is the traffic"

say
say "4. cloudcore is killed: on the node itself the name is answered from what the edge knows"
kill -KILL "${pids[0]}"
wait "${pids[0]}" 2>/dev/null || true
say "on edge-eu: $(in_ns eu dig +short @127.0.0.1 shop.demo.example A)"
[ "$(in_ns eu dig +short @127.0.0.1 shop.demo.example A)" = 10.77.1.10 ] || fail "edge-eu does not answer without the cloud"
say
say "done"
