using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.ApiServer;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Testing;
using Microsoft.Extensions.Logging;
using Xunit.Abstractions;

namespace Edge.Cloud.Tests.Certificates;

/// <summary>CAs and serving certificates: made once, rolled over with both trusted.</summary>
[Trait("Category", "Sync")]
public sealed class AuthorityTests : IAsyncLifetime, IDisposable
{
    private static readonly CancellationToken s_none = CancellationToken.None;
    private static readonly string[] s_hosts = ["127.0.0.1", "localhost"];

    private readonly ITestOutputHelper _output;
    private readonly FakeKube _kube = new();
    private readonly LogLines _log = new();
    private readonly LoggerFactory _loggers;
    private CertificateStore _store = null!;
    private HubCertificates _certificates = null!;

    public AuthorityTests(ITestOutputHelper output)
    {
        _output = output;
        _loggers = new LoggerFactory([_log]);
    }

    public async Task InitializeAsync()
    {
        _store = new CertificateStore(_kube, TimeProvider.System);
        _certificates = await StartAsync(s_hosts);
    }

    public async Task DisposeAsync() => await _certificates.DisposeAsync();

    public void Dispose() => _loggers.Dispose();

    [Fact]
    public async Task Many_that_start_at_once_beside_the_embedded_API_share_one_CA_and_one_serving_certificate()
    {
        using var directory = new TempDirectory();
        await using var api = await EmbeddedApiServer.StartAsync(
            new ApiServerOptions { DataDirectory = directory.Path, Port = 0 }, TimeProvider.System, _loggers, s_none);
        const int Count = 24;
        var clients = Enumerable.Range(0, Count).Select(_ => KubeClient.FromKubeconfig(api.KubeconfigPath, TimeProvider.System)).ToList();
        var go = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        // A third advertises another address each: its names are not in the shared certificate.
        var loading = clients.Select(async (kube, i) =>
        {
            await go.Task;
            string[] hosts = i % 3 == 0 ? [.. s_hosts, $"10.0.0.{i + 1}"] : s_hosts;
            return await HubCertificates.StartAsync(new CertificateStore(kube, TimeProvider.System), "", "", hosts, TimeProvider.System, new Random(i), _loggers.CreateLogger("x"), s_none);
        }).ToList();
        go.SetResult();
        var all = await Task.WhenAll(loading);
        try
        {
            Assert.Single(all.Select(one => one.Authorities.Stamp).Distinct());
            var stored = await clients[0].GetAsync(ResourceKind.Secret, "kubeedge", "cloudcoresecret", s_none);
            var shared = X509CertificateLoader.LoadCertificate(Convert.FromBase64String(stored.Text("data", "cloudcoredata")));
            Assert.Equal(1, stored.Number(1, "metadata", "generation"));
            for (var i = 0; i < Count; i++)
            {
                var own = all[i].ServerContext.TargetCertificate;
                Assert.True(own.HasPrivateKey && own.MatchesHostname("127.0.0.1"));
                if (i % 3 == 0)
                    Assert.True(own.MatchesHostname($"10.0.0.{i + 1}"));
                else
                    Assert.Equal(shared.Thumbprint, own.Thumbprint);
            }

            // Nobody overwrites it for the sake of its own names, however often they look.
            var before = stored.ResourceVersion();
            foreach (var (kube, i) in clients.Select((kube, i) => (kube, i)))
                (await new CertificateStore(kube, TimeProvider.System).LoadServerAsync(all[i].Authorities, [$"10.0.0.{i + 1}"], s_none)).Dispose();
            Assert.Equal(before, (await clients[0].GetAsync(ResourceKind.Secret, "kubeedge", "cloudcoresecret", s_none)).ResourceVersion());
        }
        finally
        {
            foreach (var one in all)
                await one.DisposeAsync();
            foreach (var client in clients)
                client.Dispose();
        }
    }

    [Fact]
    public async Task Unusable_serving_certificate_is_replaced_once_and_keeps_its_names()
    {
        using var foreign = CertificateAuthority.Create(TimeProvider.System);
        var (der, key) = foreign.IssueServer(["other.example", "127.0.0.1"]);
        var secret = await _kube.GetAsync(ResourceKind.Secret, "kubeedge", "cloudcoresecret", s_none);
        secret["data"]!["cloudcoredata"] = Convert.ToBase64String(der);
        secret["data"]!["cloudcorekeydata"] = Convert.ToBase64String(key);
        await _kube.UpdateAsync(ResourceKind.Secret, "kubeedge", secret, null, s_none);
        using var first = await _store.LoadServerAsync(_certificates.Authorities, s_hosts, s_none);
        Assert.True(first.MatchesHostname("other.example") && first.MatchesHostname("localhost"));
        using var second = await _store.LoadServerAsync(_certificates.Authorities, ["other.example"], s_none);
        Assert.Equal(first.Thumbprint, second.Thumbprint);
    }

    // KubeEdge's cloudcore makes its CA valid from that moment on, and not an hour before: ours may be started in its place at once.
    [Fact]
    public void No_certificate_begins_before_its_CA()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=KubeEdge", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var made = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddSeconds(-5), DateTimeOffset.UtcNow.AddYears(100));
        using var authority = CertificateAuthority.Load(made.RawData, key.ExportECPrivateKey(), TimeProvider.System);
        using var server = X509CertificateLoader.LoadCertificate(authority.IssueServer(s_hosts).CertificateDer);
        using var client = authority.IssueClient("O=system:nodes, CN=system:node:edge-1", TimeSpan.FromDays(1));
        Assert.Equal((made.NotBefore, made.NotBefore), (server.NotBefore, client.NotBefore));
    }

    [Fact]
    public async Task Rollover_is_taken_up_by_a_running_cloudcore_and_both_CAs_nodes_are_accepted()
    {
        var former = _certificates.Authorities;
        using var old = Node(former.Active, "edge-1");
        await RollOverAsync();
        using var fresh = Node(_certificates.Authorities.Active, "edge-1");
        Assert.NotEqual(former.Active.Certificate.Thumbprint, _certificates.Authorities.Active.Certificate.Thumbprint);
        Assert.Null(_certificates.Refuse(fresh));
        Assert.Equal(0, _certificates.AcceptedByFormer);
        Assert.Null(_certificates.Refuse(old));
        Assert.Equal(1, _certificates.AcceptedByFormer);

        var changed = _certificates.Changed;
        (await _store.DropFormerAsync(s_none)).Dispose();
        _certificates.Poke();
        await changed.WaitAsync(TimeSpan.FromSeconds(20));
        Assert.Equal("it was not issued by a CA of this cloud", _certificates.Refuse(old));
        Assert.Null(_certificates.Refuse(fresh));
    }

    [Fact]
    public async Task Listener_that_runs_presents_the_new_chain_to_the_next_connection()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var former = X509CertificateLoader.LoadCertificate(_certificates.Authorities.Active.CertificateDer);
        Assert.Equal((true, former.Thumbprint), await DialAsync(listener, former));
        await RollOverAsync();
        var active = X509CertificateLoader.LoadCertificate(_certificates.Authorities.Active.CertificateDer);
        // Who knows only the former CA comes to it by the cross-signed certificate, and who knows the new one needs no more.
        Assert.Equal((true, former.Thumbprint), await DialAsync(listener, former));
        Assert.Equal((true, active.Thumbprint), await DialAsync(listener, active));
        using var stranger = CertificateAuthority.Create(TimeProvider.System);
        Assert.False((await DialAsync(listener, stranger.Certificate)).IsTrusted);

        (await _store.DropFormerAsync(s_none)).Dispose();
        await _certificates.ReloadAsync(s_none);
        Assert.False((await DialAsync(listener, former)).IsTrusted);
        Assert.True((await DialAsync(listener, active)).IsTrusted);
    }

    [Fact]
    public async Task Second_rollover_waits_for_the_end_of_the_former_CA()
    {
        (await _store.RollOverAsync(s_none)).Dispose();
        var error = await Assert.ThrowsAsync<CloudCoreException>(() => _store.RollOverAsync(s_none));
        Assert.Contains("edgectl ca drop-old", error.Message, StringComparison.Ordinal);
        (await _store.DropFormerAsync(s_none)).Dispose();
        (await _store.RollOverAsync(s_none)).Dispose();
        (await _store.DropFormerAsync(s_none)).Dispose();
        Assert.Contains("no former CA", (await Assert.ThrowsAsync<CloudCoreException>(() => _store.DropFormerAsync(s_none))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Rollovers_at_the_same_moment_make_one_new_CA()
    {
        var racing = false;
        _kube.OnWrite = (verb, _, name) =>
        {
            if (verb != "update" || name != "casecret" || racing)
                return;
            racing = true;
            _store.RollOverAsync(s_none).GetAwaiter().GetResult().Dispose();
        };
        var error = await Assert.ThrowsAsync<CloudCoreException>(() => _store.RollOverAsync(s_none));
        Assert.Contains("at the same moment", error.Message, StringComparison.Ordinal);
        using var now = (await _store.TryReadAuthoritiesAsync(s_none))!.Value.Authorities;
        Assert.Single(now.Former);
    }

    [Fact]
    public async Task Deleted_or_broken_CA_Secret_leaves_a_running_cloudcore_with_the_one_it_has()
    {
        var stamp = _certificates.Authorities.Stamp;
        await _kube.DeleteAsync(ResourceKind.Secret, "kubeedge", "casecret", null, s_none);
        _certificates.Poke();
        Assert.Contains("is gone", await _log.UntilAsync("the CA could not be read"), StringComparison.Ordinal);
        Assert.Equal(stamp, _certificates.Authorities.Stamp);
    }

    [Fact]
    public async Task Token_of_the_former_CA_is_told_from_a_forged_one_and_from_another_clouds()
    {
        var former = _certificates.Authorities.Active;
        var token = JoinToken.Create(former.CertificateDer, former.KeyDer, DateTimeOffset.UtcNow.AddHours(1));
        Assert.NotNull(_certificates.Authorities.TryReadToken(token, out _));
        await RollOverAsync();
        Assert.Null(_certificates.Authorities.TryReadToken(token, out var error));
        Assert.Contains("before the rollover", error, StringComparison.Ordinal);
        using var other = CertificateAuthority.Create(TimeProvider.System);
        Assert.Null(_certificates.Authorities.TryReadToken(JoinToken.Create(other.CertificateDer, other.KeyDer, DateTimeOffset.UtcNow.AddHours(1)), out error));
        Assert.Contains("a CA that this cloudcore does not have", error, StringComparison.Ordinal);
        var active = _certificates.Authorities.Active;
        Assert.Null(_certificates.Authorities.TryReadToken(JoinToken.Create(active.CertificateDer, other.KeyDer, DateTimeOffset.UtcNow.AddHours(1)), out error));
        Assert.Contains("was not made by this cloudcore", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Token_Secret_is_written_anew_for_the_new_CA()
    {
        await _store.RefreshTokenAsync(_certificates.Authorities, TimeSpan.FromHours(24), s_none);
        await RollOverAsync();
        await _store.RefreshTokenAsync(_certificates.Authorities, TimeSpan.FromHours(24), s_none);
        var secret = await _kube.GetAsync(ResourceKind.Secret, "kubeedge", "tokensecret", s_none);
        var token = Encoding.UTF8.GetString(Convert.FromBase64String(secret.Text("data", "tokendata")));
        Assert.StartsWith(Convert.ToHexStringLower(SHA256.HashData(_certificates.Authorities.Active.CertificateDer)), token, StringComparison.Ordinal);
    }

    [Fact]
    public void Client_certificates_are_refused_with_the_reason()
    {
        var now = DateTimeOffset.UtcNow;
        var authorities = _certificates.Authorities;
        using var good = Node(authorities.Active, "edge-1");
        Assert.Null(authorities.Refuse(good, now, out _));
        Assert.StartsWith("it expired at", authorities.Refuse(good, now.AddDays(366), out _), StringComparison.Ordinal);
        Assert.StartsWith("it is valid only from", authorities.Refuse(good, now.AddDays(-1), out _), StringComparison.Ordinal);
        using var server = X509CertificateLoader.LoadCertificate(authorities.Active.IssueServer(s_hosts).CertificateDer);
        Assert.Contains("may not identify a client", authorities.Refuse(server, now, out _), StringComparison.Ordinal);
        using var other = CertificateAuthority.Create(TimeProvider.System);
        using var foreign = Node(other, "edge-1");
        Assert.Equal("it was not issued by a CA of this cloud", authorities.Refuse(foreign, now, out _));
    }

    // One bit anywhere in the signed part or the signature: the certificate no longer parses, or it is refused.
    [Fact]
    public void Every_changed_byte_of_a_certificate_is_noticed()
    {
        using var good = Node(_certificates.Authorities.Active, "edge-1");
        var der = good.RawData;
        var parsed = 0;
        for (var i = 0; i < der.Length; i++)
        {
            var changed = der.ToArray();
            changed[i] ^= 0x01;
            try
            {
                using var certificate = X509CertificateLoader.LoadCertificate(changed);
                parsed++;
                Assert.NotNull(_certificates.Refuse(certificate));
            }
            catch (CryptographicException)
            {
                // Not a certificate any more.
            }
        }

        Assert.True(parsed > der.Length / 2, $"{parsed} of {der.Length} parsed");
    }

    [Fact]
    public void Clients_are_judged_by_many_threads_at_once()
    {
        using var old = Node(_certificates.Authorities.Active, "edge-1");
        using var other = CertificateAuthority.Create(TimeProvider.System);
        using var foreign = Node(other, "edge-1");
        Parallel.For(0, 2_000, i => Assert.Equal(i % 2 == 0, _certificates.Refuse(i % 2 == 0 ? old : foreign) is null));
    }

    [Fact]
    public void Check_of_a_client_allocates_little()
    {
        const int Count = 500;
        using var old = Node(_certificates.Authorities.Active, "edge-1");
        // As from so many handshakes: nothing is decoded yet.
        var clients = Enumerable.Range(0, Count).Select(_ => X509CertificateLoader.LoadCertificate(old.RawData)).ToList();
        Assert.Null(_certificates.Refuse(old));
        var before = GC.GetAllocatedBytesForCurrentThread();
        var began = System.Diagnostics.Stopwatch.GetTimestamp();
        foreach (var client in clients)
            _certificates.Refuse(client);
        var took = System.Diagnostics.Stopwatch.GetElapsedTime(began);
        var each = (GC.GetAllocatedBytesForCurrentThread() - before) / Count;
        _output.WriteLine($"{took.TotalMicroseconds / Count:0} us and {each} bytes each");
        Assert.InRange(each, 0, 8 * 1024);
    }

    private Task<HubCertificates> StartAsync(string[] hosts)
        => HubCertificates.StartAsync(_store, "", "", hosts, TimeProvider.System, new Random(1), _loggers.CreateLogger("x"), s_none);

    private async Task RollOverAsync()
    {
        var changed = _certificates.Changed;
        (await _store.RollOverAsync(s_none)).Dispose();
        _certificates.Poke();
        await changed.WaitAsync(TimeSpan.FromSeconds(20));
    }

    private static X509Certificate2 Node(CertificateAuthority authority, string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return authority.IssueNode(new CertificateRequest($"O=system:nodes, CN=system:node:{name}", key, HashAlgorithmName.SHA256), TimeSpan.FromDays(365), alsoServer: false);
    }

    // A client as a stock edge is: one CA, and whatever chain the server sends. Says whether it trusts the server and by which root.
    private async Task<(bool IsTrusted, string Root)> DialAsync(TcpListener listener, X509Certificate2 known)
    {
        var (trusted, root) = (false, "");
        using var client = new TcpClient();
        var accepting = listener.AcceptTcpClientAsync();
        await client.ConnectAsync((IPEndPoint)listener.LocalEndpoint);
        using var accepted = await accepting;
        await using var server = new SslStream(accepted.GetStream());
        var serving = server.AuthenticateAsServerAsync(new SslServerAuthenticationOptions { ServerCertificateContext = _certificates.ServerContext });
        await using var stream = new SslStream(client.GetStream());
        try
        {
            await stream.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
            {
                TargetHost = "127.0.0.1",
                RemoteCertificateValidationCallback = (_, certificate, sent, errors) =>
                {
                    using var chain = new X509Chain();
                    chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
                    chain.ChainPolicy.CustomTrustStore.Add(known);
                    chain.ChainPolicy.ExtraStore.AddRange(sent!.ChainPolicy.ExtraStore);
                    chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
                    trusted = (errors & SslPolicyErrors.RemoteCertificateNameMismatch) == 0 && chain.Build(X509CertificateLoader.LoadCertificate(certificate!.GetRawCertData()));
                    root = trusted ? chain.ChainElements[^1].Certificate.Thumbprint : "";
                    return trusted;
                },
            });
            await serving;
        }
        catch (Exception e) when (e is AuthenticationException or IOException)
        {
            // The client said no.
        }

        return (trusted, root);
    }
}
