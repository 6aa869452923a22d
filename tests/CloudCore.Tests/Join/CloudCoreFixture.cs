using Edge.Cloud.Configuration;
using Edge.Cloud.Host;
using Edge.Local.Processes;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests.Join;

/// <summary>All of cloudcore in this process, embedded API included (or over the cluster of EDGE_TEST_KUBECONFIG), on free ports; and the edgectl beside it.</summary>
public sealed class CloudCoreFixture : IAsyncLifetime
{
    private readonly TempDirectory _directory = new();
    private TestCluster? _cluster;
    private CloudCoreProcess _process = null!;

    public int HubPort => _process.Ports.WebSocket;

    public int EnrolmentPort => _process.Ports.Https;

    public string Kubeconfig => _process.Ports.Kubeconfig;

    /// <summary>What <c>edgectl gettoken</c> printed.</summary>
    public string Token { get; private set; } = "";

    /// <summary>Runs edgectl to its end.</summary>
    public static Task<ToolResult> EdgectlAsync(params string[] arguments)
        => Tool.TryRunAsync(Executables.Find("edgectl"), arguments, new ToolOptions(TimeProvider.System), CancellationToken.None);

    public async Task InitializeAsync()
    {
        var options = Support.Cloud.Options with { ApiServer = new ListenOn(true, "127.0.0.1", 0, "modules.apiServer.port") };
        if (TestCluster.Given is { } kubeconfig)
        {
            _cluster = await TestCluster.EnterAsync(kubeconfig);
            options = options with { ApiServer = options.ApiServer with { IsEnabled = false }, Kubeconfig = kubeconfig };
        }

        _process = await CloudCoreProcess.StartAsync(options, _directory.Path, TimeProvider.System, new Random(1), NullLoggerFactory.Instance, CancellationToken.None);
        var printed = await EdgectlAsync("gettoken", "--kubeconfig", Kubeconfig);
        Assert.Equal((0, ""), (printed.ExitCode, printed.Error));
        Token = printed.Output.Trim();
    }

    public async Task DisposeAsync()
    {
        await _process.DisposeAsync();
        if (_cluster is not null)
            await _cluster.DisposeAsync();
        _directory.Dispose();
    }
}
