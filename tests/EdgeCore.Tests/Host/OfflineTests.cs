using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Edged;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>A whole EdgeCore with pods, without its cloud: what it does from its own disk, and how the two sides meet again.</summary>
[Trait("Category", "Sync")]
public sealed class OfflineTests : IAsyncLifetime
{
    private readonly TempDirectory _directory = new();
    private readonly FakeCloud _cloud = new() { EdgeWire = true };
    private readonly Dictionary<string, JsonObject> _wanted = []; // the cloud's objects by key
    private FakeRuntime _runtime = null!;

    public async Task InitializeAsync()
    {
        _runtime = await FakeRuntime.StartAsync(_directory.File("cri"));
        _cloud.AnswerDigest = digest =>
        {
            var mine = new InventoryDigest(digest.Buckets);
            lock (_wanted)
            {
                foreach (var (key, json) in _wanted)
                    mine.Add(key, json.Uid(), Fingerprint(json));
            }

            var buckets = mine.Differences(digest);
            return buckets.Count == 0 ? "\"OK\"" : Encoding.UTF8.GetString(InventoryMessages.WriteAsk(buckets).Span);
        };
        _cloud.Answer = message =>
        {
            if (message is { Operation: Operations.Get, Resource: InventoryMessages.PartResource })
                _ = BringUpAsync(InventoryMessages.ReadPart(message.Content, out _)!);
            return _cloud.DefaultAnswer(message);
        };
        await _cloud.StartAsync();
    }

    public async Task DisposeAsync()
    {
        await _cloud.DisposeAsync();
        await _runtime.DisposeAsync();
        _directory.Dispose();
    }

    [Fact]
    public async Task After_days_offline_and_a_restart_nothing_that_runs_is_made_again_and_nothing_deleted_returns()
    {
        Want(Pod("stays", "u1", 1), Pod("goes", "u2", 2), Pod("ended", "u3", 3, "Never"));
        await using (var edge = Edge())
        {
            await StatusAsync("stays", "Running");
            await StatusAsync("goes", "Running");
            await StatusAsync("ended", "Running");
            _runtime.End("ended-main", 0);
            await StatusAsync("ended", "Succeeded");

            await _cloud.StopAsync();
            await edge.Log.WaitForAsync("the link to");
            _runtime.End("stays-main", 1); // offline, restarts go on
            await HubServiceTests.WaitUntilAsync(() => _runtime.Trace.Count(line => line == "start stays-main") == 2);
        }

        // The node is restarted while the cloud is still gone: everything is there from its disk alone.
        var ran = _runtime.Trace.Count;
        await using var again = Edge();
        await again.Log.WaitForAsync("cannot connect to");
        await again.Log.WaitForAsync("pod default/stays (u1) is to run");
        Assert.Equal(3, again.Host.Meta.List("pod").Count);
        Assert.True(again.Hub.Figures().Depth[(int)UplinkPriority.PodStatus] > 0); // the restart's status waits
        Assert.Null(await again.Host.Meta.GetOrQueryAsync("configmap", "default", "unknown", CancellationToken.None));
        await Assert.ThrowsAsync<UplinkException>(() => again.Host.Uplink.RequestAsync(
            Message.Create(TimeProvider.System, Sources.Edged, Groups.Meta, Operations.Query, "default/serviceaccounttoken/default"), TimeSpan.FromSeconds(1), CancellationToken.None));

        // Meanwhile in the cloud: one pod was deleted, one made, one changed.
        Want(Pod("made", "u4", 90));
        var labelled = Pod("stays", "u1", 91);
        labelled["metadata"]!["labels"] = new JsonObject { ["a"] = "b" };
        Want(labelled);
        lock (_wanted)
            _wanted.Remove("default/pod/goes");
        await _cloud.StartAsync();

        await StatusAsync("made", "Running");
        await HubServiceTests.WaitUntilAsync(() => _runtime.Trace.Contains("remove u2"));
        await HubServiceTests.WaitUntilAsync(() => again.Hub.Figures().Depth.Sum() == 0);
        Assert.Equal(["default/pod/ended", "default/pod/made", "default/pod/stays"], again.Host.Meta.List("pod").Select(pod => pod.Key).Order(StringComparer.Ordinal));
        Assert.Equal(91, again.Host.Meta.Get("pod", "default", "stays")!.ResourceVersion);
        Assert.Equal(["remove u2", "run u4", "start made-main", "stop goes-main 7s"], _runtime.Trace.Skip(ran).Order(StringComparer.Ordinal));

        // A late message about the deleted pod, from a cloud that has not caught up.
        var late = Down(Operations.Update, Pod("goes", "u2", 2));
        await _cloud.SendAsync(late);
        await _cloud.NextAsync(message => message.ParentId == late.Id, "ack of the late message");
        Assert.Null(again.Host.Meta.Get("pod", "default", "goes"));
        Assert.Equal(ran + 4, _runtime.Trace.Count);

        // Restarts that happened offline are known now.
        var status = await LastStatusAsync("stays", patch => patch["status"]!["containerStatuses"]![0]!.Text("restartCount") is "1" || (int)patch["status"]!["containerStatuses"]![0]!["restartCount"]! == 1);
        Assert.Equal("Running", status.Text("status", "phase"));
    }

    private RunningEdge Edge() => new(
        RunningEdge.Options(
            _cloud, _directory, "modules.edged.enable=true", $"modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint=unix://{_directory.File("cri")}",
            $"modules.edged.rootDirectory={_directory.File("root")}", $"modules.edged.tailoredKubeletConfig.podLogsDir={_directory.File("logs")}", "modules.edged.nodeIP=192.0.2.7"),
        host => host.AddPods(services => new PodManager(services)));

    // What CloudCore does with a part: sends what differs, deletes what should not be there.
    private async Task BringUpAsync(InventoryPart part)
    {
        var messages = new List<Message>();
        lock (_wanted)
        {
            var held = part.Items.ToDictionary(item => item.Key);
            foreach (var (key, json) in _wanted.Where(pair => part.Covers(pair.Key)))
            {
                if (!held.TryGetValue(key, out var item) || item.Uid != json.Uid() || item.Fingerprint != Fingerprint(json))
                    messages.Add(Down(Operations.Update, json));
            }

            foreach (var item in held.Values.Where(item => !_wanted.ContainsKey(item.Key)))
                messages.Add(FakeCloud.Down(Operations.Delete, item.Key, $$$"""{"metadata":{"uid":"{{{item.Uid}}}"}}""", $"{item.Version}"));
        }

        await _cloud.SendAsync(messages);
    }

    private void Want(params JsonObject[] objects)
    {
        lock (_wanted)
        {
            foreach (var json in objects)
                _wanted[$"default/pod/{json.Name()}"] = json;
        }
    }

    private static Message Down(string operation, JsonObject json) => FakeCloud.Down(operation, $"default/pod/{json.Name()}", json.ToJsonString(), json.ResourceVersion());

    private static ulong Fingerprint(JsonObject json)
    {
        Assert.True(ObjectFingerprint.TryOf(Encoding.UTF8.GetBytes(json.ToJsonString()), out var fingerprint));
        return fingerprint;
    }

    private Task<JsonObject> StatusAsync(string name, string phase) => LastStatusAsync(name, patch => patch.Text("status", "phase") == phase);

    private async Task<JsonObject> LastStatusAsync(string name, Func<JsonObject, bool> fits)
    {
        JsonObject? found = null;
        await HubServiceTests.WaitUntilAsync(() =>
        {
            found = _cloud.Seen().Where(message => message.Resource == $"default/podpatch/{name}")
                .Select(message => (JsonObject)JsonNode.Parse(MessageCodec.Unwrap(message.Content).Span)!).LastOrDefault(fits);
            return found is not null;
        });
        return found!;
    }

    private static JsonObject Pod(string name, string uid, int version, string restartPolicy = "Always") => (JsonObject)JsonNode.Parse($$"""
        {
          "metadata":{"namespace":"default","name":"{{name}}","uid":"{{uid}}","resourceVersion":"{{version}}"},
          "spec":{"hostNetwork":true,"terminationGracePeriodSeconds":7,"restartPolicy":"{{restartPolicy}}",
            "containers":[{"name":"{{name}}-main","image":"present:1","imagePullPolicy":"Never"}]}
        }
        """)!;
}
