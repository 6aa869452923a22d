#!/usr/bin/env bash
# Sets up what is missing, builds, and starts a whole Edge on this machine. See ./up.sh --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./.ci/common.sh

usage() {
  cat <<'EOF'
./up.sh [--check] [--nodes N] [--no-pods] [--dns] [--data-dir DIR]

Starts CloudCore with its Kubernetes API, EdgeCore on containerd, a Modbus simulator and mapper, applies docs/examples, and shows nodes, pods and
devices until Ctrl-C; then stops all of it. As root it installs the Debian packages that are missing (containerd, runc, CNI plugins, busybox, kubectl).
Without root it leaves pods out and runs the device path.

  ./up.sh                   start, and show what happens; prints the KUBECONFIG to use with kubectl
  ./up.sh --check           prove the main job on free ports in a temporary directory, print the time of each step, exit 0 or 1
  ./up.sh --nodes 3         three nodes; edge-1 runs the pods
  ./up.sh --no-pods         no containers; needs no root
  ./up.sh --dns             with DNS: CloudCore on 127.0.0.1:5300, the resolver of edge-1 on 127.0.0.1:10053 (docs/gslb.md)

  --data-dir DIR            where everything is kept (default ~/.edge)
EOF
}

for argument in "$@"; do
  case "$argument" in -h | --help | '-?') usage; exit 0 ;; esac
done

packages=(containerd runc containernetworking-plugins busybox-static iproute2)
command -v kubectl >/dev/null || packages+=(kubernetes-client)
install_packages "${packages[@]}"
publish_all
exec "$publish/edgectl/edgectl" up "$@"
