using System.Net;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Configuration;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.EdgeDns;
using Edge.Core.EdgeHub;
using Edge.Core.EdgeStream;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>Where in-cluster clients of this node's pods find MetaServer.</summary>
/// <param name="ForHost">For pods with the node's network; null when it is not served.</param>
/// <param name="ForPods">For pods with a network of their own; null when they cannot reach it.</param>
/// <param name="AuthorityPem">To be trusted beside the cluster's CA.</param>
internal sealed record InClusterAccess(IPEndPoint? ForHost, IPEndPoint? ForPods, string AuthorityPem);

/// <summary>MetaServer: the Kubernetes API on the node, while EdgeCore runs (kubeedge-wire §5.5).</summary>
internal sealed class MetaServerModule : IEdgeModule, IAsyncDisposable
{
    private const int ConnectionsMax = 512;
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_askAgain = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_keysFor = TimeSpan.FromHours(1);
    private static readonly LocalRows s_rows = new("metaserver-keys");

    // Read ahead, so that clients find their way about without the cloud.
    private static readonly string[] s_discovery = ["/version", "/api", "/apis", "/api/v1"];
    private static readonly KubeRequest s_keys = KubeRequest.Read("GET", "/openid/v1/jwks", false)!;

    private readonly EdgeServices _services;
    private readonly MetaServerOptions _options;
    private readonly MetaService _meta;
    private readonly IHubLink _hub;
    private readonly Func<string?> _adminToken;
    private readonly ILogger _log;
    private readonly CloudGate _gate;
    private readonly AnswerCache _cache;
    private readonly AccessReviews _reviews;
    private readonly Authentication _authentication;
    private readonly IReadOnlyList<HeldKind> _kinds;
    private readonly LinkAddress _addresses;
    private readonly MetaServerMetrics _metrics = new();
    private readonly PodStreams _streams;
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource _filled = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // One is enough: whoever reads it asks for everything.
    private readonly Channel<bool> _linkUp = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private HeldObjects? _held;
    private WebApplication? _app;
    private volatile InClusterAccess? _inCluster;
    private string _said = "";

    /// <param name="adminToken">The local API's token; null while there is none.</param>
    public MetaServerModule(EdgeServices services, MetaService meta, IHubLink hub, Func<string?> adminToken)
    {
        (_services, _meta, _hub, _adminToken) = (services, meta, hub, adminToken);
        _options = services.Options.MetaManager.MetaServer;
        _log = services.Loggers.CreateLogger("metaserver");
        _gate = new CloudGate(hub, services.Options.NodeName, services.Time);
        _cache = new AnswerCache(meta, _options.CacheMebibytes * 1024L * 1024);
        _reviews = new AccessReviews(meta, _gate, services.Time);
        _authentication = new Authentication(_options, meta, () => _adminToken(), () => hub.IsConnected, services.Time) { Keys = Keys() };
        _kinds = HeldKinds.All(services.Options.EdgeDns.Enable);
        _addresses = new LinkAddress(services.Time, _log);
        _streams = new PodStreams(() => LocalApi(), services.Time);
        hub.LinkChanged += LinkChanged;
    }

    public string Name => "metaserver";

    /// <summary>Its port; 0 while it is not served.</summary>
    public int Port { get; private set; }

    /// <summary>What pods are told; null while it is not served.</summary>
    public InClusterAccess? InCluster => _inCluster;

    /// <summary>The file with the CA of its certificate.</summary>
    public string AuthorityFile => Path.Combine(Directory, "ca.crt");

    /// <summary>Where the node's local API is, for logs and exec of its pods; null while it is not served.</summary>
    public Func<LocalApiAt?> LocalApi { get; init; } = () => null;

    /// <summary>Called when it answers at last, after <see cref="TryStartAsync"/> had failed.</summary>
    public Action? Listening { get; set; }

    private string Directory => Path.Combine(Path.GetDirectoryName(Path.GetFullPath(_services.Options.MetaManager.DatabasePath)) ?? "/", "pki", "metaserver");

    public string Metrics() => _metrics.Text(_cache, _reviews);

    /// <summary>Takes a part of a watch's answer from the link; never waits.</summary>
    public void Receive(Protocol.Messages.Message message) => _gate.Receive(message);

    /// <summary>Starts to answer; false, with the reason in the log, when it cannot.</summary>
    /// <exception cref="ConfigException">The configured certificate cannot be used.</exception>
    public async Task<bool> TryStartAsync(CancellationToken cancellationToken)
    {
        if (_app is not null)
            return true;
        try
        {
            _held ??= new HeldObjects(_kinds.Select(kind => kind.Type), await HeldFeed.FirstVersionAsync(_meta, _services.Time, cancellationToken));
            var parts = new MetaServerParts(
                _authentication, _reviews, _held, _kinds, new HeldReads(_held, _services.Options.NodeName, () => _hub.IsConnected, _services.Time, new Random(_services.Random.Next())),
                new CloudReads(_gate, _cache, _hub, _services.Options.NodeName, _services.Time, new Random(_services.Random.Next())), new Writes(_gate, _held, _kinds), _gate, _metrics, _streams);
            var handler = new MetaServerHandler(parts, _options.AsksAccess, _filled.Task, _log, _stopping.Token);
            var addresses = new List<IPAddress> { _options.Server.Address };
            if (_options.DummyServer is { } dummy)
                addresses.Add(dummy.Address);
            var certificate = ServingCertificate.Load(_options, Directory, addresses.Where(one => !one.Equals(IPAddress.Any) && !one.Equals(IPAddress.IPv6Any)), Domain, _services.Time.GetUtcNow());
            var forPods = await ForPodsAsync(cancellationToken);
            try
            {
                _app = await ListenAsync(forPods, certificate, handler, cancellationToken);
            }
            catch (IOException e) when (forPods is not null)
            {
                MetaServerLog.NotForPods(_log, forPods.ToString(), e.Message);
                forPods = null;
                _app = await ListenAsync(null, certificate, handler, cancellationToken);
            }

            var ports = _app.Urls.Select(url => new Uri(url)).ToList();
            Port = ports[0].Port;
            _inCluster = new InClusterAccess(
                new IPEndPoint(_options.Server.Address.Equals(IPAddress.Any) ? IPAddress.Loopback : _options.Server.Address, Port),
                forPods is null ? null : new IPEndPoint(forPods.Address, ports[^1].Port), certificate.AuthorityPem);
            MetaServerLog.Listening(_log, string.Join(" and ", _app.Urls), certificate.AuthorityPem.Length > 0 ? AuthorityFile : "of its issuer");
            if (_options.HttpServiceAccount.Length > 0)
                MetaServerLog.PlainHttp(_log, new IPEndPoint(_options.Server.Address, Port).ToString(), _options.HttpServiceAccount);
            _said = "";
            return true;
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException or UnauthorizedAccessException or StoreException)
        {
            if (_said != e.Message)
                MetaServerLog.NotListening(_log, _options.Server.ToString(), e.Message, s_retry.TotalSeconds);
            _said = e.Message;
            return false;
        }
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (_app is null)
            {
                while (!await TryStartAsync(cancellationToken))
                    await Task.Delay(s_retry, _services.Time, cancellationToken);
                Listening?.Invoke();
            }

            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var feed = new HeldFeed(_meta, _held!, _kinds).RunAsync(() => _filled.TrySetResult(), either.Token);
            var keys = KeepKeysAsync(either.Token);
            await Task.WhenAny(feed, keys);
            await either.CancelAsync();
            await Task.WhenAll(feed, keys);
        }
        finally
        {
            await StopAsync();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _hub.LinkChanged -= LinkChanged;
        _stopping.Dispose();
        _streams.Dispose();
    }

    private string Domain => _services.Options.EdgeDns.Enable ? _services.Options.EdgeDns.ClusterDomain : "cluster.local";

    private void LinkChanged(bool isUp)
    {
        if (isUp)
            _linkUp.Writer.TryWrite(true);
        else
            _gate.LinkDown();
    }

    private async Task StopAsync()
    {
        // Watches first: they would hold the server up.
        if (_app is not { } app)
            return;
        (_app, Port, _inCluster) = (null, 0, null);
        await _stopping.CancelAsync();
        await app.StopAsync();
        await app.DisposeAsync();
        if (_options.DummyServer is { } dummy)
            await _addresses.RemoveAsync([dummy.Address]);
    }

    // Null when the address is not this machine's and cannot be made so.
    private async Task<IPEndPoint?> ForPodsAsync(CancellationToken cancellationToken)
    {
        if (_options.DummyServer is not { } dummy || !_services.Options.Edged.Enable)
            return null;
        if (!Environment.IsPrivilegedProcess)
        {
            MetaServerLog.NotForPods(_log, dummy.ToString(), "only root can put the address on an interface");
            return null;
        }

        await _addresses.EnsureAsync(dummy.Address, cancellationToken);
        return dummy;
    }

    private async Task<WebApplication> ListenAsync(IPEndPoint? forPods, ServingCertificate certificate, MetaServerHandler handler, CancellationToken cancellationToken)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.Configure<Microsoft.Extensions.Hosting.HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(1));
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = ConnectionsMax;
            kestrel.Limits.MaxRequestBodySize = null; // the handler answers with a metav1.Status
            kestrel.Limits.MinResponseDataRate = null; // a watch may be quiet
            Listen(_options.Server, takesHttp: _options.HttpServiceAccount.Length > 0);
            if (forPods is not null)
                Listen(forPods, takesHttp: false);

            void Listen(IPEndPoint at, bool takesHttp) => kestrel.Listen(at, listen =>
            {
                listen.Protocols = HttpProtocols.Http1AndHttp2;
                if (takesHttp)
                    listen.UseHttpsOrHttp(certificate.Certificate, _services.Time);
                else
                    listen.UseHttps(certificate.Certificate);
            });
        });
        var app = builder.Build();
        app.Run(handler.HandleAsync);
        try
        {
            await app.StartAsync(cancellationToken);
            return app;
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }
    }

    // Those of the config's files, and those that the cloud told last.
    private TokenKeys Keys()
    {
        var keys = s_rows.Get(_meta, "jwks") is { } set ? TokenKeys.FromSet(set) : TokenKeys.None;
        foreach (var file in _options.ServiceAccountKeyFiles)
        {
            try
            {
                keys = keys.With(TokenKeys.FromPem(File.ReadAllText(file)));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
            {
                throw new ConfigException([$"modules.metaManager.metaServer.serviceAccountKeyFiles: {file}: {e.Message}"]);
            }
        }

        return keys;
    }

    // With each connection, and every hour while it lasts.
    private async Task KeepKeysAsync(CancellationToken cancellationToken)
    {
        var wait = TimeSpan.Zero;
        var said = "";
        while (true)
        {
            if (_hub.IsConnected)
            {
                var problem = await GetKeysAsync(cancellationToken);
                // Once: a KubeEdge cloud never has them, and is asked each minute.
                if (problem.Length > 0 && problem != said)
                    MetaServerLog.KeysNotGot(_log, _hub.IsEdgeWire ? problem : problem + ", as by every KubeEdge cloud (modules.metaManager.metaServer.serviceAccountKeyFiles can name them)");
                said = problem;
                wait = problem.Length > 0 ? s_askAgain : s_keysFor;
            }
            else
            {
                wait = s_keysFor;
            }

            using var period = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            await Task.WhenAny(_linkUp.Reader.WaitToReadAsync(period.Token).AsTask(), Task.Delay(wait, _services.Time, period.Token));
            await period.CancelAsync();
            cancellationToken.ThrowIfCancellationRequested();
            _linkUp.Reader.TryRead(out _);
        }
    }

    // Empty when all is well.
    private async Task<string> GetKeysAsync(CancellationToken cancellationToken)
    {
        try
        {
            var reply = await _gate.SendAsync(Discovery(s_keys), cancellationToken);
            if (!reply.IsGood || JsonReading.Object(reply.Body) is not { } set)
                return $"{s_keys.Path} was answered with {reply.Code}";
            if (TokenKeys.FromSet(set).Count == 0)
                return $"{s_keys.Path} holds no key that can be used";
            if (s_rows.Get(_meta, "jwks") is not { } before || !JsonNode.DeepEquals(before, set))
            {
                await s_rows.PutAsync(_meta, "jwks", set, cancellationToken);
                _authentication.Keys = Keys();
            }

            foreach (var path in s_discovery)
            {
                var request = Discovery(KubeRequest.Read("GET", path, false)!);
                if (AnswerCache.KeyOf(path, request.Accept) is { } key && await _gate.SendAsync(request, cancellationToken) is { IsGood: true } page)
                    await _cache.PutAsync(key, new CachedAnswer(page.ContentType, page.Body.ToArray(), _services.Time.GetUtcNow()), cancellationToken);
            }

            return "";
        }
        catch (Exception e) when (e is UplinkException or StoreException or ChannelClosedException)
        {
            return e.Message;
        }
    }

    private static CloudRequest Discovery(KubeRequest request) => new(request, "GET", request.Path, "application/json", "", default, "");
}
