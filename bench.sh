#!/usr/bin/env bash
# ./bench.sh NAME runs a workload beside a real peer and writes artifacts/bench/NAME.json; ./bench.sh alone lists the names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# A workload is an executable file bench/NAME; its second line, a comment, says what it measures.
workloads() { [ ! -d bench ] || find bench -maxdepth 1 -type f -perm -u+x -printf '%f\n' | sort; }

if [ $# -eq 0 ] || [ "$1" = -h ] || [ "$1" = --help ]; then
  echo "usage: ./bench.sh NAME"
  if [ -z "$(workloads)" ]; then
    echo "there are no workloads yet"
  else
    for name in $(workloads); do printf '  %-20s %s\n' "$name" "$(sed -n '2s/^# //p' "bench/$name")"; done
  fi
  exit 0
fi

case "$1" in */* | .*) ;; *) [ ! -x "bench/$1" ] || exec "bench/$@" ;; esac
names=$(workloads | paste -sd ' ')
echo "bench.sh: there is no workload '$1'; $([ -n "$names" ] && echo "there are: $names" || echo "there are no workloads yet")" >&2
exit 1
