#!/usr/bin/env bash
# tests/conformance/kube-apiserver.sh [COMMAND...]: runs COMMAND beside a real kube-apiserver, with etcd and kube-controller-manager, on free ports of 127.0.0.1.
# Without COMMAND: ./test.sh Category=Sync. The first time, both are built from Debian's source package kubernetes into artifacts/kubernetes: some five minutes, 3 GB.
#
# With EDGE_KUBE_BIN_DIR=DIR those of DIR are taken instead, of any version that you have built or brought.
#
# COMMAND finds in its environment EDGE_TEST_KUBECONFIG and KUBECONFIG (the administrator's), and EDGE_TEST_KUBE_PIDS (of all three, whose processor time and memory ./bench.sh api reads).
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2 ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. ./.ci/common.sh
[ $# -gt 0 ] || set -- ./test.sh Category=Sync
kube=${EDGE_KUBE_BIN_DIR:-$PWD/artifacts/kubernetes}

# In a directory of its own, and with apt's lists of its own: the machine's are as they were.
build() {
  install_packages golang-go rsync make dpkg-dev golang-github-modern-go-reflect2-dev
  local work=$kube/source sources=(/etc/apt/sources.list.d/debian.sources)
  mkdir -p "$work/lists/partial" "$work/parts"
  [ -f "${sources[0]}" ] || { say "${sources[0]} is not there: this needs Debian's own list of package sources"; exit 1; }
  sed 's/^Types:.*/Types: deb-src/' "${sources[0]}" >"$work/parts/debian.sources"
  local apt=(-q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/parts" -o "Dir::State::lists=$work/lists")
  say "building kube-apiserver and kube-controller-manager: see artifacts/kubernetes/build.log"
  (
    cd "$work"
    apt-get "${apt[@]}" update
    rm -rf kubernetes-*/
    apt-get "${apt[@]}" source kubernetes
    cd kubernetes-*/
    # Two places that Debian's Go is too new for; kubectl, which Debian builds of this source, does not come by. The first walks maps by what Go 1.18 changed, and crashes; the second takes
    # every empty text of a custom resource for null.
    local reflect2=vendor/github.com/modern-go/reflect2 types=vendor/k8s.io/kube-openapi/pkg/validation/validate/type.go
    rm "$reflect2"/*.go "$reflect2"/*.s
    cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} "$reflect2/"
    sed -i 's/ || reflect.DeepEqual(reflect.Zero(reflect.TypeOf(data)), reflect.ValueOf(data)) {/ {/' "$types"
    grep -q 'if data == nil {' "$types"
    mkdir -p .go/src/k8s.io .home
    ln -sfn ../../.. .go/src/k8s.io/kubernetes
    GOPATH=$PWD/.go HOME=$PWD/.home CGO_ENABLED=0 make WHAT="cmd/kube-apiserver cmd/kube-controller-manager"
    cp -L _output/bin/kube-apiserver _output/bin/kube-controller-manager "$kube/"
  ) >"$kube/build.log" 2>&1 || { tail -n 20 "$kube/build.log" >&2; say "could not build it"; exit 1; }
  chmod -R u+w "$work" && rm -rf "$work"
}

if [ ! -x "$kube/kube-apiserver" ] || [ ! -x "$kube/kube-controller-manager" ]; then
  [ -z "${EDGE_KUBE_BIN_DIR:-}" ] || { say "EDGE_KUBE_BIN_DIR: $kube has no kube-apiserver and kube-controller-manager that run"; exit 1; }
  mkdir -p "$kube"
  build
fi
minor=$("$kube/kube-apiserver" --version | sed -E 's/.* v1\.([0-9]+).*/\1/')
install_packages etcd-server openssl curl

run=$(mktemp -d)
pids=()
end() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait "${pids[@]}" 2>/dev/null || true
  rm -rf "$run"
}
trap end EXIT
read -r client peer secure manager < <(python3 -c '
import socket
taken = [socket.socket() for _ in range(4)]
for one in taken: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in taken))')

# certificate NAME SUBJECT EXTENSIONS: NAME.pem and NAME.key, of the CA.
certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$run/$1.key" -subj "$2" -out "$run/$1.csr"
  openssl x509 -req -in "$run/$1.csr" -CA "$run/ca.pem" -CAkey "$run/ca.key" -CAcreateserial -days 2 -out "$run/$1.pem" -extfile <(printf '%s\n' "$3")
}
{
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$run/ca.key" -subj /CN=kubernetes -days 2 -out "$run/ca.pem"
  certificate server /CN=kube-apiserver 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc'
  certificate admin /O=system:masters/CN=admin 'extendedKeyUsage=clientAuth'
  certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client 'extendedKeyUsage=clientAuth'
  openssl genrsa -out "$run/accounts.key" 2048
} 2>"$run/openssl.log" || { cat "$run/openssl.log" >&2; exit 1; }
inline() { base64 -w 0 "$run/$1"; }
cat >"$run/kubeconfig" <<EOF
apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$secure", certificate-authority-data: $(inline ca.pem)}}]
users: [{name: admin, user: {client-certificate-data: $(inline admin.pem), client-key-data: $(inline admin.key)}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
EOF
chmod 600 "$run/kubeconfig"

# begin NAME ARGUMENTS...: in the background, with a log of its own.
begin() {
  "$@" >"$run/${1##*/}.log" 2>&1 &
  pids+=($!)
}
begin etcd --name=test --data-dir="$run/etcd" --listen-client-urls="http://127.0.0.1:$client" --advertise-client-urls="http://127.0.0.1:$client" \
  --listen-peer-urls="http://127.0.0.1:$peer" --initial-advertise-peer-urls="http://127.0.0.1:$peer" --initial-cluster="test=http://127.0.0.1:$peer"
# Before 1.21 EndpointSlices are v1beta1 alone: see below.
only_old=() old_port=()
[ "$minor" -ge 21 ] || { only_old=(--runtime-config=discovery.k8s.io/v1beta1=false) old_port=(--port=0); }
begin "$kube/kube-apiserver" --etcd-servers="http://127.0.0.1:$client" --bind-address=127.0.0.1 --secure-port="$secure" --advertise-address=127.0.0.1 --endpoint-reconciler-type=none \
  --cert-dir="$run" --client-ca-file="$run/ca.pem" --tls-cert-file="$run/server.pem" --tls-private-key-file="$run/server.key" \
  --kubelet-client-certificate="$run/kubelet-client.pem" --kubelet-client-key="$run/kubelet-client.key" --kubelet-preferred-address-types=InternalIP \
  --service-account-issuer=https://kubernetes.default.svc --service-account-signing-key-file="$run/accounts.key" --service-account-key-file="$run/accounts.key" \
  "${only_old[@]}" --authorization-mode=Node,RBAC --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true
for ((i = 0; ; i++)); do
  curl -fsS --max-time 2 --cacert "$run/ca.pem" --cert "$run/admin.pem" --key "$run/admin.key" "https://127.0.0.1:$secure/readyz" >/dev/null 2>&1 && break
  [ $i -lt 120 ] && kill -0 "${pids[1]}" 2>/dev/null || { tail -n 20 "$run"/*.log >&2; say "kube-apiserver did not start"; exit 1; }
  sleep 1
done
begin "$kube/kube-controller-manager" --kubeconfig="$run/kubeconfig" --bind-address=127.0.0.1 --secure-port="$manager" "${old_port[@]}" --cert-dir="$run" --leader-elect=false \
  --service-account-private-key-file="$run/accounts.key" --root-ca-file="$run/ca.pem" --cluster-signing-cert-file="$run/ca.pem" --cluster-signing-key-file="$run/ca.key"
# Debian's is 1.20, which has EndpointSlices as v1beta1 alone; cloudcore reads v1, of 1.21 and later. A resource of that version, which nobody fills, stands in.
[ "$minor" -ge 21 ] || curl -fsS --http1.1 --cacert "$run/ca.pem" --cert "$run/admin.pem" --key "$run/admin.key" -H 'Content-Type: application/yaml' --data-binary @- -o "$run/slices.json" \
  "https://127.0.0.1:$secure/apis/apiextensions.k8s.io/v1/customresourcedefinitions" <<'EOF'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: endpointslices.discovery.k8s.io, annotations: {api-approved.kubernetes.io: "unapproved, for tests"}}
spec:
  group: discovery.k8s.io
  scope: Namespaced
  names: {kind: EndpointSlice, listKind: EndpointSliceList, plural: endpointslices, singular: endpointslice}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
EOF
say "$("$kube/kube-apiserver" --version) serves at https://127.0.0.1:$secure"

EDGE_TEST_KUBECONFIG=$run/kubeconfig KUBECONFIG=$run/kubeconfig EDGE_TEST_KUBE_PIDS="${pids[*]}" "$@"
