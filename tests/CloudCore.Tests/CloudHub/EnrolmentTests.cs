using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class EnrolmentTests : IAsyncLifetime
{
    private Support.Cloud _cloud = null!;

    public async Task InitializeAsync() => _cloud = await Support.Cloud.StartAsync();

    public async Task DisposeAsync() => await _cloud.DisposeAsync();

    [Fact]
    public async Task Ca_is_served_as_der_and_its_hash_begins_the_token()
    {
        using var http = FakeEdge.Http();
        var der = await http.GetByteArrayAsync($"https://127.0.0.1:{_cloud.Host.HttpsPort}/ca.crt");
        using var ca = X509CertificateLoader.LoadCertificate(der);
        Assert.Equal("CN=KubeEdge", ca.Subject);
        var token = await _cloud.TokenAsync();
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(der)), token.Split('.')[0]);
        Assert.Equal(4, token.Split('.').Length);
    }

    [Fact]
    public async Task Certificate_names_the_node_and_chains_to_the_ca()
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        Assert.Equal("edge-1", NodeName.Of(certificate));
        using var http = FakeEdge.Http();
        using var ca = X509CertificateLoader.LoadCertificate(await http.GetByteArrayAsync($"https://127.0.0.1:{_cloud.Host.HttpsPort}/ca.crt"));
        using var chain = new X509Chain { ChainPolicy = { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck } };
        chain.ChainPolicy.CustomTrustStore.Add(ca);
        Assert.True(chain.Build(certificate), string.Join(",", chain.ChainStatus.Select(status => status.StatusInformation)));
        Assert.InRange(certificate.NotAfter - DateTime.Now, TimeSpan.FromDays(364), TimeSpan.FromDays(366));
    }

    [Fact]
    public async Task Server_certificate_carries_the_advertised_address_and_localhost()
    {
        var secret = await _cloud.Kube.GetAsync(ResourceKind.Secret, "kubeedge", "cloudcoresecret", CancellationToken.None);
        using var server = X509CertificateLoader.LoadCertificate(Convert.FromBase64String(secret.Text("data", "cloudcoredata")));
        Assert.True(server.MatchesHostname("127.0.0.1"));
        Assert.True(server.MatchesHostname("localhost"));
        Assert.True(server.MatchesHostname(Dns.GetHostName()));
    }

    [Fact]
    public async Task Wrong_token_is_refused_with_401_and_a_reason()
    {
        var (code, text) = await AskAsync("edge-1", "edge-1", "abc.def.ghi");
        Assert.Equal(401, code);
        Assert.Contains("edgectl gettoken", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task No_token_is_refused_with_401()
        => Assert.Equal(401, (await AskAsync("edge-1", "edge-1", null)).Code);

    [Fact]
    public async Task Expired_token_is_refused_with_401_that_says_so()
    {
        var secret = await _cloud.Kube.GetAsync(ResourceKind.Secret, "kubeedge", "casecret", CancellationToken.None);
        var token = JoinToken.Create(
            Convert.FromBase64String(secret.Text("data", "cadata")), Convert.FromBase64String(secret.Text("data", "cakeydata")), DateTimeOffset.UtcNow.AddMinutes(-1));
        var (code, text) = await AskAsync("edge-1", "edge-1", token.Split('.', 2)[1]);
        Assert.Equal(401, code);
        Assert.Contains("expired", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Request_that_names_another_node_is_refused_with_403()
    {
        var (code, text) = await AskAsync("edge-1", "edge-2", await JwtAsync());
        Assert.Equal(403, code);
        Assert.Contains("system:node:edge-1", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Request_of_another_organization_is_refused_with_403()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var answer = await FakeEdge.AskCertificateAsync(_cloud.Host.HttpsPort, "edge-1", FakeEdge.Request("", key, "O=system:masters, CN=system:node:edge-1"), await JwtAsync());
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);
    }

    [Fact]
    public async Task Garbage_request_is_refused_with_400()
    {
        using var answer = await FakeEdge.AskCertificateAsync(_cloud.Host.HttpsPort, "edge-1", [1, 2, 3], await JwtAsync());
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
    }

    [Fact]
    public async Task Request_over_a_mebibyte_is_refused()
    {
        using var answer = await FakeEdge.AskCertificateAsync(_cloud.Host.HttpsPort, "edge-1", new byte[Enrolment.BodyMax + 1], await JwtAsync());
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, answer.StatusCode);
    }

    [Fact]
    public async Task Node_renews_with_its_own_certificate_and_without_a_token()
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var answer = await FakeEdge.AskCertificateAsync(_cloud.Host.HttpsPort, "edge-1", FakeEdge.Request("edge-1", key), null, certificate);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
    }

    [Fact]
    public async Task Certificate_of_one_node_does_not_renew_another()
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var answer = await FakeEdge.AskCertificateAsync(_cloud.Host.HttpsPort, "edge-2", FakeEdge.Request("edge-2", key), null, certificate);
        Assert.Equal(HttpStatusCode.Unauthorized, answer.StatusCode);
    }

    [Fact]
    public async Task Node_check_tells_whether_a_node_exists()
    {
        await _cloud.CreateAsync(ResourceKind.Node, Support.Cloud.NodeOf("here"));
        using var http = FakeEdge.Http();
        Assert.Equal(HttpStatusCode.OK, (await http.GetAsync($"https://127.0.0.1:{_cloud.Host.HttpsPort}/node/here")).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync($"https://127.0.0.1:{_cloud.Host.HttpsPort}/node/there")).StatusCode);
    }

    [Fact]
    public async Task Restarted_cloudcore_keeps_ca_and_token()
    {
        var token = await _cloud.TokenAsync();
        using var certificate = await _cloud.EnrolAsync("edge-1");
        await using var second = await Support.Cloud.StartAsync(_cloud.Kube);
        Assert.Equal(token, await second.TokenAsync());
        await using var edge = await FakeEdge.ConnectAsync(second.Host.WebSocketPort, "edge-1", certificate);
    }

    [Fact]
    public async Task Cloudcores_that_start_at_once_share_one_ca()
    {
        var kube = new FakeKube();
        var hosts = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => Support.Cloud.StartAsync(kube))));
        try
        {
            using var http = FakeEdge.Http();
            var authorities = new HashSet<string>();
            foreach (var host in hosts)
                authorities.Add(Convert.ToHexString(await http.GetByteArrayAsync($"https://127.0.0.1:{host.Host.HttpsPort}/ca.crt")));
            Assert.Single(authorities);
        }
        finally
        {
            foreach (var host in hosts)
                await host.DisposeAsync();
        }
    }

    [Theory]
    [InlineData("edge-1", true)]
    [InlineData("edge.one", true)]
    [InlineData("", false)]
    [InlineData("Edge", false)]
    [InlineData("a/b", false)]
    [InlineData("-a", false)]
    [InlineData("a..b", false)]
    public void Node_names_are_dns_subdomains(string name, bool isValid) => Assert.Equal(isValid, NodeName.IsValid(name));

    private async Task<string> JwtAsync() => (await _cloud.TokenAsync()).Split('.', 2)[1];

    private async Task<(int Code, string Text)> AskAsync(string node, string subject, string? token)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var answer = await FakeEdge.AskCertificateAsync(_cloud.Host.HttpsPort, node, FakeEdge.Request(subject, key), token);
        return ((int)answer.StatusCode, await answer.Content.ReadAsStringAsync());
    }
}
