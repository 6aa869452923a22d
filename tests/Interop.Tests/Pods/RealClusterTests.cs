using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Edge.ApiServer;
using Edge.ApiServer.Controllers;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Interop.Tests.Pods;

/// <summary>CloudCore beside an API server that is not its own: that server reaches pods at the edge as it reaches a kubelet, by TLS to port 10003 with its client certificate, and the stock
/// kubectl works through it.</summary>
[Trait("Category", "Kubernetes")]
[Collection(nameof(EdgeCollection))]
public sealed class RealClusterTests
{
    [SkippableFact]
    public async Task Kubectl_of_another_api_server_reaches_pods_at_the_edge_by_the_kubelets_port()
    {
        Requires.Containerd();
        Requires.Kubectl();
        using var directory = new TempDirectory();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=kubernetes", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        var now = TimeProvider.System.GetUtcNow();
        using var authority = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
        using var clientKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var bare = new CertificateRequest("CN=kube-apiserver-kubelet-client", clientKey, HashAlgorithmName.SHA256).Create(authority, now.AddHours(-1), now.AddHours(12), [1, 2, 3]);
        using var client = bare.CopyWithPrivateKey(clientKey);
        await File.WriteAllTextAsync(directory.File("ca.pem"), authority.ExportCertificatePem());

        var port = 0;
        await using var api = await EmbeddedApiServer.StartAsync(
            new ApiServerOptions { DataDirectory = directory.File("api"), Port = 0, DialNode = (_, token) => DialKubeletAsync(Volatile.Read(ref port), client, token) },
            TimeProvider.System, NullLoggerFactory.Instance, CancellationToken.None);
        using var kube = KubeClient.FromKubeconfig(api.KubeconfigPath, TimeProvider.System);
        await using var controllers = EmbeddedControllers.Start(kube, TimeProvider.System, new Random(1), NullLoggerFactory.Instance, kube.Options.CertificateAuthorityPem);
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions
        {
            Pods = true,
            CloudCoreSettings =
            [
                $"kubeAPIConfig.kubeConfig={api.KubeconfigPath}", "modules.cloudStream.enable=true", "modules.cloudStream.streamPort=0", "modules.cloudStream.tunnelPort=0", $"modules.cloudStream.tlsStreamCAFile={directory.File("ca.pem")}",
            ],
        });
        Assert.Equal(api.KubeconfigPath, edge.Local.Kubeconfig);
        var ports = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(edge.Local.Directory, "cloud/cloudcore.ports.json")));
        Volatile.Write(ref port, (int)ports.Number(0, "stream"));
        Assert.Equal((0, port), ((int)ports.Number(-1, "api"), (int)(await edge.Client.GetAsync(ResourceKind.Node, null, "edge-1", CancellationToken.None)).Number(0, "status", "daemonEndpoints", "kubeletEndpoint", "Port")));

        await KubectlReachesAsync(edge, directory);
    }

    /// <summary>Over the cluster of EDGE_TEST_KUBECONFIG, whose API server must run on this machine: it is given 127.0.0.1 as the address of the nodes' kubelets, and CloudCore finds the CA
    /// of its client certificate in the cluster.</summary>
    [SkippableFact]
    public async Task Kubectl_of_the_given_cluster_reaches_pods_at_the_edge_by_the_kubelets_port()
    {
        Skip.If(TestCluster.Given is null, "EDGE_TEST_KUBECONFIG names no cluster; tests/conformance/kube-apiserver.sh starts one");
        Requires.Containerd();
        Requires.Kubectl();
        using var directory = new TempDirectory();
        await using var cluster = await TestCluster.EnterAsync(TestCluster.Given!);
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions
        {
            Pods = true,
            CloudCoreSettings =
            [
                $"kubeAPIConfig.kubeConfig={cluster.Kubeconfig}", "modules.cloudStream.enable=true", "modules.cloudStream.streamPort=0", "modules.cloudStream.tunnelPort=0", "modules.cloudStream.nodeAddress=127.0.0.1",
            ],
        });
        await KubectlReachesAsync(edge, directory);
        await edge.KubectlAsync("delete pod talk --force --grace-period=0");
    }

    private static async Task KubectlReachesAsync(TestEdge edge, TempDirectory directory)
    {
        await edge.ApplyAsync(PodSteps.Manifest("talk", $$"""{"name":"c","image":"{{LocalEdge.BusyboxImage}}","command":["sh","-c","echo one; echo two; trap 'exit 0' TERM; sleep 100000 & wait"]}"""));
        await edge.PodWhenAsync("talk", "runs", PodSteps.IsReady);
        Assert.Equal("one\ntwo\n", await edge.KubectlAsync("logs talk"));
        Assert.Equal("hello\n", await edge.KubectlAsync(["exec", "talk", "--", "echo", "hello"]));
        var failed = await edge.Local.Kubectl.TryRunAsync(["exec", "talk", "--", "sh", "-c", "echo wrong >&2; exit 7"], CancellationToken.None);
        Assert.Equal(7, failed.ExitCode);
        Assert.Equal("FROM STDIN", (await edge.KubectlAsync(["exec", "-i", "talk", "--", "tr", "a-z", "A-Z"], "from stdin")).TrimEnd());
        var big = new byte[500_000];
        new Random(2).NextBytes(big);
        await File.WriteAllBytesAsync(directory.File("there"), big);
        await edge.KubectlAsync(["cp", directory.File("there"), "talk:/tmp/file"]);
        await edge.KubectlAsync(["cp", "talk:/tmp/file", directory.File("back")]);
        Assert.Equal(big, await File.ReadAllBytesAsync(directory.File("back")));
    }

    // As kube-apiserver dials a kubelet; the answer's certificate is not checked, as without --kubelet-certificate-authority.
    private static async ValueTask<Stream> DialKubeletAsync(int port, X509Certificate2 client, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync("127.0.0.1", port, cancellationToken);
        var tls = new SslStream(new NetworkStream(socket, ownsSocket: true));
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions
            {
                TargetHost = "edge-1",
                ClientCertificateContext = SslStreamCertificateContext.Create(client, null, offline: true),
                RemoteCertificateValidationCallback = (_, server, _, _) => server?.Issuer == "CN=KubeEdge",
            },
            cancellationToken);
        return tls;
    }
}
