using Edge.ApiServer;
using Edge.ApiServer.Controllers;
using Edge.Kubernetes;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests.Support;

/// <summary>An API server with its controllers and no CloudCore, for tests over a cluster where there is none.</summary>
internal sealed class StandInCluster : IAsyncDisposable
{
    private readonly TempDirectory _directory = new();
    private EmbeddedApiServer? _api;
    private KubeClient? _client;
    private EmbeddedControllers? _controllers;

    /// <summary>Answers its kubeconfig.</summary>
    public async Task<string> StartAsync()
    {
        _api = await EmbeddedApiServer.StartAsync(new ApiServerOptions { DataDirectory = _directory.Path, Port = 0 }, TimeProvider.System, NullLoggerFactory.Instance, CancellationToken.None);
        _client = new KubeClient(_api.Inside, TimeProvider.System);
        _controllers = EmbeddedControllers.Start(_client, TimeProvider.System, new Random(1), NullLoggerFactory.Instance);
        return _api.KubeconfigPath;
    }

    public async ValueTask DisposeAsync()
    {
        if (_controllers is not null)
            await _controllers.DisposeAsync();
        _client?.Dispose();
        if (_api is not null)
            await _api.DisposeAsync();
        _directory.Dispose();
    }
}
