using System.Security.Cryptography.X509Certificates;
using Edge.Testing;
using Microsoft.AspNetCore.Http;

namespace Edge.Kubernetes.Tests;

/// <summary>Certificates and tokens that are replaced in their files while a client runs.</summary>
[Trait("Category", "Kubernetes")]
public sealed class ClientFilesTests : IDisposable
{
    private static readonly CancellationToken s_none = CancellationToken.None;

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("edge-client-files-");
    private readonly ManualTimeProvider _time = new(DateTimeOffset.UnixEpoch);

    public void Dispose() => _directory.Delete(recursive: true);

    [Fact]
    public async Task A_client_certificate_replaced_in_its_files_is_shown_within_a_minute_and_a_watch_open_since_before_goes_on()
    {
        var second = new TaskCompletionSource();
        await using var peer = await KubernetesPeer.StartAsync(
            async context =>
            {
                if (!context.Request.Query.ContainsKey("watch"))
                {
                    await context.Response.WriteAsync($$$"""{"metadata":{"name":"{{{context.Connection.ClientCertificate?.Subject}}}"}}""");
                    return;
                }

                await context.Response.WriteAsync("""{"type":"ADDED","object":{"metadata":{"name":"a"}}}""" + "\n");
                await context.Response.Body.FlushAsync();
                await second.Task.WaitAsync(context.RequestAborted);
                await context.Response.WriteAsync("""{"type":"ADDED","object":{"metadata":{"name":"b"}}}""" + "\n");
            },
            asksCertificate: true);
        using var client = new KubeClient(Load(peer, Write("one")), _time);
        await using var events = client.WatchAsync(ResourceKind.Node, null, "0", new ListOptions(), s_none).GetAsyncEnumerator();
        Assert.True(await events.MoveNextAsync());
        Assert.Equal("CN=one", await WhoAsync(client));
        Write("two");
        Assert.Equal("CN=one", await WhoAsync(client));
        _time.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal("CN=two", await WhoAsync(client));
        second.SetResult();
        Assert.True(await events.MoveNextAsync().AsTask().WaitAsync(Wait.Net));
        Assert.Equal("b", events.Current.Object.Name());
        Assert.False(await events.MoveNextAsync().AsTask().WaitAsync(Wait.Net));
    }

    [Fact]
    public async Task What_the_API_refuses_is_read_again_at_once_and_the_request_sent_again_where_it_changed()
    {
        var requests = 0;
        await using var peer = await KubernetesPeer.StartAsync(
            context =>
            {
                Interlocked.Increment(ref requests);
                context.Response.StatusCode = context.Connection.ClientCertificate?.Subject == "CN=two" || context.Request.Headers.Authorization == "Bearer two" ? 200 : 401;
                return context.Response.WriteAsync("{}");
            },
            asksCertificate: true);
        using var client = new KubeClient(Load(peer, Write("one")), _time);
        Assert.Equal(401, (await Assert.ThrowsAsync<KubeException>(() => WhoAsync(client))).Code);
        Assert.Equal(1, requests);
        await WhoAfterAsync(client, () => Write("two"));
        Assert.Equal(3, requests); // as one once more, then as two

        var token = Path.Combine(_directory.FullName, "token");
        await File.WriteAllTextAsync(token, "two\n");
        using var other = new KubeClient(peer.Options with { TokenFile = token }, _time);
        await WhoAsync(other);
        requests = 0;
        await File.WriteAllTextAsync(token, "three");
        _time.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal(401, (await Assert.ThrowsAsync<KubeException>(() => WhoAsync(other))).Code);
        await WhoAfterAsync(other, () => File.WriteAllText(token, "two"));
    }

    [Fact]
    public async Task A_CA_replaced_in_its_file_is_trusted_within_a_minute()
    {
        await using var peer = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync("{}"));
        using var former = KubernetesPeer.SelfSigned("localhost");
        var options = Load(peer, Write("one"));
        await File.WriteAllTextAsync(options.CertificateAuthorityFile!, former.ExportCertificatePem());
        using var client = new KubeClient(options, _time);
        Assert.Equal(0, (await Assert.ThrowsAsync<KubeException>(() => WhoAsync(client))).Code);
        await File.WriteAllTextAsync(options.CertificateAuthorityFile!, peer.CaPem);
        _time.Advance(TimeSpan.FromSeconds(61));
        await WhoAsync(client);
    }

    [Fact]
    public async Task Files_halfway_through_their_replacement_leave_the_former_in_force_and_a_refusal_says_so()
    {
        var isRefused = false;
        await using var peer = await KubernetesPeer.StartAsync(
            context =>
            {
                context.Response.StatusCode = isRefused ? 401 : 200;
                return context.Response.WriteAsync($$$"""{"metadata":{"name":"{{{context.Connection.ClientCertificate?.Subject}}}"}}""");
            },
            asksCertificate: true);
        var options = Load(peer, Write("one"));
        using var client = new KubeClient(options, _time);
        Assert.Equal("CN=one", await WhoAsync(client));
        var key = await File.ReadAllTextAsync(options.ClientKeyFile!);
        Write("two");
        var newer = await File.ReadAllTextAsync(options.ClientKeyFile!);
        await File.WriteAllTextAsync(options.ClientKeyFile!, key);
        _time.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal("CN=one", await WhoAsync(client));
        isRefused = true;
        var error = await Assert.ThrowsAsync<KubeException>(() => WhoAsync(client));
        Assert.Contains("the certificates of the kubeconfig cannot be read again, the former are in use", error.Message, StringComparison.Ordinal);
        isRefused = false;
        await File.WriteAllTextAsync(options.ClientKeyFile!, newer);
        await File.WriteAllTextAsync(options.CertificateAuthorityFile!, "");
        Assert.Equal("CN=one", await WhoAsync(client));
        await File.WriteAllTextAsync(options.CertificateAuthorityFile!, peer.CaPem);
        _time.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal("CN=two", await WhoAsync(client));
    }

    private static async Task WhoAfterAsync(KubeClient client, Action replace)
    {
        replace();
        await WhoAsync(client);
    }

    private static async Task<string> WhoAsync(KubeClient client) => (await client.GetAsync(ResourceKind.Node, null, "n", s_none)).Name();

    // The kubeconfig's directory with client.pem and client.key of this name.
    private string Write(string name)
    {
        using var certificate = KubernetesPeer.SelfSigned(name);
        File.WriteAllText(Path.Combine(_directory.FullName, "client.pem"), certificate.ExportCertificatePem());
        File.WriteAllText(Path.Combine(_directory.FullName, "client.key"), certificate.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
        return Path.Combine(_directory.FullName, "config");
    }

    private static KubeClientOptions Load(KubernetesPeer peer, string path)
    {
        File.WriteAllText(Path.Combine(Path.GetDirectoryName(path)!, "ca.pem"), peer.CaPem);
        File.WriteAllText(path, $$$"""
            current-context: x
            contexts: [{name: x, context: {cluster: c, user: u}}]
            clusters: [{name: c, cluster: {server: "{{{peer.Address}}}", certificate-authority: ca.pem}}]
            users: [{name: u, user: {client-certificate: client.pem, client-key: client.key}}]
            """);
        return Kubeconfig.Load(path);
    }
}
