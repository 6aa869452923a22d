using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Cloud.Host;
using Edge.Cloud.Router;
using Edge.Core;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Fleet.Tests;

/// <summary>What a node publishes reaches each Rule's target once: a whole edgecore and a whole cloudcore in this process, and services that fail.</summary>
[Trait("Category", "Sync")]
public sealed class UploadTests : IAsyncLifetime
{
    private readonly TempDirectory _directory = new();
    private CloudCoreProcess _cloud = null!;
    private KubeClient _kube = null!;
    private HttpPeer _a = null!;
    private HttpPeer _b = null!;
    private string _token = "";

    public async Task InitializeAsync()
    {
        var options = new CloudCoreOptions
        {
            ApiServer = new ListenOn(true, "127.0.0.1", 0, "modules.apiServer.port"),
            WebSocket = new ListenOn(true, "127.0.0.1", 0, "modules.cloudHub.websocket.port"),
            Https = new ListenOn(true, "127.0.0.1", 0, "modules.cloudHub.https.port"),
            Monitor = new ListenOn(true, "127.0.0.1", 0, "commonConfig.monitorServer.bindAddress"),
            AdvertiseAddresses = ["127.0.0.1"],
            Router = new RouterOptions { Listen = new ListenOn(true, "127.0.0.1", 0, "modules.router.port"), AllowTargets = ["127.0.0.1"] },
        };
        _cloud = await CloudCoreProcess.StartAsync(options, _directory.File("cloud"), TimeProvider.System, new Random(1), NullLoggerFactory.Instance, CancellationToken.None);
        _kube = new KubeClient(Kubeconfig.Load(_cloud.Ports.Kubeconfig), TimeProvider.System, new Random(1));
        _token = Encoding.UTF8.GetString(Convert.FromBase64String((await _kube.GetAsync(ResourceKind.Secret, "kubeedge", "tokensecret", CancellationToken.None)).Text("data", "tokendata")));
        _a = await HttpPeer.StartAsync();
        _b = await HttpPeer.StartAsync();
        await CreateAsync(RuleKinds.RuleEndpoint, "rest", """{"ruleEndpointType": "rest"}""");
        await CreateAsync(RuleKinds.RuleEndpoint, "bus", """{"ruleEndpointType": "eventbus"}""");
        foreach (var (name, peer) in new[] { ("a", _a), ("b", _b) })
        {
            await CreateAsync(
                RuleKinds.Rule, name,
                $$"""{"source": "bus", "sourceResource": {"topic": "sensors", "node_name": "edge-1"}, "target": "rest", "targetResource": {"resource": "http://127.0.0.1:{{peer.Port}}/"} }""");
        }
    }

    public async Task DisposeAsync()
    {
        await _a.DisposeAsync();
        await _b.DisposeAsync();
        _kube.Dispose();
        await _cloud.DisposeAsync();
        _directory.Dispose();
    }

    [Fact]
    public async Task Target_that_took_a_message_does_not_get_it_again_while_another_fails_nor_over_a_restart_of_the_edge()
    {
        await using (var edge = await StartedAsync("edgecore.db"))
        {
            _b.Answer = _ => (503, "");
            await PublishAsync(edge, "reading");
            // Three tries for each time that the edge sends it.
            await Eventually.HoldsAsync("B has it from the edge twice", () => Of(_b, "reading").Count > 3);
        }

        var atB = Of(_b, "reading").Count;
        await using (var edge = new RunningEdge(Options("edgecore.db")))
        {
            Assert.Equal(1, edge.Found);
            await Eventually.HoldsAsync("B has it from the edge that was started again", () => Of(_b, "reading").Count > atB);
            _b.Answer = _ => (200, "");
            await Eventually.HoldsAsync("the edge has its answer", () => edge.Waiting == 0);
        }

        Assert.Single(Of(_a, "reading"));
        Assert.StartsWith("edge-1:", Assert.Single(Of(_a, "reading").Concat(Of(_b, "reading")).Select(request => request.Headers["X-Edge-Message-Id"]).Distinct()), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Messages_that_an_edge_was_killed_with_before_they_left_its_disk_are_not_posted_again()
    {
        const int Messages = 20;
        await using (var edge = await StartedAsync("edgecore.db"))
        {
            _b.Answer = request =>
            {
                // The last one is on its way: what the disk has now is what a kill in the second after the answers would leave.
                if (request.Body == $"reading {Messages - 1}" && !File.Exists(_directory.File("killed.db")))
                {
                    using var connection = new SqliteConnection($"Data Source={_directory.File("edgecore.db")};Pooling=False");
                    connection.Open();
                    using var copy = connection.CreateCommand();
                    copy.CommandText = $"VACUUM INTO '{_directory.File("killed.db")}'";
                    copy.ExecuteNonQuery();
                }

                return (200, "");
            };
            for (var i = 0; i < Messages; i++)
                await PublishAsync(edge, $"reading {i}");
            await Eventually.HoldsAsync("the edge has its answers", () => edge.Waiting == 0);
        }

        await using (var edge = new RunningEdge(Options("killed.db")))
        {
            Assert.True(edge.Found > 0, "nothing was on its disk");
            await Eventually.HoldsAsync("the edge has its answers once more", () => edge.Waiting == 0);
        }

        for (var i = 0; i < Messages; i++)
            Assert.Equal((1, 1), (Of(_a, $"reading {i}").Count, Of(_b, $"reading {i}").Count));
    }

    // Connected, and the router has both Rules.
    private async Task<RunningEdge> StartedAsync(string database)
    {
        var edge = new RunningEdge(Options(database));
        await Eventually.HoldsAsync("the router posts to both", async () =>
        {
            await PublishAsync(edge, "probe");
            await Eventually.HoldsAsync("the probe is answered", () => edge.Waiting == 0);
            return Of(_a, "probe").Count > 0 && Of(_b, "probe").Count > 0;
        });
        return edge;
    }

    private static List<PeerRequest> Of(HttpPeer peer, string body) => [.. peer.Requests.Where(request => request.Body == body)];

    // As EventBus does.
    private static async Task PublishAsync(RunningEdge edge, string payload)
        => await edge.Host.Uplink.PostAsync(
            new UplinkEntry(
                $"user/{Guid.NewGuid():N}", UplinkPriority.User, UplinkRule.Every, Sources.Bus, Groups.User, Operations.Upload, "default/sensors", MessageCodec.JsonString(payload)),
            CancellationToken.None);

    private EdgeCoreOptions Options(string database) => EdgeCoreConfig.Parse(
        "edgecore.yaml", "kind: EdgeCore\n",
        [
            $"modules.edgeHub.token={_token}", $"modules.edgeHub.httpServer=https://127.0.0.1:{_cloud.Ports.Https}", $"modules.edgeHub.websocket.server=127.0.0.1:{_cloud.Ports.WebSocket}",
            "modules.edged.enable=false", "commonConfig.monitorServer.bindAddress=127.0.0.1:0", "modules.edged.tailoredKubeletConfig.readOnlyPort=0", $"database.dataSource={_directory.File(database)}",
        ],
        _directory.File("edge"), "edge-1");

    private Task<JsonObject> CreateAsync(ResourceKind kind, string name, string spec) => _kube.CreateAsync(
        kind, "default", new JsonObject { ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default" }, ["spec"] = JsonNode.Parse(spec) }, CancellationToken.None);

    private sealed class RunningEdge : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _running;

        public RunningEdge(EdgeCoreOptions options)
        {
            Host = new EdgeCoreHost(options, TimeProvider.System, new Random(7), NullLoggerFactory.Instance);
            Found = Waiting;
            _running = Host.RunAsync(_stop.Token);
        }

        public EdgeCoreHost Host { get; }

        /// <summary>Uploads without an answer.</summary>
        public int Waiting => ((HubService)Host.Uplink).Figures().Depth[(int)UplinkPriority.User];

        /// <summary>Of these, what was on the disk.</summary>
        public int Found { get; }

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _running;
            await Host.DisposeAsync();
            _stop.Dispose();
        }
    }
}
