using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests.Support;

/// <summary>A CloudCore in this process on free ports, beside an API in memory.</summary>
internal sealed class Cloud : IAsyncDisposable
{
    private Cloud(FakeKube kube, CloudCoreHost host)
    {
        Kube = kube;
        Host = host;
    }

    public FakeKube Kube { get; }

    public CloudCoreHost Host { get; }

    public static CloudCoreOptions Options { get; } = new()
    {
        WebSocket = new ListenOn(true, "127.0.0.1", 0, "modules.cloudHub.websocket.port"),
        Https = new ListenOn(true, "127.0.0.1", 0, "modules.cloudHub.https.port"),
        Monitor = new ListenOn(true, "127.0.0.1", 0, "commonConfig.monitorServer.bindAddress"),
        AdvertiseAddresses = ["127.0.0.1"],
        InventoryWait = TimeSpan.FromMilliseconds(200),
    };

    public static async Task<Cloud> StartAsync(FakeKube? kube = null, Func<CloudCoreOptions, CloudCoreOptions>? change = null)
    {
        kube ??= new FakeKube();
        var options = change is null ? Options : change(Options);
        return new Cloud(kube, await CloudCoreHost.StartAsync(options, kube, TimeProvider.System, new Random(1), NullLoggerFactory.Instance, CancellationToken.None));
    }

    public async Task<string> TokenAsync()
    {
        var secret = await Kube.GetAsync(ResourceKind.Secret, "kubeedge", "tokensecret", CancellationToken.None);
        return Encoding.UTF8.GetString(Convert.FromBase64String(secret.Text("data", "tokendata")));
    }

    public async Task<X509Certificate2> EnrolAsync(string node)
        => await FakeEdge.EnrolAsync(Host.HttpsPort, node, (await TokenAsync()).Split('.', 2)[1]);

    /// <summary>Enrols and connects; the node object is there.</summary>
    public async Task<FakeEdge> JoinAsync(string node)
    {
        using var certificate = await EnrolAsync(node);
        var edge = await FakeEdge.ConnectAsync(Host.WebSocketPort, node, certificate);
        if (await Kube.TryGetAsync(ResourceKind.Node, null, node, CancellationToken.None) is null)
            await edge.AskAsync("insert", $"null/node/{node}", NodeOf(node));
        return edge;
    }

    public static JsonObject NodeOf(string node) => new()
    {
        ["metadata"] = new JsonObject { ["name"] = node, ["creationTimestamp"] = null, ["labels"] = new JsonObject { ["node-role.kubernetes.io/edge"] = "" } },
    };

    public static JsonObject PodOf(string name, string node, JsonObject? spec = null)
    {
        spec ??= [];
        spec["nodeName"] = node;
        return new JsonObject { ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default" }, ["spec"] = spec };
    }

    public static JsonObject Config(string name, string value = "1")
        => new() { ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default" }, ["data"] = new JsonObject { ["key"] = value } };

    public static JsonObject UsingConfig(string configMap)
        => new() { ["volumes"] = new JsonArray(new JsonObject { ["configMap"] = new JsonObject { ["name"] = configMap } }) };

    public Task<JsonObject> CreateAsync(ResourceKind kind, JsonObject obj)
        => Kube.CreateAsync(kind, kind.Namespaced ? "default" : null, obj, CancellationToken.None);

    public ValueTask DisposeAsync() => Host.DisposeAsync();
}
