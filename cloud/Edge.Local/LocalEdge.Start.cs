using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;
using Edge.Local.Containerd;
using Edge.Local.Images;
using Edge.Local.Processes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Local;

public sealed partial class LocalEdge
{
    /// <summary>The images of the example pods, built from local files.</summary>
    public const string BusyboxImage = "edge.local/busybox:1";

    /// <summary>The image of the mapper pod.</summary>
    public const string MapperImage = "edge.local/modbus-mapper:1";

    // containerd's sockets lie deepest below it.
    private const int DirectoryLengthMax = 60;
    private const int LogLines = 15;
    private static readonly TimeSpan s_stopGrace = TimeSpan.FromSeconds(10);

    // Where pods ask for names: the first of modules.edgeDns.listen, as it is by default.
    private static readonly IPEndPoint s_podDns = new(IPAddress.Parse("169.254.30.10"), 53);

    private async Task StartPartsAsync(CancellationToken cancellationToken)
    {
        // What needs nothing else starts at once.
        await AllAsync(cancellationToken, token => StartCloudCoreAsync(Settings(), token), StartContainerdsAsync, StartSimulatorAsync);
        if (_options.OwnHub)
            await StartHubAsync(cancellationToken);
        await AllAsync(cancellationToken, [.. Nodes.Select(node => (Func<CancellationToken, Task>)(token => JoinAsync(node, token)))]);
        if (_options.Examples)
            await StepAsync("apply docs/examples", () => ApplyExamplesAsync(cancellationToken));
        if (_options.Dns)
            await StepAsync("dns", () => StartDnsAsync(cancellationToken));
        if (_options.Mapper)
            await StepAsync("modbus mapper", () => StartMapperAsync(cancellationToken));
    }

    // The first that fails stops the others, so that its message is not held up by their deadlines.
    private static async Task AllAsync(CancellationToken cancellationToken, params Func<CancellationToken, Task>[] parts)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await Task.WhenAll(parts.Select(async part =>
        {
            try
            {
                await part(stop.Token);
            }
            catch
            {
                await stop.CancelAsync();
                throw;
            }
        }));
    }

    // All is on this machine here, also the services that Rules (where the router is switched on) post to.
    private const string LocalTargets = "modules.router.allowTargets=[127.0.0.0/8]";

    private List<string> Settings()
    {
        int Port(int wellKnown, string what)
        {
            if (_options.WellKnownPorts)
            {
                if (PortLease.IsFree(wellKnown))
                    return wellKnown;
                Note("ports", $"port {wellKnown} ({what}) is in use; taking a free one");
            }

            // Not 0: it must still be this cloudcore's after a restart.
            var lease = PortLease.Take();
            _leases.Add(lease);
            return lease.Port;
        }

        return
        [
            $"modules.apiServer.port={Port(6443, "Kubernetes API")}",
            $"modules.cloudHub.websocket.port={Port(10000, "hub")}",
            $"modules.cloudHub.https.port={Port(10002, "enrolment")}",
            .. DnsSettings(_options.Dns ? Port(5300, "DNS") : 0),
        ];
    }

    // On loopback only, where every client may say for whom it asks: so `dig +subnet` shows what others get.
    private string[] DnsSettings(int port)
        => _options.Dns ? ["modules.gslb.enable=true", "modules.gslb.address=127.0.0.1", $"modules.gslb.port={port}", "modules.gslb.ecsResolvers=[127.0.0.0/8]"] : [];

    private string[] EdgeDnsSettings(LocalNode node)
    {
        if (!_options.Dns)
            return [];
        var wellKnown = 10053 + Nodes.TakeWhile(other => other != node).Count();
        var own = $"127.0.0.1:{(_options.WellKnownPorts && PortLease.IsFree(wellKnown) ? wellKnown : 0)}";
        var isForPods = node.Containerd is not null && _options.WellKnownPorts;
        // Said, not refused: edgecore takes it as soon as it is free, and all but the names of pods works without.
        if (isForPods && PortLease.IsTaken(s_podDns))
            Note("dns", $"{s_podDns} is in use, by another edge on this machine perhaps: pods here cannot ask {node.Name} for names until that one stops");
        // Nothing here routes clusterIPs.
        return [$"modules.edgeDns.listen=[{(isForPods ? $"{s_podDns}, {own}" : own)}]", "modules.edgeDns.serviceAddresses=endpoints"];
    }

    private Task StartCloudCoreAsync(IReadOnlyList<string> portSettings, CancellationToken cancellationToken)
        => StepAsync("cloudcore", async () =>
        {
            var config = Path.Combine(_directory, "cloudcore.yaml");
            await File.WriteAllTextAsync(config, "apiVersion: cloudcore.config.kubeedge.io/v1alpha1\nkind: CloudCore\n", cancellationToken);
            var ports = await StartCloudCoreAsync(
                "cloudcore", "cloud", child => CloudCore = child, ["--config", config, .. Sets([.. portSettings, "commonConfig.monitorServer.bindAddress=127.0.0.1:0", LocalTargets, .. _options.CloudCoreSettings])],
                cancellationToken);
            _ports = new LocalPorts(
                (int)ports.Number(0, "api"), (int)ports.Number(0, "websocket"), (int)ports.Number(0, "https"), (int)ports.Number(0, "metrics"), ports.Text("kubeconfig"), (int)ports.Number(0, "dns"));
            _client?.Dispose();
            _client = KubeClient.FromKubeconfig(_ports.Kubeconfig, _options.Time);
            return $"API {_ports.Api}, hub {_ports.WebSocket}, enrolment {_ports.Https}";
        });

    private Task StartHubAsync(CancellationToken cancellationToken)
        => StepAsync("hub", async () =>
        {
            var ports = await StartCloudCoreAsync(
                "hub", "hub", child => Hub = child,
                ["--kubeconfig", Kubeconfig, .. Sets(["modules.cloudHub.websocket.port=0", "modules.cloudHub.https.port=0", "commonConfig.monitorServer.bindAddress=127.0.0.1:0", LocalTargets, .. _options.CloudCoreSettings])],
                cancellationToken);
            _ports = Ports with { WebSocket = (int)ports.Number(0, "websocket"), Https = (int)ports.Number(0, "https") };
            return $"hub {Ports.WebSocket}, enrolment {Ports.Https}";
        });

    // What it says of its ports once it is ready.
    private async Task<JsonNode?> StartCloudCoreAsync(string name, string folder, Action<ChildProcess> started, IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        var data = System.IO.Directory.CreateDirectory(Path.Combine(_directory, folder)).FullName;

        // Written when ready; one from an earlier run would be believed too soon.
        var portsFile = Path.Combine(data, "cloudcore.ports.json");
        File.Delete(portsFile);
        started(StartChild(name, "cloudcore", ["--data-dir", data, .. arguments]));
        await WaitForAsync($"{name} gets ready", _ => Task.FromResult(File.Exists(portsFile)), _options.ReadyDeadline, cancellationToken);
        return JsonNode.Parse(await File.ReadAllTextAsync(portsFile, cancellationToken));
    }

    private async Task StartContainerdsAsync(CancellationToken cancellationToken)
    {
        if (!_options.Pods)
            return;
        if (WhyNoPods() is { } reason)
        {
            Note("containerd", $"{reason}: no pods; the device path runs, with the mapper as a process");
            return;
        }

        await StepAsync("containerd and images", async () =>
        {
            var images = BuildImages();
            await Task.WhenAll(Nodes.Take(_options.PodsOnEveryNode ? Nodes.Count : 1).Select(async node =>
            {
                node.Containerd = await ContainerdInstance.StartAsync(
                    Path.Combine(_directory, $"containerd-{node.Name}"), node.Name, NullLogger.Instance, cancellationToken, _options.RuntimeHandlers);
                foreach (var image in images)
                    await EdgectlAsync(["image", "import", image, "--runtime-endpoint", $"unix://{node.Containerd.Socket}"], cancellationToken);
            }));
            return string.Join(", ", images.Select(Path.GetFileName));
        });
    }

    private static string? WhyNoPods()
        => !Environment.IsPrivilegedProcess ? "not root"
            : Tool.OnPath("containerd") is null ? "containerd is not installed"
            : Tool.OnPath("runc") is null ? "runc is not installed"
            : null;

    // Written as files, which the import reads: the same way a user brings an image to a node.
    private List<string> BuildImages()
    {
        var busybox = OciImage.Create(BusyboxImage).AddBusybox(Busybox.Find(), Busybox.Applets());
        busybox.Command = ["sh"];
        var images = new List<OciImage> { Busybox.PauseImage(ContainerdInstance.SandboxImage), busybox };
        if (_options.Mapper && Executables.FindSelfContained("modbus-mapper") is { } folder)
        {
            var mapper = OciImage.Create(MapperImage).Add(folder, "/app").AddLibrariesOf(folder);
            mapper.Entrypoint = ["/app/modbus-mapper"];
            images.Add(mapper);
            HasMapperPod = true;
        }
        else if (_options.Mapper)
        {
            Note("modbus mapper", "there is no self-contained build of modbus-mapper (artifacts/publish/modbus-mapper, made by up.sh): it runs as a process");
        }

        var target = System.IO.Directory.CreateDirectory(Path.Combine(_directory, "images")).FullName;
        return [.. images.Select(image =>
        {
            var file = Path.Combine(target, image.Name[(image.Name.LastIndexOf('/') + 1)..].Replace(':', '-') + ".tar");
            using var stream = File.Create(file);
            image.Write(stream);
            return file;
        })];
    }

    private async Task StartSimulatorAsync(CancellationToken cancellationToken)
    {
        if (!_options.Simulator)
            return;
        await StepAsync("modbus simulator", async () =>
        {
            var portFile = Path.Combine(_directory, "simulator.port");
            File.Delete(portFile);
            Simulator = StartChild("edge-simulator", "edge-simulator", "modbus", "--bind", "127.0.0.1", "--port", "0", "--port-file", portFile);
            await WaitForAsync(
                "the simulator gets ready",
                async token =>
                {
                    if (!File.Exists(portFile))
                        return false;
                    ModbusPort = int.TryParse(await File.ReadAllTextAsync(portFile, token), CultureInfo.InvariantCulture, out var port) ? port : 0;
                    return ModbusPort > 0;
                },
                _options.ReadyDeadline,
                cancellationToken);
            return $"127.0.0.1:{ModbusPort}";
        });
    }

    private Task JoinAsync(LocalNode node, CancellationToken cancellationToken)
        => StepAsync(node.Name, async () =>
        {
            System.IO.Directory.CreateDirectory(node.DmiDirectory);
            File.Delete(PortsFile(node)); // of an earlier run
            var token = (await EdgectlAsync(["gettoken", "--kubeconfig", Kubeconfig], cancellationToken)).Trim();
            var runtime = node.Containerd is { } containerd ? $"unix://{containerd.Socket}" : "unix:///run/containerd/containerd.sock";
            await EdgectlAsync(
                ["join", "-e", $"127.0.0.1:{Ports.WebSocket}", "--certport", Text(Ports.Https), "--token", token, "-i", node.Name, "-p", runtime,
                    "--data-dir", node.DataDirectory, "--config-out", node.ConfigPath, "--force"], // an earlier run may have left one
                cancellationToken);
            StartEdgeCore(node);
            await WaitForAsync($"node {node.Name} gets Ready", stop => IsNodeReadyAsync(node.Name, stop), _options.ReadyDeadline, cancellationToken);
            return node.Containerd is null ? "Ready, without pods" : "Ready";
        });

    private void StartEdgeCore(LocalNode node)
        => node.Process = StartChild(
            node.Name,
            "edgecore",
            ["--config", node.ConfigPath, "--data-dir", node.DataDirectory,
                .. Sets([
                    "modules.edged.reportEvent=true",
                    $"modules.deviceTwin.dmiSockPath={node.DmiSocket}",
                    "commonConfig.monitorServer.bindAddress=127.0.0.1:0",
                    "modules.edged.tailoredKubeletConfig.readOnlyPort=0",
                    .. node.Containerd is null ? ["modules.edged.enable=false"] : Array.Empty<string>(),
                    .. EdgeDnsSettings(node),
                    .. _options.EdgeCoreSettings])]);

    private async Task<string> ApplyExamplesAsync(CancellationToken cancellationToken)
    {
        if (_options.Simulator)
        {
            // cloudcore applies the CRDs at its start.
            await WaitForAsync(
                "the API serves devices",
                async token => (await Client.ListAsync(ResourceKind.DeviceStatus, "default", new ListOptions(), token)).Items.Count >= 0,
                _options.ReadyDeadline,
                cancellationToken);
            await ApplyAsync(Examples.Read("devices/devicemodel.yaml"), cancellationToken);
            await ApplyAsync(Examples.Device(ModbusPort), cancellationToken);
        }

        if (!HasPods || !_options.ExamplePods)
            return "devices";
        await ApplyAsync(Examples.Read("pods/web.yaml"), cancellationToken);
        await WaitForAsync("pod web gets Ready", token => IsPodReadyAsync("default", "web", token), _options.ReadyDeadline, cancellationToken);
        return "devices, pod web";
    }

    private async Task<string> StartDnsAsync(CancellationToken cancellationToken)
    {
        await WaitForAsync(
            "the API serves zones",
            async token => (await Client.ListAsync(GslbKinds.Zone, null, new ListOptions(), token)).Items.Count >= 0,
            _options.ReadyDeadline,
            cancellationToken);
        foreach (var file in (string[])["zone", "locationmap", "shop"])
            await ApplyAsync(Examples.Read($"gslb/{file}.yaml"), cancellationToken);
        foreach (var node in Nodes)
            await WaitForAsync($"the resolver of {node.Name} listens", _ => Task.FromResult(FindDnsPort(node) > 0), _options.ReadyDeadline, cancellationToken);
        return $"127.0.0.1:{Ports.Dns}; on the nodes {string.Join(", ", Nodes.Select(node => $"127.0.0.1:{node.DnsPort}"))}";
    }

    private static string PortsFile(LocalNode node) => Path.Combine(node.DataDirectory, "edgecore.ports.json");

    /// <summary>Where a node's resolver listens on 127.0.0.1 now, as its edgecore says, which may take another port after a restart; 0 while it does not.</summary>
    public static int FindDnsPort(LocalNode node)
    {
        var file = PortsFile(node);
        // The last is the one on 127.0.0.1.
        node.DnsPort = File.Exists(file) && JsonNode.Parse(File.ReadAllText(file)).Texts("dns").LastOrDefault() is { } text && IPEndPoint.TryParse(text, out var endPoint) ? endPoint.Port : 0;
        return node.DnsPort;
    }

    private async Task<string> StartMapperAsync(CancellationToken cancellationToken)
    {
        var node = Nodes[0];
        if (HasMapperPod)
        {
            await ApplyAsync(Examples.MapperPod(node.DmiDirectory), cancellationToken);
            await WaitForAsync("pod modbus-mapper gets Ready", token => IsPodReadyAsync("default", "modbus-mapper", token), _options.ReadyDeadline, cancellationToken);
            return "as a pod";
        }

        var config = Path.Combine(_directory, "modbus-mapper.yaml");
        await File.WriteAllTextAsync(config, Examples.MapperConfig(node.DmiDirectory), cancellationToken);
        MapperProcess = StartChild("modbus-mapper", "modbus-mapper", "--config", config);
        return "as a process";
    }

    private Task<string> EdgectlAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
        => Tool.RunAsync(
            Executables.Find("edgectl"),
            arguments,
            ToolOptions,
            cancellationToken);

    private static IEnumerable<string> Sets(IEnumerable<string> settings) => settings.SelectMany(setting => (string[])["--set", setting]);

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
