#!/usr/bin/env bash
# ./test.sh [FILTER]: installs what the tests need, builds, runs the tests. FILTER is an expression of dotnet test --filter, e.g. Category=Sync.
# The last line is "N passed, N failed, N skipped"; exits 1 when a test failed, when the build failed, or when no test ran.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./.ci/common.sh

case "${1:-}" in -h | --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;; esac
filter=${1:-}

packages=(containerd runc containernetworking-plugins busybox-static curl iproute2 libmodbus5 mbpoll mosquitto mosquitto-clients
  golang-go golang-google-grpc-dev golang-goprotobuf-dev protobuf-compiler redis-server mariadb-server
  chromium fonts-dejavu-core python3-kubernetes bind9-dnsutils mmdb-bin gdnsd knot knot-dnsutils pdns-server pdns-backend-bind)
command -v kubectl >/dev/null || packages+=(kubernetes-client)
install_packages "${packages[@]}"

need_dotnet
results=artifacts/test-results
rm -rf "$results" artifacts/test-logs
mkdir -p "$results"

started=$SECONDS
if ! dotnet build Edge.sln -v q -nologo >artifacts/build.log 2>&1; then
  grep -E 'error|warning' artifacts/build.log | sort -u | head -n 40
  echo "the build failed; the whole output is in artifacts/build.log" >&2
  exit 1
fi
say "built in $((SECONDS - started)) s"

# run_project PROJECT: leaves NAME.counts beside the log and the results: good, bad, skipped.
run_project() {
  local name log started=$SECONDS ok=yes total=0 executed=0 good=0 bad=0
  name=$(basename "$1" .csproj)
  log=$results/$name.log
  # A test that says nothing for so long hangs. The hundred kills are one test.
  local hang=5m
  [ "$name" != Chaos.Tests ] || hang=20m
  local arguments=(--no-build --nologo --results-directory "$results" --logger "trx;LogFileName=$name.trx" --logger "console;verbosity=minimal" --blame-hang-timeout $hang)
  [ -z "$filter" ] || arguments+=(--filter "$filter")
  # The mapper runs in a container in some of these, which takes a self-contained build. In a shell of its own: the lock goes with it.
  if [ "$name" = Interop.Tests ] && ! (publish_named modbus-mapper); then
    echo "FAILED $name: the mapper that its pods run could not be built"
    echo "0 1 0" >"$results/$name.counts"
    return
  fi
  dotnet test "$1" "${arguments[@]}" >"$log" 2>&1 || ok=no

  # <Counters total="9" executed="8" passed="8" failed="0" ...>: what was not executed was skipped.
  local counters
  counters=$(grep -o '<Counters [^>]*>' "$results/$name.trx" 2>/dev/null || true)
  [ -z "$counters" ] || read -r total executed good bad < <(sed -E 's/.*total="([0-9]+)" executed="([0-9]+)" passed="([0-9]+)" failed="([0-9]+)".*/\1 \2 \3 \4/' <<<"$counters")
  if [ $ok = no ] && [ "$bad" -eq 0 ]; then
    # The test host crashed or hung: no test says so, but one of them did it.
    echo "FAILED $name: the test run broke off"
    tail -n 30 "$log"
    bad=1
  fi

  # What failed, with its message, up to the stack; what was skipped, with the reason.
  awk '/^ +Failed /{show=1} /^ +(Passed|Skipped) |^Failed! /{show=0} show; /Stack Trace:/{show=2; left=6} show==2 && --left<=0 {show=0}' "$log"
  [ "$total" -eq 0 ] || say "$name: $good passed, $bad failed, $((total - executed)) skipped in $((SECONDS - started)) s"
  echo "$good $bad $((total - executed))" >"$results/$name.counts"
}

# Two test projects at a time, those that take long first: one alone waits half of its time, for containers, beats and back-offs; three would wait for the two cores.
longest=(Interop Chaos EdgeCore Edgectl)
projects=("${longest[@]/%/.Tests}")
for project in tests/*.Tests/; do
  name=$(basename "$project")
  [[ " ${projects[*]} " == *" $name "* ]] || projects+=("$name")
done
for name in "${projects[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n || true; done
  run_project "tests/$name/$name.csproj" &
done
wait

passed=0 failed=0 skipped=0
for name in "${projects[@]}"; do
  read -r good bad left <"$results/$name.counts"
  passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + left))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
