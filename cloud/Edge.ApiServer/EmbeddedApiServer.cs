using System.Net;
using System.Text.Json.Nodes;
using Edge.ApiServer.Auth;
using Edge.ApiServer.Crd;
using Edge.ApiServer.Discovery;
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
    private readonly WebApplication _app;
    private readonly ServerPki _pki;
    private readonly ObjectStore _store;
    private readonly CancellationTokenSource _stopping;
    private readonly Task _cleaning;
    private int _disposed;

    private EmbeddedApiServer(WebApplication app, ServerPki pki, ObjectStore store, CancellationTokenSource stopping, Task cleaning, int port, string kubeconfigPath)
    {
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

    /// <summary>Commits a write that changes nothing: null when it is on disk, else why it is not.</summary>
    public ValueTask<string?> WriteProblemAsync(CancellationToken ct) => _store.WriteProblemAsync(ct);

    /// <summary>Opens the data directory and serves; completes once requests are answered.</summary>
    /// <exception cref="ApiServerException">The port is in use, or the address cannot be bound.</exception>
    /// <exception cref="Common.Storage.StoreException">The database cannot be used.</exception>
    public static async Task<EmbeddedApiServer> StartAsync(ApiServerOptions options, TimeProvider time, ILoggerFactory loggers, CancellationToken ct)
    {
        PrivateFiles.CreateDirectory(options.DataDirectory);
        var pki = ServerPki.LoadOrCreate(options.DataDirectory, time, Dns.GetHostName());
        WebApplication? app = null;
        ObjectStore? store = null;
        try
        {
            store = ObjectStore.Open(Path.Combine(options.DataDirectory, "apiserver.db"), options.WatchHistoryMax, time);
            var registry = new ResourceRegistry();
            registry.Load(store.Snapshot(BuiltinResources.Definitions.Id).Items);
            var random = new Random();
            var addresses = new ClusterAddresses(new Random(random.Next()), store.Snapshot(ResourceId.Of(ResourceKind.Service)).Items);
            var api = new ObjectApi(store, registry, time, random, addresses);
            var cleaner = new DefinitionCleaner(api, time, loggers.CreateLogger<DefinitionCleaner>());
            store.Applied = change =>
            {
                registry.Apply(change);
                cleaner.Notice(change);
                addresses.Apply(change);
            };
            await BootstrapAsync(api, ct);

            var tokens = new ServiceAccountTokens(pki.TokenKey, time);
            var adminToken = AdminKubeconfig.LoadOrCreateToken(Path.Combine(options.DataDirectory, "admin.token"));
            var nodes = new NodeProxy(api, options.DialNode, time);
            var metrics = new NodeMetrics(api, nodes, time);
            var rest = new RestHandler(
                new Authenticator(pki, adminToken, tokens, store, time), registry, api, new DiscoveryHandler(registry, metrics.Resources), new ListHandler(store, time),
                new WatchHandler(store, time, random), new Subresources(api, tokens, time), nodes, metrics, time, loggers.CreateLogger<RestHandler>());
            app = Build(options, pki, loggers);
            app.Run(rest.HandleAsync);
            await app.StartAsync(ct);
            var address = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
            var kubeconfig = Path.Combine(options.DataDirectory, "admin.kubeconfig");
            AdminKubeconfig.Write(kubeconfig, address, pki.Authority, pki.Admin);
            var stopping = new CancellationTokenSource();
            return new EmbeddedApiServer(app, pki, store, stopping, cleaner.RunAsync(stopping.Token), address.Port, kubeconfig);
        }
        catch (Exception e)
        {
            if (app is not null)
                await app.DisposeAsync();
            if (store is not null)
                await store.DisposeAsync();
            pki.Dispose();
            if (e is IOException { InnerException: AddressInUseException } or AddressInUseException)
                throw new ApiServerException($"{options.BindAddress}:{options.Port} is in use by another process; choose another with modules.apiServer.port", e);
            throw;
        }
    }

    /// <summary>Ends the watches, answers what is under way, closes the database.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _stopping.CancelAsync();
        await _cleaning;
        _store.Close();
        await _app.StopAsync();
        await _app.DisposeAsync();
        await _store.DisposeAsync();
        _stopping.Dispose();
        _pki.Dispose();
    }

    /// <summary>The namespaces that every cluster has, and KubeEdge's.</summary>
    private static async Task BootstrapAsync(ObjectApi api, CancellationToken ct)
    {
        foreach (var name in s_namespaces)
        {
            if (api.Store.Get(BuiltinResources.Namespaces.Id, "", name) is null)
                await api.CreateAsync(BuiltinResources.Namespaces, "", new JsonObject { ["metadata"] = new JsonObject { ["name"] = name } }, new WriteOptions(), ct);
        }
    }

    private static WebApplication Build(ApiServerOptions options, ServerPki pki, ILoggerFactory loggers)
    {
        if (!IPAddress.TryParse(options.BindAddress, out var address))
            throw new ApiServerException($"modules.apiServer.bindAddress: \"{options.BindAddress}\" is not an IP address");
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
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
