using System.Collections.Concurrent;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Cloud.Host;
using Edge.Kubernetes;
using Edge.Testing;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Tests.Support;

/// <summary>The whole cloudcore in this process on free ports: embedded API with its controllers (or a cluster for tests in their place), CRDs and CloudCore.</summary>
internal sealed class WholeCloud : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly CloudCoreProcess _process;
    private readonly LoggerFactory _loggers;
    private readonly KubeClient _kube;

    private WholeCloud(CloudCoreProcess process, LoggerFactory loggers, LogLines log)
    {
        _process = process;
        _loggers = loggers;
        Log = log;
        _kube = new KubeClient(Kubeconfig.Load(process.Ports.Kubeconfig), TimeProvider.System, new Random(1));
    }

    public static CloudCoreOptions Options { get; } = Cloud.Options with { ApiServer = new ListenOn(true, "127.0.0.1", 0, "modules.apiServer.port") };

    /// <summary>The administrator's client.</summary>
    public IKubeClient Kube => _kube;

    /// <summary>Where the test's objects are.</summary>
    public string Namespace { get; private init; } = "default";

    public LogLines Log { get; }

    public (int Api, int WebSocket, int Https, int Metrics, string Kubeconfig, int Quic) Ports => _process.Ports;

    /// <summary>Where requests for edges come in; 0 when modules.router is off.</summary>
    public int RouterPort => _process.RouterPort;

    /// <summary>The kubelet's endpoint; 0 when modules.cloudStream is off.</summary>
    public int StreamPort => _process.StreamPort;

    public bool IsRouterInsecure { get; private init; }

    /// <summary>Where DNS answers; 0 when modules.gslb is off.</summary>
    public int DnsPort => _process.DnsPort;

    public static async Task<WholeCloud> StartAsync(string dataDirectory, CloudCoreOptions? options = null, RoleCheckedKube? roles = null, TestCluster? cluster = null)
    {
        options ??= Options;
        if (cluster is not null)
            options = options with { ApiServer = options.ApiServer with { IsEnabled = false }, Kubeconfig = cluster.Kubeconfig };
        var log = new LogLines();
        var loggers = new LoggerFactory([log]);
        try
        {
            return new WholeCloud(
                await CloudCoreProcess.StartAsync(options, dataDirectory, TimeProvider.System, new Random(1), loggers, CancellationToken.None, roles is null ? null : roles.Over), loggers, log)
            {
                IsRouterInsecure = options.Router.IsInsecure, Namespace = cluster?.Namespace ?? "default",
            };
        }
        catch
        {
            loggers.Dispose();
            throw;
        }
    }

    public async Task<string> TokenAsync()
        => Encoding.UTF8.GetString(Convert.FromBase64String((await _kube.GetAsync(ResourceKind.Secret, "kubeedge", "tokensecret", CancellationToken.None)).Text("data", "tokendata")));

    public async Task<X509Certificate2> EnrolAsync(string node) => await FakeEdge.EnrolAsync(Ports.Https, node, (await TokenAsync()).Split('.', 2)[1]);

    public Task<JsonObject> CreateAsync(ResourceKind kind, JsonObject obj)
    {
        if (kind.Namespaced && obj["metadata"] is JsonObject metadata)
            metadata["namespace"] = Namespace;
        return _kube.CreateAsync(kind, Space(kind), obj, CancellationToken.None);
    }

    public Task<JsonObject> CreateAsync(ResourceKind kind, string json) => CreateAsync(kind, JsonNode.Parse(json)!.AsObject());

    public Task<JsonObject> GetAsync(ResourceKind kind, string name) => _kube.GetAsync(kind, Space(kind), name, CancellationToken.None);

    public Task<JsonObject> MergeAsync(ResourceKind kind, string name, string patch)
        => _kube.PatchAsync(kind, Space(kind), name, PatchKind.Merge, Encoding.UTF8.GetBytes(patch), null, CancellationToken.None);

    /// <summary>Waits, by a watch, until an object of the kind is as wanted.</summary>
    public async Task<JsonObject> UntilAsync(ResourceKind kind, string what, Func<JsonObject, bool> isWanted)
    {
        using var limit = new CancellationTokenSource(s_patience);
        try
        {
            var list = await _kube.ListAsync(kind, null, new ListOptions(), limit.Token);
            if (list.Items.FirstOrDefault(isWanted) is { } there)
                return there;
            await foreach (var change in _kube.WatchAsync(kind, null, list.ResourceVersion, new ListOptions(), limit.Token))
            {
                if (change.Type is WatchEventType.Added or WatchEventType.Modified && isWanted(change.Object))
                    return change.Object;
            }
        }
        catch (OperationCanceledException)
        {
            // Said below.
        }

        var last = await _kube.ListAsync(kind, null, new ListOptions(), CancellationToken.None);
        throw new TimeoutException($"{what}: not seen; there is: {string.Join("; ", last.Items.Select(one => one.ToJsonString()))}");
    }

    /// <summary>The first Event of the reason about the named Device.</summary>
    public Task<JsonObject> EventAsync(string device, string reason)
        => UntilAsync(ResourceKind.Event, $"event {reason} on device {device}", one =>
            one.Text("reason") == reason && one.Text("involvedObject", "kind") == "Device" && one.Text("involvedObject", "name") == device);

    private string? Space(ResourceKind kind) => kind.Namespaced ? Namespace : null;

    public async ValueTask DisposeAsync()
    {
        _kube.Dispose();
        await _process.DisposeAsync();
        _loggers.Dispose();
    }
}

/// <summary>What was logged, one line each, and a way to wait for a line.</summary>
internal sealed class LogLines : ILoggerProvider, ILogger
{
    private readonly ConcurrentQueue<string> _lines = new();

    private readonly SemaphoreSlim _added = new(0);

    public IReadOnlyCollection<string> Lines => _lines;

    /// <summary>The first line that contains the text. One waiter at a time.</summary>
    public async Task<string> UntilAsync(string text)
    {
        while (true)
        {
            if (_lines.FirstOrDefault(line => line.Contains(text, StringComparison.Ordinal)) is { } found)
                return found;
            if (!await _added.WaitAsync(TimeSpan.FromSeconds(30)))
                throw new TimeoutException($"'{text}' was not logged; logged: {string.Join("\n", _lines)}");
        }
    }

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        _lines.Enqueue($"{logLevel}: {formatter(state, exception)} {exception}");
        _added.Release();
    }

    public void Dispose() => _added.Dispose();
}
