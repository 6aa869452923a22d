using System.CommandLine;
using Edge.Benchmarks;
using Edge.Benchmarks.Api;
using Edge.Benchmarks.Dns;
using Edge.Benchmarks.Fuzz;
using Edge.Benchmarks.Hub;
using Edge.Benchmarks.Modbus;
using Edge.Benchmarks.Mqtt;
using Edge.Benchmarks.Pods;
using Edge.Benchmarks.Scale;
using Edge.Benchmarks.Store;
using Edge.Benchmarks.Streams;
using Edge.Benchmarks.Twin;

var nodes = new Argument<int>("nodes") { Description = "How many nodes; the same is measured at a tenth of it.", DefaultValueFactory = _ => 10_000 };
var cloudcore = new Option<string>("--cloudcore") { Description = "The cloudcore executable.", DefaultValueFactory = _ => "artifacts/publish/cloudcore/cloudcore" };
var fleet = new Option<string>("--fleet") { Description = "The fleet-simulator executable.", DefaultValueFactory = _ => "artifacts/publish/fleet-simulator/fleet-simulator" };
var idle = new Option<int>("--idle-seconds") { Description = "How long idle traffic is watched.", DefaultValueFactory = _ => 60 };
var changes = new Option<int>("--changes-only") { Description = "Only connecting, and so many rounds of one pod change to each node, with the processor time of each process." };
var hub = new Command("hub", "CloudCore's hub with many nodes.") { nodes, cloudcore, fleet, idle, changes };
hub.SetAction((parse, cancellationToken) => HubBench.RunAsync(
    new HubBenchOptions(parse.GetValue(nodes), Path.GetFullPath(parse.GetValue(cloudcore)!), Path.GetFullPath(parse.GetValue(fleet)!), parse.GetValue(idle), parse.GetValue(changes)), cancellationToken));

var seconds = new Option<double>("--seconds") { Description = "How long each of the three runs of each side takes.", DefaultValueFactory = _ => 4 };
var writers = new Option<int>("--writers") { Description = "Writers at once.", DefaultValueFactory = _ => 1024 };
var store = new Command("store", "MetaManager's durable writes against one transaction a write.") { seconds, writers };
store.SetAction((parse, cancellationToken) => StoreBench.RunAsync(TimeSpan.FromSeconds(parse.GetValue(seconds)), parse.GetValue(writers), cancellationToken));

var inputs = new Option<long>("--inputs") { Description = "Mutated inputs in all.", DefaultValueFactory = _ => 10_000_000 };
var seed = new Option<int>("--seed") { Description = "The seed; a crash prints it with the input's number.", DefaultValueFactory = _ => 1 };
var target = new Option<string>("--target") { Description = $"Only this one: {string.Join(", ", FuzzTargets.All.Select(one => one.Name))}.", DefaultValueFactory = _ => "" };
var number = new Option<long?>("--number") { Description = "Only this input of --target, to see a crash again." };
var fuzz = new Command("fuzz", "Mutated inputs through everything that reads what a peer sent.") { inputs, seed, target, number };
fuzz.SetAction(parse => FuzzBench.Run(parse.GetValue(inputs), parse.GetValue(seed), parse.GetValue(target)!, parse.GetValue(number)));

var podsIdle = new Option<int>("--idle-seconds") { Description = "How long edgecore is watched with 0, 10 and 50 idle pods.", DefaultValueFactory = _ => 30 };
var pods = new Command("pods", "Pods on real containerd, from kubectl apply to Running, against plain CRI calls.") { podsIdle };
pods.SetAction((parse, cancellationToken) => PodsBench.RunAsync(parse.GetValue(podsIdle), cancellationToken));

var mqttSeconds = new Option<double>("--seconds") { Description = "How long each of the runs of each side takes.", DefaultValueFactory = _ => 2 };
var mqttIdle = new Option<int>("--idle-clients") { Description = "How many idle clients are connected for the memory of one.", DefaultValueFactory = _ => 5000 };
var mqttStreams = new Option<bool>("--streams-only") { Description = "Only the memory of idle clients over TLS and WebSocket." };
var mqttLatency = new Option<bool>("--latency-only") { Description = "Only the latencies." };
var mqtt = new Command("mqtt", "The MQTT broker beside mosquitto.") { mqttSeconds, mqttIdle, mqttStreams, mqttLatency };
mqtt.SetAction((parse, cancellationToken) => parse.GetValue(mqttStreams)
    ? MqttBench.RunStreamsAsync(parse.GetValue(mqttIdle), cancellationToken)
    : parse.GetValue(mqttLatency)
    ? MqttBench.RunLatenciesAsync(parse.GetValue(mqttSeconds), cancellationToken)
    : MqttBench.RunAsync(parse.GetValue(mqttSeconds), parse.GetValue(mqttIdle), cancellationToken));
var mqttPort = new Argument<int>("port");
var mqttKind = new Argument<string>("kind");
var mqttBroker = new Command("mqtt-broker", "The broker under test, in a process of its own.") { mqttPort, mqttKind };
mqttBroker.Hidden = true;
mqttBroker.SetAction((parse, cancellationToken) => BrokerProcess.ServeAsync(parse.GetValue(mqttPort), parse.GetValue(mqttKind)!, cancellationToken));

var modbusSeconds = new Option<double>("--seconds") { Description = "How long each of the three runs of each side takes.", DefaultValueFactory = _ => 5 };
var modbus = new Command("modbus", "Polling Modbus TCP slaves, beside libmodbus.") { modbusSeconds };
modbus.SetAction((parse, cancellationToken) => ModbusBench.RunAsync(TimeSpan.FromSeconds(parse.GetValue(modbusSeconds)), cancellationToken));
var slaveCount = new Argument<int>("count") { Description = "How many." };
var slaves = new Command("modbus-slaves", "The slaves of the modbus workload: libmodbus, in a process of their own; prints their ports, ends with its input.") { slaveCount };
slaves.SetAction(parse => ModbusSlaves.Run(parse.GetValue(slaveCount)));

var twinDevices = new Option<int>("--devices") { Description = "How many devices the node has.", DefaultValueFactory = _ => 1000 };
var twinSeconds = new Option<int>("--seconds") { Description = "How long each rate is held.", DefaultValueFactory = _ => 10 };
var twin = new Command("twin", "Device twins of one node, from report to watch and from desired value to mapper.") { twinDevices, twinSeconds };
twin.SetAction((parse, cancellationToken) => TwinBench.RunAsync(parse.GetValue(twinDevices), parse.GetValue(twinSeconds), cancellationToken));

var dnsSeconds = new Option<int>("--seconds") { Description = "How long each of the runs of each side takes.", DefaultValueFactory = _ => 3 };
var dns = new Command("dns", "The authoritative DNS server beside gdnsd, Knot and PowerDNS, and its health checks.") { dnsSeconds };
dns.SetAction((parse, cancellationToken) => DnsBench.RunAsync(parse.GetValue(dnsSeconds), cancellationToken));
var dnsPort = new Argument<int>("port");
var dnsZone = new Argument<string>("zone");
var dnsNetworks = new Argument<int>("networks");
var dnsServer = new Command("dns-server", "The DNS server under test, in a process of its own.") { dnsPort, dnsZone, dnsNetworks };
dnsServer.Hidden = true;
dnsServer.SetAction((parse, cancellationToken) => OwnDnsProcess.ServeAsync(parse.GetValue(dnsPort), parse.GetValue(dnsZone)!, parse.GetValue(dnsNetworks), cancellationToken));
var dnsTargets = new Argument<int>("targets");
var dnsInterval = new Argument<int>("interval");
var dnsHealth = new Command("dns-health", "The health checks under test, in a process of their own.") { dnsPort, dnsTargets, dnsInterval };
dnsHealth.Hidden = true;
dnsHealth.SetAction((parse, cancellationToken) => HealthBench.CheckAsync(parse.GetValue(dnsPort), parse.GetValue(dnsTargets), parse.GetValue(dnsInterval), cancellationToken));
var dnsPackets = new Option<long>("--packets") { Description = "Mutated packets.", DefaultValueFactory = _ => 10_000_000 };
var dnsSeed = new Option<int>("--seed") { Description = "The seed; a failure prints the packet.", DefaultValueFactory = _ => 1 };
var dnsFuzz = new Command("dns-fuzz", "Mutated packets through the authoritative responder.") { dnsPackets, dnsSeed };
dnsFuzz.SetAction(parse => DnsFuzzBench.Run(parse.GetValue(dnsPackets), parse.GetValue(dnsSeed)));

var apiSeconds = new Option<double>("--seconds") { Description = "How long each run takes.", DefaultValueFactory = _ => 5 };
var apiWatchers = new Option<int>("--watchers") { Description = "How many watchers.", DefaultValueFactory = _ => 1000 };
var apiCreates = new Option<bool>("--creates-only") { Description = "Only the durable creates beside etcd." };
var api = new Command("api", "The embedded Kubernetes API beside etcd.") { cloudcore, apiSeconds, apiWatchers, apiCreates };
api.SetAction((parse, cancellationToken) => ApiBench.RunAsync(Path.GetFullPath(parse.GetValue(cloudcore)!), parse.GetValue(apiSeconds), parse.GetValue(apiWatchers), parse.GetValue(apiCreates), cancellationToken));

var streamMegabytes = new Option<int>("--megabytes") { Description = "How much is copied.", DefaultValueFactory = _ => 100 };
var streamReaders = new Option<int>("--readers") { Description = "How many kubectl logs -f at once; at most 62, two less than edgecore serves at once.", DefaultValueFactory = _ => 50 };
var stream = new Command("stream", "kubectl cp, exec and logs -f to a pod at the edge, beside the runtime's own streaming server.") { streamMegabytes, streamReaders };
stream.SetAction((parse, cancellationToken) => StreamBench.RunAsync(parse.GetValue(streamMegabytes), parse.GetValue(streamReaders), cancellationToken));

var scaleNodes = new Argument<int>("nodes") { Description = "How many nodes.", DefaultValueFactory = _ => 1000 };
var scaleIdle = new Option<int>("--idle-seconds") { Description = "How long idle traffic is watched.", DefaultValueFactory = _ => 30 };
var scale = new Command("scale", "The model of docs/scale.md beside a fleet.") { scaleNodes, cloudcore, fleet, scaleIdle };
scale.SetAction((parse, cancellationToken) => ScaleBench.RunAsync(
    new HubBenchOptions(parse.GetValue(scaleNodes), Path.GetFullPath(parse.GetValue(cloudcore)!), Path.GetFullPath(parse.GetValue(fleet)!), parse.GetValue(scaleIdle)), cancellationToken));

var root = new RootCommand("Benchmarks of Edge; ./bench.sh runs them.") { hub, api, store, pods, stream, scale, modbus, mqtt, twin, fuzz, slaves, mqttBroker, dns, dnsServer, dnsHealth, dnsFuzz };
return await root.Parse(args).InvokeAsync();
