#!/usr/bin/env bash
# packaging/check-deb.sh FILE.deb: on a machine of one's own, with systemd and containerd, checks the Debian package and its units from installation to removal, and prints a line for each
# thing that was seen. It changes the machine (containerd's configuration, /etc/kubeedge, /var/lib): run it by  .ci/vm -- packaging/check-deb.sh FILE.deb
set -Eeuo pipefail
case "${1:-}" in "" | -h | --help) sed -n '2,3s/^# //p' "$0"; exit 2 ;; esac
[ -d /run/systemd/system ] || { echo "check-deb.sh: systemd is not this machine's init; run it by .ci/vm" >&2; exit 2; }
[ ! -e /etc/kubeedge ] && [ ! -e /var/lib/kubeedge ] || { echo "check-deb.sh: this machine has an Edge or KubeEdge already; run it by .ci/vm" >&2; exit 2; }
deb=$(readlink -f "$1")
work=$(mktemp -d)
export KUBECONFIG=/var/lib/edge/cloudcore/admin.kubeconfig

saw() { printf 'ok %3d s  %s\n' "$SECONDS" "$*"; }
fail() {
  printf 'FAILED at %d s: %s\n' "$SECONDS" "$*"
  for unit in cloudcore edgecore containerd; do echo "--- $unit"; journalctl -u $unit -o cat --no-pager -n 15 | cut -c 1-300; done
  kubectl describe pods 2>&1 | tail -n 20
  exit 1
}
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

# within SECONDS WHAT COMMAND...: waits until the command says yes.
within() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "$what: not within the time given"
    sleep 0.5
  done
  saw "$what"
}
is() { [ "$2" = "$3" ] || fail "$1: '$2' instead of '$3'"; saw "$1"; }
state() { systemctl show -P "$2" "$1"; }
# How many of these paths there are.
count() { local one n=0; for one; do [ ! -e "$one" ] || n=$((n + 1)); done; echo $n; }
jsonpath() { kubectl get "$1" "$2" -o "jsonpath={$3}"; }
container() { jsonpath pod "$1" '.status.containerStatuses[0].containerID'; }
process() { ctr -n k8s.io tasks ls | awk -v id="${1#containerd://}" '$1 == id && $3 == "RUNNING" {print $2}'; }
node_ready() { [ "$(jsonpath node vm '.status.conditions[?(@.type=="Ready")].status')" = True ]; }
# edgecore itself says that it can work, and that it is connected.
edgecore_up() {
  local port
  port=$(grep -oE '"metrics": *[0-9]+' /var/lib/kubeedge/edgecore.ports.json | grep -oE '[0-9]+$') && curl -fsS "http://127.0.0.1:$port/readyz" && curl -fsS "http://127.0.0.1:$port/metrics" | grep -qx 'edgecore_link_up 1'
}
pod_ready() { [ "$(jsonpath pod "$1" '.status.conditions[?(@.type=="Ready")].status')" = True ]; }
# The pod's container is the one that was there before, and was never started again.
same() { is "$1" "$(container web) $(jsonpath pod web '.status.containerStatuses[0].restartCount') $(process "$web")" "$web 0 $pid"; }

# A container runtime as distributions set it up: systemd makes the cgroups. Images come from this machine's busybox.
mkdir -p /etc/containerd /etc/cni/net.d
cat >/etc/containerd/config.toml <<'TOML'
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/edge/pause:1.0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
TOML
cat >/etc/cni/net.d/10-edge.conflist <<'JSON'
{"cniVersion":"0.4.0","name":"edge","plugins":[{"type":"bridge","bridge":"edge0","isGateway":true,
  "ipam":{"type":"host-local","ranges":[[{"subnet":"10.88.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}
JSON
systemctl restart containerd

dpkg -i "$deb" >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; fail "dpkg -i"; }
is "the package is installed and starts nothing" "$(state cloudcore ActiveState) $(state edgecore ActiveState)" "inactive inactive"
systemd-analyze verify cloudcore.service edgecore.service 2>"$work/verify" || { cat "$work/verify"; fail "systemd-analyze verify"; }
is "systemd finds nothing wrong with the units" "$(grep -cE '(cloudcore|edgecore)\.service' "$work/verify" || true)" 0

cat >>/etc/kubeedge/config/cloudcore.yaml <<'YAML'
modules:
  taskManager: {enable: true}
YAML
systemctl enable --now -q cloudcore
within 180 "cloudcore serves the API" kubectl get --raw /readyz
is "its data are its owner's alone" "$(stat -c %a /var/lib/edge/cloudcore "$KUBECONFIG" | tr '\n' ' ')" "700 600 "
edgectl image build --busybox --name docker.io/edge/busybox:1.0 -o "$work/busybox.tar" >/dev/null
edgectl image build --busybox --name docker.io/edge/pause:1.0 --entrypoint /bin/sleep --cmd 100000000 -o "$work/pause.tar" >/dev/null
edgectl image import "$work/busybox.tar" >/dev/null
edgectl image import "$work/pause.tar" >/dev/null

token=$(edgectl gettoken)
edgectl join -e 127.0.0.1:10000 --token "$token" -i vm --cgroupdriver systemd --with-systemd --set modules.taskManager.enable=true \
  --set "modules.taskManager.upgrade.source=file://$work/packages" --set "modules.taskManager.upgrade.publicKey=$work/key.pub" >"$work/join.log"
within 180 "the node has joined by edgectl join --with-systemd and is ready" node_ready
is "its config is its owner's alone" "$(stat -c %a /etc/kubeedge/config/edgecore.yaml)" 600

kubectl apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  nodeName: vm
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: docker.io/edge/busybox:1.0
    command: [sh, -c, "echo up; exec sleep 100000"]
    resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {cpu: 500m, memory: 32Mi}}
YAML
within 180 "a pod runs" pod_ready web
web=$(container web) pid=$(process "$(container web)")
slice=kubepods-burstable-pod$(jsonpath pod web .metadata.uid | tr - _).slice
cgroup=/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/$slice
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  is "it has the slice of a kubelet" "$(cat "$cgroup/memory.max") $(cat "$cgroup/cpu.max")" "33554432 50000 100000"
fi
within 60 "kubectl logs shows it" grep -qx up <(kubectl logs web)
is "kubectl exec runs in it" "$(kubectl exec web -- echo here)" here

before=$(state edgecore MainPID)
kill -9 "$before"
within 60 "systemd starts a killed edgecore again" bash -c '[ "$(systemctl show -P MainPID edgecore)" -gt 0 ] && [ "$(systemctl show -P MainPID edgecore)" != '"$before"' ]'
within 180 "it is ready and connected" edgecore_up
same "the pod was not touched"

systemctl stop edgecore
is "edgecore stops in order" "$(state edgecore ActiveState) $(state edgecore Result)" "inactive success"
is "the pod runs on while edgecore is stopped" "$(process "$web")" "$pid"
systemctl start edgecore
within 180 "edgecore is back and connected" edgecore_up
same "the pod was not touched"

systemctl restart cloudcore
within 180 "cloudcore is back with what it had" kubectl get pod web
within 180 "and the node with it" edgecore_up

# Upgrades through systemctl. A version is text in the assemblies: another of the same length makes another version.
version=$(edgecore --version | cut -d + -f 1)
next=${version%?}$(((${version: -1} + 1) % 10)) third=${version%?}$(((${version: -1} + 2) % 10))
openssl ecparam -name prime256v1 -genkey -noout -out "$work/key.pem" && openssl ec -in "$work/key.pem" -pubout -out "$work/key.pub" 2>/dev/null
# pack VERSION: of what runs now; $work/VERSION is what it packs.
copy() {
  cp -R /usr/lib/edge/edgecore "$work/$1"
  LC_ALL=C sed -i "s/$(edgecore --version | cut -d + -f 1 | sed 's/\./\\./g')/$1/g" "$work/$1/edgecore.dll" "$work/$1/Edge.Core.dll"
}
pack() {
  mkdir -p "$work/packages/$1"
  edgectl upgrade pack --from "$work/$1" --version "$1" --key "$work/key.pem" -o "$work/packages/$1/edgecore-amd64.tar.gz" >/dev/null
}
runs() { edgecore --version | cut -d + -f 1; }
copy "$next"
pack "$next"
edgectl upgrade edge --package "$work/packages/$next/edgecore-amd64.tar.gz" --to "$next" --public-key "$work/key.pub" >"$work/good.log" 2>&1 || { cat "$work/good.log"; fail "edgectl upgrade edge"; }
is "edgectl upgrade edge stops, exchanges and starts edgecore through systemctl" "$(runs) $(state edgecore ActiveState)" "$next active"
same "the pod was not touched"

# Its libraries tell their version and read the config, and the service ends at its start.
copy "$third"
printf 'MZ\0\0' >"$work/$third/Microsoft.Data.Sqlite.dll"
pack "$third"
code=0
edgectl upgrade edge --package "$work/packages/$third/edgecore-amd64.tar.gz" --to "$third" --public-key "$work/key.pub" --ready-within 40 >"$work/bad.log" 2>&1 || code=$?
[ $code -eq 2 ] || cat "$work/bad.log"
is "one that does not start is rolled back" "$code $(runs) $(state edgecore ActiveState)" "2 $next active"
within 180 "and the former edgecore is connected" edgecore_up
same "the pod was not touched"

# An edgectl that is killed in the middle: systemd sees it within a minute and takes the upgrade back.
edgectl upgrade edge --package "$work/packages/$third/edgecore-amd64.tar.gz" --to "$third" --public-key "$work/key.pub" --ready-within 300 >"$work/killed.log" 2>&1 &
killed=$!
within 120 "an upgrade waits for its new version" grep -q '"step":"AwaitReady"' /var/lib/edge/backups/upgrade.json
kill -9 $killed
within 240 "its edgectl killed, it is rolled back without anybody" grep -q '"step":"RolledBack"' /var/lib/edge/backups/upgrade.json
is "the former version is in its place" "$(runs)" "$next"
within 180 "and connected" edgecore_up
same "the pod was not touched"

edgectl rollback edge >"$work/back.log" 2>&1 || { cat "$work/back.log"; fail "edgectl rollback edge"; }
within 120 "edgectl rollback edge brings an edgecore back that is connected" edgecore_up
same "the pod was not touched"

# The same from the cloud: edgectl is edgecore's child then, and must outlive the stop of its unit.
upgrade_to() {
  kubectl apply -f - >/dev/null <<YAML
apiVersion: operations.kubeedge.io/v1alpha2
kind: NodeUpgradeJob
metadata: {name: job-$1}
spec: {version: "$1", nodeNames: [vm], timeoutSeconds: 300}
YAML
}
phase() { [ "$(jsonpath nodeupgradejob "job-$1" .status.phase)" = "$2" ]; }
wanted=$next
[ "$(runs)" != "$next" ] || wanted=$third
rm -rf "${work:?}/$wanted" "$work/packages/$wanted"
copy "$wanted"
pack "$wanted"
upgrade_to "$wanted"
within 300 "a NodeUpgradeJob upgrades the node" phase "$wanted" Completed
is "the version that it names runs" "$(runs) $(state edgecore ActiveState)" "$wanted active"
same "the pod was not touched"

dpkg -i "$deb" >"$work/dpkg.log" 2>&1
within 180 "installed again, the package starts edgecore anew" edgecore_up
same "the pod was not touched"

# A record's event id and words; a token is nowhere.
journalctl -u edgecore -u cloudcore -o cat --no-pager >"$work/journal"
is "the journal has edgecore's events" "$(grep -q 'is to run' "$work/journal" && echo yes)" yes
is "and no token" "$(grep -cF -e "$token" -e "${token#*.}" "$work/journal" || true)" 0

edgectl reset --force >"$work/reset.log" 2>&1 || { cat "$work/reset.log"; fail "edgectl reset"; }
is "edgectl reset leaves no unit, config, data and container" "$(state edgecore ActiveState) $(count /etc/systemd/system/edgecore.service /etc/kubeedge/config/edgecore.yaml /var/lib/kubeedge) $(process "$web")" "inactive 0 "
within 30 "and no slice" bash -c "! ls -d /run/systemd/system.control/$slice.d $cgroup 2>/dev/null | grep -q ."

dpkg -r edge >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; fail "dpkg -r"; }
is "the package is removed, and cloudcore stopped" "$(state cloudcore ActiveState) $(count /usr/bin/cloudcore /usr/lib/edge)" "inactive 0"
is "its data stay" "$(ls "$KUBECONFIG")" "$KUBECONFIG"
dpkg -P edge >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; fail "dpkg -P"; }
is "purged, it leaves no key, token and database" "$(count /etc/kubeedge /var/lib/kubeedge /var/lib/edge)" 0
rm -rf "$work"
echo "all seen in $SECONDS s"
