using Edge.ApiServer;
using Edge.ApiServer.Controllers;
using Edge.Cloud.Configuration;
using Edge.Common.Configuration;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Host;

/// <summary>The parts of the executable in the order of their start: embedded API, its controllers, CRDs, CloudCore.</summary>
internal sealed class CloudCoreProcess : IAsyncDisposable
{
    private readonly List<IAsyncDisposable> _parts = [];

    /// <summary>Where it listens, once started.</summary>
    public (int Api, int WebSocket, int Https, int Metrics, string Kubeconfig, int Quic) Ports { get; private set; }

    /// <summary>Reads the config. Without a file the defaults hold.</summary>
    public static CloudCoreOptions ReadConfig(string? path, IEnumerable<string> overrides)
    {
        var file = path is null ? ConfigFile.Parse("defaults", "", overrides) : ConfigFile.Load(path, overrides);
        var options = CloudCoreOptions.Read(file);
        file.ThrowIfInvalid();
        return options;
    }

    public static async Task<CloudCoreProcess> StartAsync(
        CloudCoreOptions options, string dataDirectory, TimeProvider time, Random random, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var process = new CloudCoreProcess();
        try
        {
            await process.StartPartsAsync(options, dataDirectory, time, random, loggers, cancellationToken);
            return process;
        }
        catch
        {
            await process.DisposeAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        for (var i = _parts.Count - 1; i >= 0; i--)
            await _parts[i].DisposeAsync();
        _parts.Clear();
    }

    private async Task StartPartsAsync(
        CloudCoreOptions options, string dataDirectory, TimeProvider time, Random random, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var apiPort = 0;
        var kubeconfig = options.Kubeconfig;
        CloudCoreHost? core = null; // started after the API that it reads
        if (options.ApiServer.IsEnabled)
        {
            var server = await EmbeddedApiServer.StartAsync(
                new ApiServerOptions
                {
                    DataDirectory = dataDirectory,
                    BindAddress = options.ApiServer.Address,
                    Port = options.ApiServer.Port,
                    DialNode = (node, token) => core is null ? throw new IOException("cloudcore is starting") : core.OpenNodeStreamAsync(node, token),
                },
                time, loggers, cancellationToken);
            _parts.Add(server);
            (apiPort, kubeconfig) = (server.Port, server.KubeconfigPath);
        }

        var connection = kubeconfig.Length > 0 ? Kubeconfig.Load(kubeconfig) : Kubeconfig.InCluster();
        if (options.Master.Length > 0)
            connection = connection with { Server = MasterOf(options.Master) };
        var kube = new KubeClient(connection, time, random);
        _parts.Add(new Closing(kube));
        if (options.ApiServer.IsEnabled)
            _parts.Add(EmbeddedControllers.Start(kube, time, random, loggers, connection.CertificateAuthorityPem));
        await CrdInstaller.ApplyAsync(kube, time, cancellationToken);
        core = await CloudCoreHost.StartAsync(options, kube, time, random, loggers, cancellationToken);
        _parts.Add(core);
        Ports = (apiPort, core.WebSocketPort, core.HttpsPort, core.MonitorPort, kubeconfig, core.QuicPort);
    }

    private static Uri MasterOf(string text)
        => Uri.TryCreate(text, UriKind.Absolute, out var master) ? master
            : throw new CloudCoreException($"kubeAPIConfig.master '{text}' is not a URL, e.g. https://10.0.0.1:6443");

    private sealed class Closing(IDisposable inner) : IAsyncDisposable
    {
        public ValueTask DisposeAsync()
        {
            inner.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
