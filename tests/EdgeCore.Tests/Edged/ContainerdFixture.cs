using System.Diagnostics;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.Edged.Eviction;
using Edge.Local.Containerd;
using Edge.Local.Images;
using Edge.Protocol.Cri;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>One containerd for all tests of the collection, with a pause and a busybox image; gone afterwards.</summary>
public class ContainerdFixture : IAsyncLifetime
{
    public const string Busybox = "docker.io/edge/busybox:1.0";

    /// <summary>A second name of its only runtime.</summary>
    public const string OtherHandler = "runc-again";

    private ContainerdInstance? _containerd;

    public string Directory { get; } = System.IO.Directory.CreateTempSubdirectory("edged").FullName;

    /// <summary>Why tests on it must be skipped; empty when it runs.</summary>
    public string Missing { get; private set; } = "";

    /// <summary>Its socket. Where containerd cannot run, whoever asks for it, or for anything that uses it, is skipped with the reason.</summary>
    public string Socket
    {
        get
        {
            Skip.If(Missing.Length > 0, Missing);
            return _containerd!.Socket;
        }
    }

    /// <summary>Whether its cgroups are made by systemd.</summary>
    protected virtual bool SystemdCgroup => false;

    public async Task InitializeAsync()
    {
        if (!Environment.IsPrivilegedProcess)
            Missing = "needs root";
        else if (!File.Exists("/usr/bin/containerd"))
            Missing = "containerd is not installed";
        else if (!File.Exists("/usr/lib/cni/bridge"))
            Missing = "containernetworking-plugins is not installed";
        else if (!File.Exists("/bin/busybox"))
            Missing = "busybox-static is not installed";
        else if (SystemdCgroup && !System.IO.Directory.Exists("/run/systemd/system"))
            Missing = "systemd is not this machine's init; .ci/vm has one where it is";
        if (Missing.Length > 0)
            return;
        _containerd = await ContainerdInstance.StartAsync(Path.Combine(Directory, "c"), "test", SystemdCgroup, NullLogger.Instance, CancellationToken.None, OtherHandler);
        await ImportAsync(Local.Images.Busybox.PauseImage(ContainerdInstance.SandboxImage));
        await ImportAsync(OciImage.Create(Busybox).AddBusybox(Local.Images.Busybox.Find(), Local.Images.Busybox.Applets()));
    }

    public async Task DisposeAsync()
    {
        if (_containerd is not null)
            await _containerd.DisposeAsync();
        System.IO.Directory.Delete(Directory, recursive: true);
    }

    internal CriClient Client() => new(Socket, TimeProvider.System, TimeSpan.FromSeconds(30));

    /// <summary>An Edged on it; the test is skipped where it is missing.</summary>
    /// <param name="read">What the node has free; this machine's own by default.</param>
    /// <param name="edged">Changes the settings.</param>
    internal RunningEdged Run(string node, FakeMetaStore? meta = null, ResourceOptions? resources = null, Func<CancellationToken, Task<NodeReadings>>? read = null,
        Func<EdgedOptions, EdgedOptions>? edged = null)
        => new(this, node, meta ?? new FakeMetaStore(), resources ?? new ResourceOptions(), read, edged ?? (options => options));

    internal async Task ImportAsync(OciImage image)
    {
        var file = Path.Combine(Directory, "image.tar");
        await using (var stream = File.Create(file))
            image.Write(stream);
        using var process = Process.Start(new ProcessStartInfo("ctr", ["-a", Socket, "-n", "k8s.io", "images", "import", file]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, error);
    }
}

[CollectionDefinition("containerd")]
public sealed class ContainerdCollection : ICollectionFixture<ContainerdFixture>;

/// <summary>One whose cgroups are made by systemd; where that is not the machine's init, its tests are skipped.</summary>
public sealed class SystemdContainerdFixture : ContainerdFixture
{
    protected override bool SystemdCgroup => true;
}

[CollectionDefinition("containerd-systemd")]
public sealed class SystemdContainerdCollection : ICollectionFixture<SystemdContainerdFixture>;

/// <summary>A second containerd beside the first: these tests wait more than they work, so two rows of them take half the time.</summary>
[CollectionDefinition("containerd-2")]
public sealed class SecondContainerdCollection : ICollectionFixture<ContainerdFixture>;

/// <summary>A pod manager that runs until disposed.</summary>
internal sealed class RunningEdged : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly PodManager _manager;
    private readonly Task _run;

    public RunningEdged(ContainerdFixture fixture, string node, FakeMetaStore meta, ResourceOptions resources, Func<CancellationToken, Task<NodeReadings>>? read, Func<EdgedOptions, EdgedOptions> edged)
    {
        Meta = meta;
        Root = Path.Combine(fixture.Directory, node);
        Logs = Path.Combine(Root, "logs");
        var options = new EdgeCoreOptions
        {
            NodeName = node,
            DataDirectory = Root,
            Edged = edged(new EdgedOptions { StaticPodPath = "", RuntimeEndpoint = "unix://" + fixture.Socket, RootDirectory = Root, PodLogsDirectory = Logs, ReportEvent = true, NodeIp = "192.0.2.7", Resources = resources }),
        };
        _manager = new PodManager(new EdgeServices(options, meta, Uplink, TimeProvider.System, new Random(1), NullLoggerFactory.Instance), read);
        _run = _manager.RunAsync(_stop.Token);
    }

    public FakeMetaStore Meta { get; }

    public FakeUplink Uplink { get; } = new();

    public string Root { get; }

    public string Logs { get; }

    public IRuntimeState Runtime => _manager.Runtime;

    public void ReportAll() => _manager.ReportAll();

    /// <summary>Waits for a status of the pod that satisfies the condition.</summary>
    public async Task<JsonObject> StatusAsync(JsonObject pod, string what, Func<JsonObject, bool> match, int from = 0)
        => (JsonObject)FakeUplink.Content(await Uplink.WaitAsync(what, entry => entry.Resource == $"{pod["metadata"]!["namespace"]}/podpatch/{pod["metadata"]!["name"]}"
            && match((JsonObject)FakeUplink.Content(entry)["status"]!), from))["status"]!;

    public Task<EdgeHub.UplinkEntry> EventAsync(string reason, string message = "")
        => Uplink.WaitAsync($"event {reason} {message}", entry => entry.Resource.Contains("/event/", StringComparison.Ordinal)
            && FakeUplink.Content(entry)["reason"]!.GetValue<string>() == reason
            && FakeUplink.Content(entry)["message"]!.GetValue<string>().Contains(message, StringComparison.Ordinal));

    public string Log(JsonObject pod, string container, int attempt)
        => File.ReadAllText(Path.Combine(Logs, $"{pod["metadata"]!["namespace"]}_{pod["metadata"]!["name"]}_{pod["metadata"]!["uid"]}", container, $"{attempt}.log"));

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _run.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _manager.Dispose();
        _stop.Dispose();
    }
}
