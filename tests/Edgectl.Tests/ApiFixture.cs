using System.Text;
using System.Text.Json.Nodes;
using Edge.ApiServer;
using Edge.Cloud.Host;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Ctl.Tests;

/// <summary>The embedded Kubernetes API with the CRDs and a node that is ready; no controllers, so that nothing changes but what a test changes.</summary>
public sealed class ApiFixture : IAsyncLifetime
{
    private readonly TempDirectory _directory = new();
    private EmbeddedApiServer _server = null!;
    private int _namespaces;

    public KubeClient Client { get; private set; } = null!;

    public string Kubeconfig => _server.KubeconfigPath;

    public async Task InitializeAsync()
    {
        _server = await EmbeddedApiServer.StartAsync(
            new ApiServerOptions { DataDirectory = _directory.Path, Port = 0 }, TimeProvider.System, NullLoggerFactory.Instance, CancellationToken.None);
        Client = KubeClient.FromKubeconfig(_server.KubeconfigPath, TimeProvider.System);
        await CrdInstaller.ApplyAsync(Client, TimeProvider.System, CancellationToken.None);
        await Client.CreateAsync(ResourceKind.Node, null, Node("edge-1"), CancellationToken.None);
        await Client.UpdateAsync(ResourceKind.Node, null, Node("edge-1"), "status", CancellationToken.None);
    }

    public async Task DisposeAsync()
    {
        Client.Dispose();
        await _server.DisposeAsync();
        _directory.Dispose();
    }

    /// <summary>A namespace of its own with the device and model of docs/examples, as they stand there.</summary>
    public async Task<TestDevice> DeviceAsync()
    {
        var @namespace = $"hall-{Interlocked.Increment(ref _namespaces)}";
        await Client.CreateAsync(ResourceKind.Namespace, null, Objects.One($"{{apiVersion: v1, kind: Namespace, metadata: {{name: {@namespace}}}}}"), CancellationToken.None);
        foreach (var (kind, file) in ((ResourceKind, string)[])[(ResourceKind.DeviceModel, "devicemodel.yaml"), (ResourceKind.Device, "device.yaml")])
        {
            var obj = Objects.One(File.ReadAllText(Path.Combine(Executables.SourceTree!, "docs/examples/devices", file)));
            obj["metadata"]!["namespace"] = @namespace;
            await Client.CreateAsync(kind, @namespace, obj, CancellationToken.None);
        }

        return new TestDevice(this, @namespace);
    }

    /// <summary>Runs edgectl to its end.</summary>
    public Task<ToolResult> EdgectlAsync(params string[] arguments)
        => Tool.TryRunAsync(
            Executables.Find("edgectl"), arguments, new ToolOptions(TimeProvider.System) { Environment = new Dictionary<string, string> { ["KUBECONFIG"] = Kubeconfig } }, CancellationToken.None);

    /// <summary>Starts an edgectl that runs until it is stopped.</summary>
    internal RunningEdgectl StartEdgectl(string name, params string[] arguments)
        => new(ChildProcess.Start(name, _directory.Path, Executables.Find("edgectl"), [.. arguments, "--kubeconfig", Kubeconfig], TimeProvider.System));

    private static JsonObject Node(string name)
    {
        var node = Objects.Node();
        node["metadata"]!["name"] = name;
        return node;
    }
}

/// <summary>An edgectl that runs until it is stopped, and is killed when a test fails before.</summary>
internal sealed class RunningEdgectl(ChildProcess process) : IAsyncDisposable
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromMinutes(1);

    public string Output => File.Exists(process.LogPath) ? File.ReadAllText(process.LogPath) : "";

    public async Task UntilAsync(string text)
    {
        try
        {
            await Wait.UntilAsync($"'{text}'", _ => Task.FromResult(Output.Contains(text, StringComparison.Ordinal)), s_timeout, TimeProvider.System, CancellationToken.None);
        }
        catch (TimeoutException e)
        {
            Assert.Fail($"{process.Name} has not said {e.Message}; it said:\n{Output}");
        }
    }

    /// <summary>SIGTERM, as Ctrl-C; it must end well.</summary>
    public async Task StopAsync()
    {
        Assert.True(await process.StopAsync(TimeSpan.FromSeconds(30)), Output);
        Assert.Equal(0, process.ExitCode);
    }

    public async ValueTask DisposeAsync()
    {
        await process.KillAsync();
        process.Dispose();
    }
}

/// <summary>A device in a namespace of its own, with a test in its mapper's place.</summary>
public sealed class TestDevice(ApiFixture api, string @namespace)
{
    public const string Name = "thermostat-1";

    public string Namespace => @namespace;

    public string Id => $"{@namespace}/{Name}";

    public Task<JsonObject> GetAsync() => api.Client.GetAsync(ResourceKind.Device, @namespace, Name, CancellationToken.None);

    public async Task<string> DesiredAsync(string property)
        => (await GetAsync()).Items("spec", "properties").Single(one => one.Text("name") == property).Text("desired", "value");

    /// <summary>Writes the status as DeviceController does: all twins at once.</summary>
    public async Task ReportAsync(string state, params JsonObject[] twins)
    {
        if (await api.Client.TryGetAsync(ResourceKind.DeviceStatus, @namespace, Name, CancellationToken.None) is null)
        {
            await api.Client.CreateAsync(
                ResourceKind.DeviceStatus, @namespace,
                new JsonObject { ["apiVersion"] = ResourceKind.DeviceStatus.ApiVersion, ["kind"] = ResourceKind.DeviceStatus.Kind, ["metadata"] = new JsonObject { ["name"] = Name } },
                CancellationToken.None);
        }

        var patch = new JsonObject { ["status"] = new JsonObject { ["state"] = state, ["twins"] = new JsonArray([.. twins]) } };
        await api.Client.PatchAsync(
            ResourceKind.DeviceStatus, @namespace, Name, PatchKind.Merge, Encoding.UTF8.GetBytes(patch.ToJsonString()), "status", CancellationToken.None);
    }

    /// <summary>A twin of this moment.</summary>
    internal static JsonObject Twin(string property, string reported, string? observed = null, string error = "")
    {
        var ms = (long)(TimeProvider.System.GetUtcNow() - Objects.Now).TotalMilliseconds;
        return Objects.Twin(property, reported, ms, observed, ms, error);
    }
}
