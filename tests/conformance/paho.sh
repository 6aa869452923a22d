#!/usr/bin/env bash
# tests/conformance/paho.sh CHECKOUT: runs the Eclipse Paho interoperability suite, versions 3.1.1 and 5.0, against this tree's broker.
# CHECKOUT is a clone of https://github.com/eclipse-paho/paho.mqtt.testing; it needs python3 alone. About four minutes.
set -euo pipefail
case "${1:-}" in '' | -h | --help) sed -n '2,3s/^# //p' "$0"; exit 2 ;; esac
set -- "$(realpath "$1")"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. ./.ci/common.sh

suite=$1/interoperability
[ -f "$suite/client_test5.py" ] || { say "$suite has no client_test5.py: give the path of a clone of paho.mqtt.testing"; exit 2; }
build_benchmarks

coproc broker { exec dotnet tests/Edge.Benchmarks/bin/Release/net10.0/Edge.Benchmarks.dll mqtt-broker 0 conformance; }
pid=$broker_PID
trap 'kill "$pid" 2>/dev/null || true' EXIT
read -r port <&"${broker[0]}"
say "the broker listens on $port"

# As the suites' own main does, which takes no port (client_test) or only with its arguments in one order (client_test5).
run() {
  (cd "$suite" && python3 -B -W ignore -c '
import importlib, sys, unittest
name, port, prefix = sys.argv[1], int(sys.argv[2]), sys.argv[3]
suite = importlib.import_module(name)
suite.host, suite.port, suite.topic_prefix = "127.0.0.1", port, prefix
suite.topics = [prefix + topic for topic in ["TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA"]]
suite.wildtopics = [prefix + topic for topic in ["TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#"]]
suite.nosubscribe_topics = ("test/nosubscribe",)
unittest.main(module=suite, argv=[name, "-v"])' "$@")
}

failed=0
run client_test "$port" "" || failed=1
run client_test5 "$port" client_test5/ || failed=1
exit $failed
