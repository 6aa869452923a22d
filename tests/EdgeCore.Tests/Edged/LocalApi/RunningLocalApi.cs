using System.Net.Http.Headers;
using Edge.Core.Configuration;
using Edge.Core.Edged.LocalApi;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Core.Tests.LocalApi;

/// <summary>A local API on a free port, until disposed.</summary>
internal sealed class RunningLocalApi : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly LocalApiModule _module;
    private readonly Task _run;

    private RunningLocalApi(LocalApiModule module, string token, Uri address)
    {
        _module = module;
        Token = token;
        Client = new HttpClient { BaseAddress = address, Timeout = Timeout.InfiniteTimeSpan };
        Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        _run = module.RunAsync(_stop.Token);
    }

    public string Token { get; }

    public int Port => _module.Port;

    /// <summary>Sends the token with every request.</summary>
    public HttpClient Client { get; }

    public static Task<RunningLocalApi> StartAsync(RunningEdged edged, ContainerdFixture containerd, string node)
        => StartAsync(new EdgeCoreOptions
        {
            NodeName = node,
            DataDirectory = edged.Root,
            Edged = new EdgedOptions { RuntimeEndpoint = "unix://" + containerd.Socket, RootDirectory = edged.Root, PodLogsDirectory = edged.Logs },
            LocalApi = new LocalApiOptions { Port = 0, TokenFile = Path.Combine(edged.Root, "localapi.token") },
        }, edged.Meta);

    public static async Task<RunningLocalApi> StartAsync(EdgeCoreOptions options, FakeMetaStore meta)
    {
        var module = new LocalApiModule(new EdgeServices(options, meta, new FakeUplink(), TimeProvider.System, new Random(1), NullLoggerFactory.Instance), () => "edgecore_test_metric 1\n");
        Assert.True(await module.TryStartAsync(default));
        return new RunningLocalApi(module, (await File.ReadAllTextAsync(options.LocalApi.TokenFile)).Trim(), new Uri($"http://127.0.0.1:{module.Port}"));
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _run.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _module.DisposeAsync();
        Client.Dispose();
        _stop.Dispose();
    }
}
