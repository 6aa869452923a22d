#!/usr/bin/env bash
# Builds one Debian package with edgecore, cloudcore and edgectl, from 'dotnet publish'. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'EOF'
packaging/build-deb.sh [--out DIR] [--version V] [--arch amd64|arm64] [--from DIR [--needs-dotnet]]

Publishes edgecore, cloudcore and edgectl self-contained and packs them with their systemd units into DIR/edge_V_ARCH.deb (DIR is artifacts/deb).
Installing starts nothing: 'edgectl join --with-systemd' or 'systemctl enable --now cloudcore' does.

  --from DIR       takes the programs from DIR/edgecore, DIR/cloudcore and DIR/edgectl, and publishes nothing; they must be published self-contained
  --needs-dotnet   takes also programs that are not, and makes the package depend on the .NET runtime (aspnetcore-runtime-10.0)
EOF
}

out=artifacts/deb version=0.1.0 arch=$(dpkg --print-architecture) from= needs_dotnet=
while [ $# -gt 0 ]; do
  case "$1" in
    --out) out=$2; shift 2 ;;
    --version) version=$2; shift 2 ;;
    --arch) arch=$2; shift 2 ;;
    --from) from=$2; shift 2 ;;
    --needs-dotnet) needs_dotnet=1; shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "build-deb.sh: '$1' is not known; see --help" >&2; exit 2 ;;
  esac
done
case "$arch" in
  amd64) runtime=linux-x64 ;;
  arm64) runtime=linux-arm64 ;;
  *) echo "build-deb.sh: --arch '$arch' must be amd64 or arm64" >&2; exit 2 ;;
esac
[[ "$version" =~ ^[0-9][A-Za-z0-9.+~-]*$ ]] || { echo "build-deb.sh: --version '$version' is no Debian version" >&2; exit 2; }

[ -z "$needs_dotnet" ] || [ -n "$from" ] || { echo "build-deb.sh: --needs-dotnet is for programs that --from names; what is published here is self-contained" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
declare -A projects=([edgecore]=edge/EdgeCore.Host [cloudcore]=cloud/CloudCore.Host [edgectl]=cloud/Edgectl)
mkdir -p "$root/DEBIAN" "$root/usr/lib/edge" "$root/usr/bin" "$root/usr/lib/systemd/system" "$root/etc/kubeedge/config" "$root/usr/share/doc/edge"
if [ -n "$from" ]; then
  # All are looked at before any is copied. 'dotnet publish' writes which frameworks come along.
  for program in edgecore cloudcore edgectl; do
    [ -x "$from/$program/$program" ] || { echo "build-deb.sh: --from: there is no $from/$program/$program" >&2; exit 1; }
    if [ -z "$needs_dotnet" ] && ! grep -q '"includedFrameworks"' "$from/$program/$program.runtimeconfig.json" 2>/dev/null; then
      echo "build-deb.sh: --from: $from/$program/$program needs an installed .NET, which a Debian does not have; publish it by" \
        "'dotnet publish ${projects[$program]} -c Release -r $runtime --self-contained -o $from/$program', or leave --from out, or have the package depend on .NET by --needs-dotnet" >&2
      exit 1
    fi
  done
fi
for program in edgecore cloudcore edgectl; do
  if [ -n "$from" ]; then
    cp -R "$from/$program" "$root/usr/lib/edge/$program"
  else
    dotnet publish "${projects[$program]}" -c Release -r "$runtime" --self-contained -v q --nologo -o "$root/usr/lib/edge/$program"
  fi
  # Symbols and documentation are for developers.
  find "$root/usr/lib/edge/$program" \( -name '*.pdb' -o -name '*.xml' \) -delete
  ln -s "../lib/edge/$program/$program" "$root/usr/bin/$program"
done

cp packaging/edgecore.service packaging/cloudcore.service "$root/usr/lib/systemd/system/"
cat > "$root/etc/kubeedge/config/cloudcore.yaml" <<'EOF'
# 'cloudcore --defaultconfig' prints every key.
apiVersion: cloudcore.config.kubeedge.io/v1alpha1
kind: CloudCore
EOF
echo /etc/kubeedge/config/cloudcore.yaml > "$root/DEBIAN/conffiles"
cp README.md CHANGELOG.md "$root/usr/share/doc/edge/"
# What 'edgectl join' writes holds a token.
chmod 0700 "$root/etc/kubeedge/config"
cat > "$root/DEBIAN/control" <<EOF
Package: edge
Version: $version
Architecture: $arch
Maintainer: Edge <edge@localhost>
Section: net
Priority: optional
Installed-Size: $(du -sk "$root" | cut -f1)
Depends: libc6, libgcc-s1, libstdc++6, libssl3t64 | libssl3, libsqlite3-0, ca-certificates${needs_dotnet:+, aspnetcore-runtime-10.0}
Recommends: containerd, containernetworking-plugins
Suggests: kubernetes-client
Description: edge computing hub of the KubeEdge kind
 EdgeCore runs pods and devices at the edge and goes on without the network;
 CloudCore serves edges beside a Kubernetes API or with its own; edgectl sets
 up and looks after both.
EOF
cat > "$root/DEBIAN/postinst" <<'EOF'
#!/bin/sh
set -e
# A new version takes over where one runs; a first install starts nothing.
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  [ -z "$2" ] || systemctl try-restart edgecore.service cloudcore.service
fi
EOF
cat > "$root/DEBIAN/prerm" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl disable --now edgecore.service cloudcore.service 2>/dev/null || true
fi
EOF
cat > "$root/DEBIAN/postrm" <<'EOF'
#!/bin/sh
set -e
# Purging leaves no key, token and database. What is mounted below is another's, and stays; containers are for 'edgectl reset', before.
if [ "$1" = purge ]; then
  root=${DPKG_ROOT:-}
  unit=$root/etc/systemd/system/edgecore.service
  if grep -qs "^# Written by 'edgectl join'" "$unit"; then rm -f "$unit" "$root/etc/systemd/system/multi-user.target.wants/edgecore.service"; fi
  rm -rf --one-file-system "$root/etc/kubeedge/config" "$root/etc/kubeedge/ca" "$root/etc/kubeedge/certs" "$root/var/lib/kubeedge" "$root/var/lib/edge"
  rmdir "$root/etc/kubeedge" 2>/dev/null || true
fi
if [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
EOF
chmod 0755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm" "$root/DEBIAN/postrm"
mkdir -p "$out"
dpkg-deb --root-owner-group --build "$root" "$out/edge_${version}_${arch}.deb" >/dev/null
echo "$out/edge_${version}_${arch}.deb"
