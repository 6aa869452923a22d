using System.Text.Json.Nodes;
using Edge.ApiServer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Kubernetes.Tests;

/// <summary>A real embedded API server in a temporary directory.</summary>
public sealed class ApiFixture : IAsyncLifetime
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("edge-kube-tests-");
    private EmbeddedApiServer? _server;

    public string KubeconfigPath => _server!.KubeconfigPath;

    public KubeClientOptions Inside => _server!.Inside;

    /// <summary>Few changes are remembered, so that 410 is quick to come by.</summary>
    public const int History = 50;

    public async Task InitializeAsync()
        => _server = await EmbeddedApiServer.StartAsync(
            new ApiServerOptions { DataDirectory = _directory.FullName, Port = 0, WatchHistoryMax = History }, TimeProvider.System, NullLoggerFactory.Instance, CancellationToken.None);

    public async Task DisposeAsync()
    {
        if (_server is not null)
            await _server.DisposeAsync();
        _directory.Delete(recursive: true);
    }

    public KubeClient Client() => KubeClient.FromKubeconfig(KubeconfigPath, TimeProvider.System);

    public static JsonObject ConfigMap(string name, string value) => new()
    {
        ["apiVersion"] = "v1",
        ["kind"] = "ConfigMap",
        ["metadata"] = new JsonObject { ["name"] = name },
        ["data"] = new JsonObject { ["key"] = value },
    };

    public static async Task<string> NamespaceAsync(KubeClient client)
    {
        var space = $"test-{Guid.NewGuid():n}";
        await client.CreateAsync(ResourceKind.Namespace, null, new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Namespace", ["metadata"] = new JsonObject { ["name"] = space } }, CancellationToken.None);
        return space;
    }
}

[CollectionDefinition("api")]
#pragma warning disable CA1711 // xunit's word for it
public sealed class ApiCollection : ICollectionFixture<ApiFixture>;
#pragma warning restore CA1711
