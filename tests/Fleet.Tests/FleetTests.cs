using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Cloud.Host;
using Edge.Kubernetes;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Fleet.Tests;

/// <summary>The fleet against a whole cloudcore in this process, over its own API or the cluster of EDGE_TEST_KUBECONFIG.</summary>
[Trait("Category", "Sync")]
public sealed class FleetTests : IAsyncLifetime
{
    private const int Nodes = 50;
    private readonly TempDirectory _directory = new();
    private TestCluster? _cluster;
    private CloudCoreProcess _cloud = null!;
    private KubeClient _kube = null!;

    public async Task InitializeAsync()
    {
        var options = new CloudCoreOptions
        {
            ApiServer = new ListenOn(true, "127.0.0.1", 0, "modules.apiServer.port"),
            WebSocket = new ListenOn(true, "127.0.0.1", 0, "modules.cloudHub.websocket.port"),
            Https = new ListenOn(true, "127.0.0.1", 0, "modules.cloudHub.https.port"),
            Monitor = new ListenOn(true, "127.0.0.1", 0, "commonConfig.monitorServer.bindAddress"),
            AdvertiseAddresses = ["127.0.0.1"],
        };
        if (TestCluster.Given is { } kubeconfig)
        {
            _cluster = await TestCluster.EnterAsync(kubeconfig);
            options = options with { ApiServer = options.ApiServer with { IsEnabled = false }, Kubeconfig = kubeconfig };
        }

        _cloud = await CloudCoreProcess.StartAsync(options, _directory.File("cloud"), TimeProvider.System, new Random(1), NullLoggerFactory.Instance, CancellationToken.None);
        _kube = new KubeClient(Kubeconfig.Load(_cloud.Ports.Kubeconfig), TimeProvider.System, new Random(1));
    }

    public async Task DisposeAsync()
    {
        _kube.Dispose();
        await _cloud.DisposeAsync();
        if (_cluster is not null)
            await _cluster.DisposeAsync();
        _directory.Dispose();
    }

    [Fact]
    public async Task Fifty_nodes_connect_store_what_is_meant_for_them_report_and_pass_the_check()
    {
        await using var fleet = await Fleet.PrepareAsync(await OptionsAsync(Nodes), TimeProvider.System, CancellationToken.None);
        fleet.Start();
        await Eventually.HoldsAsync("all connected and in sync", () => fleet.ConnectedCount == Nodes && fleet.InSyncCount == Nodes);
        await Eventually.HoldsAsync("each lease renewed", () => fleet.Counts.Leases >= Nodes);
        for (var i = 0; i < Nodes; i++)
            await _kube.CreateAsync(ResourceKind.Pod, Space, PodOf(i), CancellationToken.None);
        await Eventually.HoldsAsync("a pod on each node", () => fleet.Counts.StoredOf("pod") >= Nodes);

        // Half of the fleet loses its network; what changes meanwhile is there when it is back.
        foreach (var node in fleet.Nodes.Take(Nodes / 2))
            node.Leave();
        await Eventually.HoldsAsync("half of them away", () => fleet.ConnectedCount == Nodes / 2);
        for (var i = 0; i < Nodes; i++)
            await _kube.PatchAsync(ResourceKind.Pod, Space, $"pod-{i}", PatchKind.Merge, Encoding.UTF8.GetBytes("""{"metadata":{"annotations":{"a":"b"}}}"""), null, CancellationToken.None);
        await _kube.DeleteAsync(ResourceKind.Pod, Space, "pod-1", new JsonObject { ["gracePeriodSeconds"] = 0 }, CancellationToken.None);
        foreach (var node in fleet.Nodes)
            node.Return();
        await Eventually.HoldsAsync("the changes on each node", () => fleet.Nodes.All(node => node.Index == 1
            ? node.Meta.Find($"{Space}/pod/pod-1") is { Deleted: true }
            : fleet.Store.ReadAll().ContainsKey((node.Index, $"{Space}/pod/pod-{node.Index}")) && fleet.Counts.StoredOf("pod") >= (2 * Nodes) - 1));
        await Eventually.HoldsAsync("all connected again", () => fleet.ConnectedCount == Nodes && fleet.InSyncCount == Nodes);

        await fleet.StopAsync();
        Assert.Empty(fleet.Check());
        var summary = fleet.Snapshot();
        Assert.Equal(Nodes, (int)summary["connected"]!);
        Assert.True((long)summary["reconnects"]! >= Nodes / 2);
        Assert.True((double)summary["bytesInPerNode"]! > 1000 && (double)summary["bytesOutPerNode"]! > 1000);
        Assert.True((double)summary["connectMsP99"]! >= (double)summary["connectMsP50"]!);
    }

    [Fact]
    public async Task The_check_finds_an_acknowledged_object_that_is_not_in_the_store_and_a_node_that_is_not_connected()
    {
        var options = await OptionsAsync(2);
        await using var fleet = await Fleet.PrepareAsync(options, TimeProvider.System, CancellationToken.None);
        fleet.Start();
        await Eventually.HoldsAsync("both in sync", () => fleet.InSyncCount == 2);
        await _kube.CreateAsync(ResourceKind.Pod, Space, PodOf(0), CancellationToken.None);
        await Eventually.HoldsAsync("the pod", () => fleet.Nodes[0].Meta.Find($"{Space}/pod/pod-0") is not null);
        fleet.Nodes[1].Leave();
        await Eventually.HoldsAsync("node 1 away", () => fleet.ConnectedCount == 1);
        await fleet.StopAsync();

        // Somebody takes the row away behind the ledger's back.
        using (var connection = new Microsoft.Data.Sqlite.SqliteConnection($"Data Source={Path.Combine(options.DataDirectory, "fleet.db")};Pooling=False"))
        {
            connection.Open();
            using var command = connection.CreateCommand();
            command.CommandText = $"DELETE FROM objects WHERE key = '{Space}/pod/pod-0'";
            Assert.Equal(1, command.ExecuteNonQuery());
        }

        var problems = fleet.Check();
        Assert.Contains(problems, problem => problem.Contains($"{Space}/pod/pod-0", StringComparison.Ordinal) && problem.Contains("was acknowledged, and the store has nothing", StringComparison.Ordinal));
        Assert.Contains(problems, problem => problem.StartsWith("1 of 2 nodes were connected at the end", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Nodes_enrol_with_a_token_over_HTTPS_and_commands_drive_the_fleet()
    {
        var secret = await _kube.GetAsync(ResourceKind.Secret, "kubeedge", "tokensecret", CancellationToken.None);
        var options = (await OptionsAsync(3)) with
        {
            Token = Encoding.UTF8.GetString(Convert.FromBase64String(secret.Text("data", "tokendata"))),
            EnrolUrl = $"https://127.0.0.1:{_cloud.Ports.Https}",
            CaFile = "",
            CaKeyFile = "",
        };
        await using var fleet = await Fleet.PrepareAsync(options, TimeProvider.System, CancellationToken.None);
        Assert.True(File.Exists(Path.Combine(options.DataDirectory, "nodes", "fleet-2", "server.crt")));
        var commands = """
            {"id":1,"do":"fly"}
            not json
            {"id":2,"do":"start"}
            {"id":3,"do":"wait-connected","seconds":60}
            {"id":4,"do":"leave","node":7}
            """;
        using var output = new StringWriter();
        using (var control = new Control(fleet, new StringReader(commands), output))
            await control.RunAsync(CancellationToken.None);
        var answers = output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonNode.Parse(line)!.AsObject()).ToList();
        Assert.Equal(5, answers.Count);
        Assert.Contains("'fly' is no command", (string)answers.Single(answer => (int?)answer["id"] == 1)["error"]!, StringComparison.Ordinal);
        Assert.Contains("one JSON object on one line", (string)answers.Single(answer => answer["id"] is null)["error"]!, StringComparison.Ordinal);
        Assert.True((double)answers.Single(answer => (int?)answer["id"] == 3)["atMs"]! > 0);
        Assert.Contains("from 0 to 2", (string)answers.Single(answer => (int?)answer["id"] == 4)["error"]!, StringComparison.Ordinal);
        Assert.Equal(3, fleet.ConnectedCount);
    }

    private string Space => _cluster?.Namespace ?? "default";

    private JsonObject PodOf(int node) => new()
    {
        ["metadata"] = new JsonObject { ["name"] = $"pod-{node}", ["namespace"] = Space },
        ["spec"] = new JsonObject { ["automountServiceAccountToken"] = false, ["nodeName"] = $"fleet-{node}", ["containers"] = new JsonArray(new JsonObject { ["name"] = "web", ["image"] = "example.com/web:1" }) },
    };

    private async Task<FleetOptions> OptionsAsync(int nodes)
    {
        var secret = await _kube.GetAsync(ResourceKind.Secret, "kubeedge", "casecret", CancellationToken.None);
        using var ca = X509CertificateLoader.LoadCertificate(Convert.FromBase64String(secret.Text("data", "cadata")));
        using var key = ECDsa.Create();
        key.ImportECPrivateKey(Convert.FromBase64String(secret.Text("data", "cakeydata")), out _);
        File.WriteAllText(_directory.File("ca.crt"), ca.ExportCertificatePem());
        File.WriteAllText(_directory.File("ca.key"), key.ExportECPrivateKeyPem());
        return new FleetOptions
        {
            Nodes = nodes,
            Server = $"127.0.0.1:{_cloud.Ports.WebSocket}",
            CaFile = _directory.File("ca.crt"),
            CaKeyFile = _directory.File("ca.key"),
            DataDirectory = _directory.File("fleet"),
        };
    }
}
