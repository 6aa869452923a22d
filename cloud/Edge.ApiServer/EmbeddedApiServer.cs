using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using Edge.ApiServer.Admission;
using Edge.ApiServer.Audit;
using Edge.ApiServer.Auth;
using Edge.ApiServer.Auth.Rbac;
using Edge.ApiServer.Backup;
using Edge.ApiServer.Certificates;
using Edge.ApiServer.Crd;
using Edge.ApiServer.Discovery;
using Edge.ApiServer.InProcess;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer;

/// <summary>The API cannot start; the message says what is wrong and which setting to change.</summary>
public sealed class ApiServerException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The embedded Kubernetes API: HTTPS on loopback, SQLite below.</summary>
public sealed class EmbeddedApiServer : IAsyncDisposable
{
    private static readonly string[] s_namespaces = ["default", "kube-system", "kube-public", "kube-node-lease", "kubeedge"];
    private static readonly TimeSpan s_endWithin = TimeSpan.FromSeconds(30); // as Kestrel's own
    private readonly WebApplication _app;
    private readonly ServerPki _pki;
    private readonly ObjectStore _store;
    private readonly CancellationTokenSource _stopping;
    private readonly Task _cleaning;
    private readonly QuotaLedger _quotas;
    private readonly AuditLog? _audit;
    private readonly DirectoryLock _lock;
    private readonly InProcessHandler _inside;
    private readonly TimeProvider _time;
    private int _disposed;

    private EmbeddedApiServer(WebApplication app, ServerPki pki, ObjectStore store, CancellationTokenSource stopping, Task cleaning, QuotaLedger quotas, AuditLog? audit, DirectoryLock directoryLock, KubeClientOptions inside, InProcessHandler handler, TimeProvider time, int port, string kubeconfigPath)
    {
        (_quotas, _audit, _lock) = (quotas, audit, directoryLock);
        (_inside, _time) = (handler, time);
        Inside = inside;
        _app = app;
        _pki = pki;
        _store = store;
        _stopping = stopping;
        _cleaning = cleaning;
        Port = port;
        KubeconfigPath = kubeconfigPath;
    }

    /// <summary>The TCP port it listens on.</summary>
    public int Port { get; }

    /// <summary>The administrator's kubeconfig, <c>DATA/admin.kubeconfig</c> (0600).</summary>
    public string KubeconfigPath { get; }

    /// <summary>The administrator's way in for this process itself: no socket, no TLS.</summary>
    public KubeClientOptions Inside { get; }

    /// <summary>Commits a write that changes nothing: null when it is on disk, else why it is not.</summary>
    public ValueTask<string?> WriteProblemAsync(CancellationToken ct) => _store.WriteProblemAsync(ct);

    /// <summary>Opens the data directory and serves; completes once requests are answered.</summary>
    /// <exception cref="ApiServerException">The port is in use, or the address cannot be bound.</exception>
    /// <exception cref="Common.Storage.StoreException">The database cannot be used.</exception>
    public static async Task<EmbeddedApiServer> StartAsync(ApiServerOptions options, TimeProvider time, ILoggerFactory loggers, CancellationToken ct)
    {
        PrivateFiles.CreateDirectory(options.DataDirectory);
        var directoryLock = DirectoryLock.TryTake(options.DataDirectory) ?? throw new ApiServerException($"{options.DataDirectory} is in use by another cloudcore; choose another with --data-dir");
        AuditLog? audit = null;
        var pki = ServerPki.LoadOrCreate(options.DataDirectory, time, Dns.GetHostName());
        WebApplication? app = null;
        ObjectStore? store = null;
        try
        {
            if (options.AuditLogPath.Length > 0)
                audit = new AuditLog(options.AuditLogPath, options.AuditLogBytesMax, options.AuditLogBackupsMax, time, loggers.CreateLogger<AuditLog>());
            store = ObjectStore.Open(Path.Combine(options.DataDirectory, "apiserver.db"), options.WatchHistoryMax, time);
            var registry = new ResourceRegistry();
            registry.Load(store.Snapshot(BuiltinResources.Definitions.Id).Items);
            var random = new Random();
            var addresses = new ClusterAddresses(new Random(random.Next()), store.Snapshot(ResourceId.Of(ResourceKind.Service)).Items);
            var api = new ObjectApi(store, registry, time, random, addresses);
            var rbac = new RbacIndex();
            foreach (var kind in (ServedResource[])[BuiltinResources.ClusterRoles, BuiltinResources.Roles, BuiltinResources.ClusterRoleBindings, BuiltinResources.RoleBindings])
                rbac.Load(store.Snapshot(kind.Id).Items);
            var authorizer = new Authorizer(rbac, store);
            var quotas = new QuotaLedger(store, registry, time, loggers.CreateLogger<QuotaLedger>()) { Api = api };
            quotas.Load(store.Snapshot(BuiltinResources.Quotas.Id).Items);
            api.Admission = new AdmissionChain(authorizer, quotas, time, store);
            var signer = new CertificateSigner(api, pki, authorizer, time, loggers.CreateLogger<CertificateSigner>());
            var aggregator = new RoleAggregator(api, time, loggers.CreateLogger<RoleAggregator>());
            var cleaner = new DefinitionCleaner(api, time, loggers.CreateLogger<DefinitionCleaner>());
            store.Applied = new StoreFollowers(
                loggers.CreateLogger<StoreFollowers>(),
                [
                    ("definitions", registry.Apply), ("cleaning", cleaner.Notice), ("addresses", addresses.Apply), ("access", rbac.Apply), ("aggregation", aggregator.Notice),
                    ("signing", signer.Notice), ("quotas", quotas.Apply),
                ]).Apply;
            await BootstrapAsync(api, ct);
            await aggregator.GatherAsync(ct);

            var tokens = new ServiceAccountTokens(pki.TokenKey, time);
            var adminToken = AdminKubeconfig.LoadOrCreateToken(Path.Combine(options.DataDirectory, "admin.token"));
            var nodes = new NodeProxy(api, options.DialNode, time);
            var metrics = new NodeMetrics(api, nodes, time);
            var authenticator = new Authenticator(pki, adminToken, tokens, store, time);
            var rest = new RestHandler(
                authenticator, authorizer, new Reviews(authorizer, authenticator, time), registry, api, new DiscoveryHandler(registry, [.. metrics.Resources, .. Reviews.Resources], tokens.KeySet), new ListHandler(store, time),
                new WatchHandler(store, time, random), new Subresources(api, tokens, time), nodes, metrics, time, loggers.CreateLogger<RestHandler>()) { Audit = audit };
            var inside = new InProcessHandler(rest.HandleAsync);
            app = Build(options, pki, loggers);
            app.Run(rest.HandleAsync);
            await app.StartAsync(ct);
            var address = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
            var kubeconfig = Path.Combine(options.DataDirectory, "admin.kubeconfig");
            AdminKubeconfig.Write(kubeconfig, address, pki.Authority, pki.Admin);
            var stopping = new CancellationTokenSource();
            return new EmbeddedApiServer(app, pki, store, stopping, Task.WhenAll(cleaner.RunAsync(stopping.Token), aggregator.RunAsync(stopping.Token), signer.RunAsync(stopping.Token), quotas.RunAsync(stopping.Token)), quotas, audit, directoryLock,
                new KubeClientOptions { Server = new Uri("http://in-process"), Token = adminToken, Handler = inside }, inside, time, address.Port, kubeconfig);
        }
        catch (Exception e)
        {
            if (app is not null)
                await app.DisposeAsync();
            if (store is not null)
                await store.DisposeAsync();
            if (audit is not null)
                await audit.DisposeAsync();
            pki.Dispose();
            directoryLock.Dispose();
            if (e is IOException { InnerException: AddressInUseException } or AddressInUseException)
                throw new ApiServerException($"{options.BindAddress}:{options.Port} is in use by another process; choose another with modules.apiServer.port", e);
            throw;
        }
    }

    /// <summary>The API's figures in Prometheus' text exposition format.</summary>
    public string RenderMetrics()
    {
        var (watchers, deepest, overflows) = _store.WatchFigures();
        return string.Create(CultureInfo.InvariantCulture, $"""
            # HELP edge_apiserver_watchers Watches that are open, of clients and of cloudcore itself.
            # TYPE edge_apiserver_watchers gauge
            edge_apiserver_watchers {watchers}
            # HELP edge_apiserver_watch_queue_depth Changes that wait for the watcher that has most; {ObjectWatcher.QueueCapacity} at most.
            # TYPE edge_apiserver_watch_queue_depth gauge
            edge_apiserver_watch_queue_depth {deepest}
            # HELP edge_apiserver_watch_overflows_total Watches closed because their client did not keep up; it resumes by resourceVersion.
            # TYPE edge_apiserver_watch_overflows_total counter
            edge_apiserver_watch_overflows_total {overflows}

            """) + (_audit is null ? "" : string.Create(CultureInfo.InvariantCulture, $"""
            # HELP edge_apiserver_audit_queue_depth Audit lines that wait for the disk; 8192 at most.
            # TYPE edge_apiserver_audit_queue_depth gauge
            edge_apiserver_audit_queue_depth {_audit.Depth}
            # HELP edge_apiserver_audit_lines_total Audit lines written.
            # TYPE edge_apiserver_audit_lines_total counter
            edge_apiserver_audit_lines_total {_audit.Written}
            # HELP edge_apiserver_audit_drops_total Audit lines lost to a full queue or a failing disk.
            # TYPE edge_apiserver_audit_drops_total counter
            edge_apiserver_audit_drops_total {_audit.Dropped}

            """));
    }

    /// <summary>Ends the watches, answers what is under way, closes the database.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _stopping.CancelAsync();
        await _cleaning;
        _store.Close();
        await _inside.EndAsync(s_endWithin, _time);
        await _app.StopAsync();
        await _app.DisposeAsync();
        await _store.DisposeAsync();
        if (_audit is not null)
            await _audit.DisposeAsync();
        _quotas.Dispose();
        _inside.Dispose();
        _stopping.Dispose();
        _pki.Dispose();
        _lock.Dispose();
    }

    /// <summary>The namespaces that every cluster has, and KubeEdge's.</summary>
    private static async Task BootstrapAsync(ObjectApi api, CancellationToken ct)
    {
        foreach (var name in s_namespaces)
        {
            if (api.Store.Get(BuiltinResources.Namespaces.Id, "", name) is null)
                await api.CreateAsync(BuiltinResources.Namespaces, "", new JsonObject { ["metadata"] = new JsonObject { ["name"] = name } }, new WriteOptions(), ct);
        }

        foreach (var made in PriorityAdmission.SystemClasses())
        {
            if (api.Store.Get(BuiltinResources.PriorityClasses.Id, "", made.Name()) is null)
                await api.CreateAsync(BuiltinResources.PriorityClasses, "", made, new WriteOptions(), ct);
        }

        await DefaultRoles.EnsureAsync(api, ct);
    }

    private static WebApplication Build(ApiServerOptions options, ServerPki pki, ILoggerFactory loggers)
    {
        if (!IPAddress.TryParse(options.BindAddress, out var address))
            throw new ApiServerException($"modules.apiServer.bindAddress: \"{options.BindAddress}\" is not an IP address");
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        // No handler blocks, so a request is read and its answer sent by the thread that has it: two hand-overs between threads less.
        builder.WebHost.UseSockets(sockets => sockets.UnsafePreferInlineScheduling = true);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.AllowSynchronousIO = false;
            kestrel.Limits.MaxRequestBodySize = null; // the handlers answer with a metav1.Status
            kestrel.Limits.MinResponseDataRate = null; // a watch may be quiet
            kestrel.Limits.Http2.MaxStreamsPerConnection = 1000; // one client multiplexes its watches
            kestrel.Listen(address, options.Port, listen => listen.UseHttps(https =>
            {
                https.ServerCertificate = pki.Serving;
                https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
                https.AllowAnyClientCertificate(); // judged at the request, which then gets a 401 that kubectl can print
            }));
        });
        return builder.Build();
    }

    /// <summary>The process's own host listens to signals; this one is stopped by <see cref="DisposeAsync"/>.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
