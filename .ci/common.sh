# Shared by up.sh and test.sh: what the machine needs, and the executables. Sourced at the root of the source tree.
publish=$PWD/artifacts/publish
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1

# One compiler for all projects of a build instead of a cold one for each: a fifth of the time. Its own name, so that it can be ended afterwards.
export UseSharedCompilation=true SharedCompilationId=edge-build-$$
end_compiler() { pkill -f -- "-pipename:$SharedCompilationId" || true; }

say() { printf '%s\n' "$*" >&2; }

need_dotnet() {
  command -v dotnet >/dev/null || { say "the .NET 10 SDK is not on PATH; install it from https://dot.net and run this again"; exit 1; }
}

# Installs the Debian packages among its arguments that are missing. Without root, or on another distribution, it says what is missing.
install_packages() {
  local missing=() package
  command -v dpkg-query >/dev/null || return 0
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    say "not installed, and only root can install them: ${missing[*]}"
    return 0
  fi
  say "installing ${missing[*]}"
  local log=artifacts/apt.log
  mkdir -p artifacts
  # No service is started by the installation: Edge runs a containerd of its own.
  if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    say "could not install ${missing[*]}; what needs them will say so"
  fi
}

# One line that changes whenever a source of the product does, committed or not.
source_hash() {
  { git ls-files -co --exclude-standard -- '*.cs' '*.csproj' '*.props' '*.proto' '*.yaml' '*.json' '*.sln' ':!tests' ':!docs' 2>/dev/null || find cloud common devices edge manifests protocol simulators ./*.props -type f -not -path '*/bin/*' -not -path '*/obj/*'; } \
    | LC_ALL=C sort | while IFS= read -r file; do [ ! -f "$file" ] || printf '%s\0' "$file"; done | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

# publish_one NAME PROJECT ARGUMENTS...: into artifacts/publish/NAME; the folder is replaced only by a whole new one.
publish_one() {
  local name=$1 project=$2 started=$SECONDS log=artifacts/publish-$1.log
  shift 2
  rm -rf "$publish/$name.new"
  # Without the lock's descriptor: a compiler that stays for the next build would hold the lock as long.
  if ! dotnet publish "$project" -c Release -o "$publish/$name.new" "$@" >"$log" 2>&1 9>&-; then
    grep -E 'error|warning' "$log" | sort -u | head -n 20 >&2
    say "could not build $name; the whole output is in $log"
    exit 1
  fi
  rm -rf "${publish:?}/$name"
  mv "$publish/$name.new" "$publish/$name"
  say "built $name in $((SECONDS - started)) s"
}

# A self-contained, trimmed executable: starts faster and is smaller in memory, and as a container image needs nothing else.
self_contained=(-r linux-x64 --self-contained -p:PublishTrimmed=true)

# publish_named NAME...: the executables that are not up to date.
publish_named() {
  need_dotnet
  mkdir -p "$publish"
  # One build at a time: a second run waits, and then finds everything built.
  exec 9>"$publish/.lock"
  flock 9
  local hash name
  hash=$(source_hash)
  for name in "$@"; do
    [ "$(cat "$publish/$name.hash" 2>/dev/null)" = "$hash" ] && [ -x "$publish/$name/$name" ] && continue
    case $name in
      cloudcore) publish_one cloudcore cloud/CloudCore.Host "${self_contained[@]}" ;;
      edgecore) publish_one edgecore edge/EdgeCore.Host "${self_contained[@]}" ;;
      modbus-mapper) publish_one modbus-mapper devices/Edge.Devices.Modbus.Host "${self_contained[@]}" ;;
      mqtt-mapper) publish_one mqtt-mapper devices/Edge.Devices.Mqtt.Host "${self_contained[@]}" ;;
      edgectl) publish_one edgectl cloud/Edgectl ;;
      fleet-simulator) publish_one fleet-simulator simulators/FleetSimulator ;;
      edge-simulator) publish_one edge-simulator simulators/Edge.Simulators.Host ;;
    esac
    printf '%s\n' "$hash" >"$publish/$name.hash"
  done
  exec 9>&-
  end_compiler
}

publish_all() { publish_named cloudcore edgecore edgectl edge-simulator modbus-mapper; }

# The benchmarks' own executable, Release.
build_benchmarks() {
  need_dotnet
  mkdir -p artifacts
  if ! dotnet build tests/Edge.Benchmarks -c Release -v q -nologo >artifacts/bench-build.log 2>&1; then
    grep -E 'error|warning' artifacts/bench-build.log | sort -u | head -n 20 >&2
    say "could not build the benchmarks; the whole output is in artifacts/bench-build.log"
    exit 1
  fi
  end_compiler
}
