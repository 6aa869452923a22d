using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Benchmarks.Hub;

/// <summary>The API's process, the CloudCore measured, the fleet, and a client of the API.</summary>
internal sealed class House : IAsyncDisposable
{
    private static readonly string[] s_hub =
    [
        "modules.cloudHub.websocket.address=127.0.0.1", "modules.cloudHub.https.address=127.0.0.1", "modules.cloudHub.https.port=0",
        "commonConfig.monitorServer.bindAddress=127.0.0.1:0", "modules.cloudHub.advertiseAddress=[\"127.0.0.1\"]",
    ];

    private readonly string _directory = Directory.CreateTempSubdirectory("edge-bench-hub-").FullName;
    private CloudProcess? _api;
    private CloudProcess? _cloud;
    private FleetProcess? _fleet;
    private CloudProcess? _another;
    private HubBenchOptions? _options;
    private KubeClient? _kube;

    public CloudProcess Cloud => _cloud!;

    public FleetProcess Fleet => _fleet!;

    public KubeClient Kube => _kube!;

    /// <summary>Processor seconds so far of the CloudCore measured, of the API's process and of the fleet.</summary>
    public (double Cloud, double Api, double Fleet) CpuSeconds() => (_cloud!.CpuSeconds(), _api!.CpuSeconds(), _fleet!.CpuSeconds());

    public static async Task<House> StartAsync(HubBenchOptions options, int nodes, CancellationToken cancellationToken)
    {
        var house = new House();
        try
        {
            await house.StartPartsAsync(options, nodes, cancellationToken);
            return house;
        }
        catch
        {
            await house.DisposeAsync();
            throw;
        }
    }

    /// <summary>A further CloudCore over the same API, which no node is told of.</summary>
    public async Task<CloudProcess> StartAnotherAsync(CancellationToken cancellationToken)
        => _another = await CloudProcess.StartAsync(_options!.CloudCore, Path.Combine(_directory, "another"), [.. s_hub, $"kubeAPIConfig.kubeConfig={_api!.Kubeconfig}"], cancellationToken);

    public async ValueTask DisposeAsync()
    {
        if (_another is not null)
            await _another.DisposeAsync();
        if (_fleet is not null)
            await _fleet.DisposeAsync();
        _kube?.Dispose();
        if (_cloud is not null)
            await _cloud.DisposeAsync();
        if (_api is not null)
            await _api.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    private async Task StartPartsAsync(HubBenchOptions options, int nodes, CancellationToken cancellationToken)
    {
        _options = options;
        _api = await CloudProcess.StartAsync(options.CloudCore, Path.Combine(_directory, "api"), ["modules.apiServer.port=0", .. s_hub], cancellationToken);
        _cloud = await CloudProcess.StartAsync(
            options.CloudCore, Path.Combine(_directory, "cloud"),
            [.. s_hub, $"kubeAPIConfig.kubeConfig={_api.Kubeconfig}", $"modules.cloudHub.nodeLimit={(nodes * 2) + 10}"], cancellationToken);
        _kube = new KubeClient(Kubeconfig.Load(_api.Kubeconfig), TimeProvider.System, new Random(1));
        var secret = await _kube.GetAsync(ResourceKind.Secret, "kubeedge", "casecret", cancellationToken);
        var fleet = Path.Combine(_directory, "fleet");
        Directory.CreateDirectory(fleet);
        using var ca = X509CertificateLoader.LoadCertificate(Convert.FromBase64String(secret.Text("data", "cadata")));
        using var key = ECDsa.Create();
        key.ImportECPrivateKey(Convert.FromBase64String(secret.Text("data", "cakeydata")), out _);
        await File.WriteAllTextAsync(Path.Combine(fleet, "ca.crt"), ca.ExportCertificatePem(), cancellationToken);
        await File.WriteAllTextAsync(Path.Combine(fleet, "ca.key"), key.ExportECPrivateKeyPem(), cancellationToken);
        _fleet = FleetProcess.Start(options.Fleet, nodes, _cloud, fleet);
    }
}
