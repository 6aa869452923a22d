using System.Collections.Concurrent;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.DeviceTwin;
using Edge.Core.Edged;
using Edge.Core.EventBus;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests.Interop;

/// <summary>A stock cloud's side of the recorded exchange, played to a whole EdgeCore with pods, twins and MQTT on real sockets.</summary>
[Trait("Category", "Interop")]
public sealed class StockCloudReplayTests : IAsyncLifetime
{
    // Where this edge differs from the recorded one, and why a stock cloud does not mind.
    private static readonly string[] s_differences =
    [
        // Conditions are always sent whole, in their order.
        "patch null/nodepatch/edge-node: content.status.$setElementOrder/conditions is missing",
        // A TokenRequest as client-go writes it: null where there is none, and an empty status. To Go it is the same.
        "query default/serviceaccounttoken/default: content.metadata.creationTimestamp is missing",
        "query default/serviceaccounttoken/default: content.spec.audiences is Array, recorded null",
        "query default/serviceaccounttoken/default: content.status is missing",
        // Kubernetes' own addition of 1.31, which tells what the spec says already.
        "patch default/podpatch/web: content.status.containerStatuses[].volumeMounts is missing",
        // As of the node.
        "patch default/podpatch/web: content.status.$setElementOrder/conditions is missing",
        // A cloud finds what is acknowledged by its id alone; stock edges have two rooms that answer, and this one has one.
        "response default/devicemodel/thermo-model: source is 'devicecontroller', recorded 'meta'",
        "response default/devicemodel/thermo-model: group is 'resource', recorded 'twin'",
        "response default/device/thermo: source is 'devicecontroller', recorded 'meta'",
        "response default/device/thermo: group is 'resource', recorded 'twin'",
    ];

    // What this edge never sends: a stock cloud does not answer it, and pushes the devices anyway.
    private static readonly string[] s_omitted = ["get membership/detail"];

    private readonly TempDirectory _directory = new();
    private readonly FakeCloud _cloud = new(); // knows nothing of the Edge wire
    private readonly List<JsonObject> _lines = Recording.Read() ?? [];
    private readonly Dictionary<string, Queue<JsonNode>> _answers = []; // the recorded cloud's, by the request's route
    private readonly ConcurrentDictionary<string, string> _answered = new(); // ids: of our edge's request, of the answer to it
    private readonly Dictionary<string, string> _stands = []; // ids: of a recorded answer, of what our edge got instead
    private readonly HashSet<string> _periodic = []; // routes of what is sent all the time and was compared on this connection
    private readonly HashSet<string> _taken = [];
    private int _before; // messages of the connections before
    private readonly List<string> _problems = [];
    private FakeRuntime _runtime = null!;
    private EventBusService? _bus;

    public async Task InitializeAsync()
    {
        _runtime = await FakeRuntime.StartAsync(_directory.File("cri"));
        foreach (var request in Messages().Where(line => Recording.IsRequest(line)).Select(line => line["message"]!))
        {
            var route = Recording.Route(request);
            if (!_answers.TryGetValue(route, out var answers))
                _answers[route] = answers = new Queue<JsonNode>();
            answers.Enqueue(AnswerTo(request));
        }

        _cloud.Answer = Answer;
        await _cloud.StartAsync();
    }

    public async Task DisposeAsync()
    {
        await _cloud.DisposeAsync();
        await _runtime.DisposeAsync();
        _directory.Dispose();
    }

    [SkippableFact]
    public async Task A_stock_cloud_hears_what_it_heard_from_a_stock_edge()
    {
        Skip.If(_lines.Count == 0, "the recorded exchange (../shared/facts/samples) is missing");
        await using var edge = Edge();
        foreach (var line in _lines)
        {
            if (line.Text("step") is { Length: > 0 } step)
            {
                await ActAsync(step);
            }
            else if (line["http"] is JsonArray head)
            {
                if (Recording.IsFromEdge(line))
                    await CompareConnectAsync(head);
                _periodic.Clear();
            }
            else if (line["message"] is { } message)
            {
                var parent = message.Text("header", "parent_msg_id");
                if (!Recording.IsFromEdge(line) && parent.Length == 0)
                    await _cloud.SendAsync(Read(message));
                else if (Recording.IsFromEdge(line) && parent.Length > 0)
                    await CompareAckAsync(message, parent);
                else if (Recording.IsFromEdge(line) && IsCompared(message))
                    await CompareRequestAsync(message);
            }
        }

        var routes = Messages().Select(line => Recording.Route(line["message"]!)).Except(s_omitted).ToHashSet();
        _problems.AddRange(_cloud.Seen().Where(message => message.ParentId.Length == 0).Select(Route).Where(route => !routes.Contains(route)).Select(route => $"{route}: not in the recording"));
        Assert.Equal("", string.Join('\n', _problems.Except(s_differences)));
        Assert.Equal("", string.Join('\n', s_differences.Except(_problems))); // what is no difference any more
    }

    private RunningEdge Edge() => new(
        RunningEdge.Options(
            _cloud, _directory, "modules.edged.enable=true", $"modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint=unix://{_directory.File("cri")}",
            $"modules.edged.rootDirectory={_directory.File("root")}", $"modules.edged.tailoredKubeletConfig.podLogsDir={_directory.File("logs")}", "modules.edged.nodeIP=192.0.2.2",
            "modules.edged.tailoredKubeletConfig.nodeLeaseDurationSeconds=4", // renewed each second
            "modules.deviceTwin.reportWindowMs=0", "modules.eventBus.enable=true", "modules.eventBus.mqttMode=0", "modules.eventBus.mqttServerInternal=tcp://127.0.0.1:0"),
        host =>
        {
            TwinService? twins = null;
            host.AddPods(services => new PodManager(services));
            host.AddModule(services => twins = new TwinService(services));
            host.AddEventBus(services => _bus = new EventBusService(services, twins!));
        });

    // Keepalives and leases are compared once a connection; a patch of nothing needs none.
    private bool IsCompared(JsonNode recorded)
        => Recording.Route(recorded) is var route && !s_omitted.Contains(route) && Inner(recorded["content"]) is not JsonObject { Count: 0 }
            && (route is not ("keepalive node" or "update kube-node-lease/lease/edge-node") || _periodic.Add(route));

    private IEnumerable<JsonObject> Messages() => _lines.Where(line => line["message"] is not null);

    private static string Route(Message message) => $"{message.Operation} {message.Resource}";

    // The recorded message as our edge is to get it: of the one image that the runtime here knows, and without the ConfigMap whose query was left out of the recording.
    private static Message Read(JsonNode recorded)
    {
        var message = recorded.DeepClone().AsObject();
        foreach (var volume in message["content"].Items("spec", "volumes"))
        {
            if (volume["projected"]?["sources"] is JsonArray sources)
                sources.RemoveAll(source => source!.Text("configMap", "name") == "openshift-service-ca.crt");
        }

        // A token that has run out long ago would be asked for again at once.
        if (message["content"].Text("status", "expirationTimestamp").Length > 0)
            message["content"]!["status"]!["expirationTimestamp"] = KubeObject.Time(TimeProvider.System.GetUtcNow().AddHours(1));
        var text = message.ToJsonString().Replace("docker.io/library/busybox:peer", "present:1", StringComparison.Ordinal);
        Assert.True(MessageCodec.TryRead(Encoding.UTF8.GetBytes(text), out var read, out var error), error);
        return read;
    }

    // The next recorded answer to such a request; the last of them goes on being the answer.
    private Message? Answer(Message message)
    {
        if (message.ParentId.Length > 0 || !_answers.TryGetValue(Route(message), out var answers))
            return null;
        var recorded = answers.Count > 1 ? answers.Dequeue() : answers.Peek();
        var answer = Read(recorded) with { Id = Guid.NewGuid().ToString(), ParentId = message.Id };
        _answered[message.Id] = answer.Id;
        return answer;
    }

    private JsonNode AnswerTo(JsonNode request) => Messages().Select(line => line["message"]!).Single(message => message.Text("header", "parent_msg_id") == request.Text("header", "msg_id"));

    private async Task CompareConnectAsync(JsonArray head)
    {
        var connect = await _cloud.Connects.ReadAsync();
        Same("connect: path", ((string)head[0]!).Split(' ')[1], connect.Path);
        foreach (var (name, value) in head.Skip(1).Select(line => ((string)line!).Split(": ", 2)).Where(pair => pair.Length == 2).Select(pair => (pair[0], pair[1])))
        {
            if (name is "Node_id" or "Project_id" or "Connectionuse" or "Sec-WebSocket-Version")
                Same($"connect: {name}", value, connect.Headers.GetValueOrDefault(name, ""));
        }
    }

    private async Task CompareAckAsync(JsonNode recorded, string parent)
    {
        var route = Recording.Route(recorded);
        if (Messages().Any(line => line["message"].Text("header", "msg_id") == parent && line["message"].Text("header", "parent_msg_id").Length > 0))
        {
            if (!_stands.TryGetValue(parent, out var stand))
                return; // its request was not compared
            parent = stand;
        }

        if (await NextAsync(message => message.ParentId == parent) is { } ours)
            Compare(route, recorded, ours);
        else
            _problems.Add($"{route} to {parent}: is missing");
    }

    private async Task CompareRequestAsync(JsonNode recorded)
    {
        var route = Recording.Route(recorded);
        var state = ContainerState(recorded["content"]);
        if (await NextAsync(message => message.ParentId.Length == 0 && Route(message) == route && ContainerState(Content(message)) == state) is { } ours)
        {
            Compare(route, recorded, ours);
            if (_answered.TryGetValue(ours.Id, out var answer))
                _stands[AnswerTo(recorded).Text("header", "msg_id")] = answer;
        }
        else
        {
            _problems.Add($"{route}: is missing");
        }
    }

    private void Compare(string what, JsonNode recorded, Message ours)
    {
        Same($"{what}: source", recorded.Text("route", "source"), ours.Source);
        Same($"{what}: group", recorded.Text("route", "group"), ours.Group);
        Same($"{what}: operation", recorded.Text("route", "operation"), ours.Operation);
        Same($"{what}: resource", recorded.Text("route", "resource"), ours.Resource);
        var content = Content(ours);
        _problems.AddRange(Shape.Missing(recorded["content"], content).Select(problem => $"{what}: {problem}"));
        if (Inner(recorded["content"]) is { } inner)
            _problems.AddRange(Shape.Missing(inner, Inner(content)).Select(problem => $"{what}: {problem}"));
    }

    // A patch travels as the text of its JSON.
    private static JsonNode? Inner(JsonNode? content) => content is JsonValue value && value.TryGetValue<string>(out var text) && text.StartsWith('{') ? JsonNode.Parse(text) : null;

    private static JsonNode? Content(Message message) => message.Content.IsEmpty ? null : JsonNode.Parse(message.Content.Span);

    // waiting, running or terminated, in a pod's status: of these states one may be told more than once.
    private static string ContainerState(JsonNode? content)
        => Inner(content).Items("status", "containerStatuses").FirstOrDefault()?["state"]?.AsObject().Single().Key ?? "";

    private void Same(string what, string theirs, string own)
    {
        if (theirs != own)
            _problems.Add($"{what} is '{own}', recorded '{theirs}'");
    }

    private static bool IsReport(Message message, string value)
        => message.Resource == "device/default/thermo/twin/edge_updated" && Encoding.UTF8.GetString(message.Content.Span).Contains($"\"{value}\"", StringComparison.Ordinal);

    private async Task<Message?> NextAsync(Func<Message, bool> fits, bool take = true)
    {
        for (var i = 0; i < 4000; i++)
        {
            if (_cloud.Seen().Skip(_before).FirstOrDefault(message => !_taken.Contains(message.Id) && fits(message)) is { } found)
            {
                if (take)
                    _taken.Add(found.Id);
                return found;
            }

            await Task.Delay(5);
        }

        return null;
    }

    // What was done at the edge while the exchange was recorded, and the cut.
    private async Task ActAsync(string step)
    {
        const string Device = "$hw/events/device/default/thermo/";
        switch (step)
        {
            case "twin reported over MQTT twice":
                foreach (var value in (string[])["21", "22"])
                {
                    var report = """{"event_id":"","timestamp":0,"twin":{"temperature":{"actual":{"value":"VALUE"},"metadata":{"type":"int"}}}}""".Replace("VALUE", value, StringComparison.Ordinal);
                    // The device is on disk; the twins may learn of it a moment later, and a report until then is refused.
                    do
                        await PublishAsync(Device + "twin/update", report);
                    while (await NextAsync(message => IsReport(message, value), take: false) is null);
                }

                break;
            case "device state reported over MQTT":
                await PublishAsync(Device + "state/update", """{"event_id":"","timestamp":0,"state":"online"}""");
                break;
            case "edge application publishes user data":
                await PublishAsync("sensor/user/room1", """{"hello":1}""");
                break;
            case "link cut, object changed meanwhile, reconnect":
                _before = _cloud.Seen().Count;
                _cloud.Cut();
                break;
        }
    }

    private async Task PublishAsync(string topic, string payload)
    {
        await using var application = MqttClient.Start(
            new MqttClientOptions { Host = "127.0.0.1", Port = _bus!.EndPoint!.Port }, _ => ValueTask.CompletedTask, TimeProvider.System, new Random(3), NullLoggerFactory.Instance);
        await application.PublishAsync(new MqttMessage(topic, Encoding.UTF8.GetBytes(payload), MqttQos.AtLeastOnce)).WaitAsync(TimeSpan.FromSeconds(20));
    }
}
