using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Testing;

namespace Edge.Cloud.Tests.Certificates;

/// <summary>Join tokens with an id, from the store to the enrolment port.</summary>
[Trait("Category", "Sync")]
public sealed class TokenTests : IAsyncLifetime
{
    private static readonly CancellationToken s_none = CancellationToken.None;

    private Support.Cloud _cloud = null!;
    private AuthoritySet _authorities = null!;

    public async Task InitializeAsync()
    {
        _cloud = await Support.Cloud.StartAsync();
        _authorities = (await new CertificateStore(_cloud.Kube, TimeProvider.System).TryReadAuthoritiesAsync(s_none))!.Value.Authorities;
    }

    public async Task DisposeAsync()
    {
        _authorities.Dispose();
        await _cloud.DisposeAsync();
    }

    [Fact]
    public async Task Token_for_a_node_enrols_that_node_and_no_other()
    {
        var (token, _) = await CreateAsync("edge-1");
        Assert.Equal((200, ""), await AskAsync("edge-1", token));
        var (code, text) = await AskAsync("edge-2", token);
        Assert.Equal(403, code);
        Assert.Contains("the token is for node 'edge-1', this is node 'edge-2'", text, StringComparison.Ordinal);
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task Revoked_token_is_refused_with_401_at_once()
    {
        var (token, record) = await CreateAsync("");
        Assert.Equal(200, (await AskAsync("edge-1", token)).Code);
        Assert.True(await Store().RevokeAsync(record.Id, s_none));
        var (code, text) = await AskAsync("edge-1", token);
        Assert.Equal(401, code);
        Assert.Contains($"the token {record.Id} was revoked", text, StringComparison.Ordinal);
        Assert.False(await Store().RevokeAsync(record.Id, s_none));
    }

    [Theory]
    [InlineData("../casecret")]
    [InlineData("")]
    [InlineData("casecret")]
    public async Task Id_that_is_none_revokes_nothing(string id)
    {
        Assert.False(await Store().RevokeAsync(id, s_none));
        Assert.NotNull(await _cloud.Kube.TryGetAsync(ResourceKind.Secret, "kubeedge", "casecret", s_none));
    }

    [Fact]
    public async Task Signed_token_whose_id_names_another_Secret_is_refused()
    {
        var token = JoinToken.Create(_authorities.Active.CertificateDer, _authorities.Active.KeyDer, new TokenClaims(DateTimeOffset.UtcNow.AddHours(1), "../casecret"));
        Assert.Equal(401, (await AskAsync("edge-1", token)).Code);
    }

    [Fact]
    public async Task Expired_token_is_refused_and_its_Secret_removed_by_who_lists()
    {
        var past = new ManualTimeProvider(DateTimeOffset.UtcNow.AddHours(-2));
        var (token, record) = await new TokenStore(_cloud.Kube, past).CreateAsync(_authorities, "", TimeSpan.FromHours(1), "old", s_none);
        var (_, live) = await CreateAsync("edge-1");
        var (code, text) = await AskAsync("edge-1", token);
        Assert.Equal(401, code);
        Assert.Contains("expired", text, StringComparison.Ordinal);
        Assert.Equal([live], await Store().ListAsync(s_none));
        Assert.Null(await _cloud.Kube.TryGetAsync(ResourceKind.Secret, "kubeedge", $"join-token-{record.Id}", s_none));
    }

    [Fact]
    public async Task Secret_of_a_token_does_not_hold_the_token()
    {
        var (token, record) = await CreateAsync("edge-1");
        var secret = await _cloud.Kube.GetAsync(ResourceKind.Secret, "kubeedge", $"join-token-{record.Id}", s_none);
        Assert.Equal("true", secret.Label(TokenStore.Label));
        var all = string.Join('\n', secret.Map("data").Select(pair => Encoding.UTF8.GetString(Convert.FromBase64String(pair.Value))));
        Assert.Equal($"{record.Id}\nedge-1\n{KubeObject.Time(record.Expires)}\nfor a test\n{record.Authority}", all);
        Assert.DoesNotContain(token.Split('.')[3], secret.ToJsonString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Secret_that_only_carries_the_label_is_left_alone()
    {
        var foreign = CertificateStore.SecretOf("theirs", new() { ["expires"] = "2020-01-01T00:00:00Z"u8.ToArray() });
        foreign["metadata"]!["labels"] = new JsonObject { [TokenStore.Label] = "true" };
        await _cloud.Kube.CreateAsync(ResourceKind.Secret, "kubeedge", foreign, s_none);
        Assert.Empty(await Store().ListAsync(s_none));
        Assert.NotNull(await _cloud.Kube.TryGetAsync(ResourceKind.Secret, "kubeedge", "theirs", s_none));
    }

    [Fact]
    public async Task Leader_removes_expired_tokens_when_it_starts()
    {
        var kube = new FakeKube();
        var past = new ManualTimeProvider(DateTimeOffset.UtcNow.AddHours(-2));
        var (_, record) = await new TokenStore(kube, past).CreateAsync(_authorities, "", TimeSpan.FromHours(1), "", s_none);
        var gone = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        kube.OnWrite = (verb, _, name) =>
        {
            if (verb == "delete" && name == $"join-token-{record.Id}")
                gone.TrySetResult();
        };
        await using var cloud = await Support.Cloud.StartAsync(kube);
        await gone.Task.WaitAsync(TimeSpan.FromSeconds(20));
    }

    [Fact]
    public async Task Bundle_is_served_in_PEM_with_the_active_CA_first()
    {
        using var http = FakeEdge.Http();
        var pem = await http.GetStringAsync($"https://127.0.0.1:{_cloud.Host.HttpsPort}/ca-bundle.crt");
        Assert.Equal(_authorities.Active.Certificate.ExportCertificatePem() + "\n", pem);
    }

    [Fact]
    public async Task Running_cloudcore_issues_from_the_new_CA_after_a_rollover_and_says_what_an_old_token_is()
    {
        var (token, _) = await CreateAsync("");
        var old = await _cloud.TokenAsync();
        using var certificate = await _cloud.EnrolAsync("edge-1");
        var store = new CertificateStore(_cloud.Kube, TimeProvider.System);
        using var now = await store.RollOverAsync(s_none);
        // The watch brings it; the leader then writes the new token.
        using var http = FakeEdge.Http();
        var limit = DateTime.UtcNow.AddSeconds(20);
        while (await _cloud.TokenAsync() == old)
        {
            Assert.True(DateTime.UtcNow < limit, "the token was not renewed after the rollover");
            await Task.Delay(20);
        }

        Assert.Equal(now.Active.CertificateDer, await http.GetByteArrayAsync($"https://127.0.0.1:{_cloud.Host.HttpsPort}/ca.crt"));
        Assert.Equal(now.Bundle, await http.GetByteArrayAsync($"https://127.0.0.1:{_cloud.Host.HttpsPort}/ca-bundle.crt"));
        var (code, text) = await AskAsync("edge-1", token);
        Assert.Equal(401, code);
        Assert.Contains("before the rollover", text, StringComparison.Ordinal);
        // The certificate of the former CA still renews, to one of the new CA.
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var answer = await FakeEdge.AskCertificateAsync(_cloud.Host.HttpsPort, "edge-1", FakeEdge.Request("edge-1", key), null, certificate);
        using var fresh = System.Security.Cryptography.X509Certificates.X509CertificateLoader.LoadCertificate(await answer.Content.ReadAsByteArrayAsync());
        using var issuer = new TrustedAuthority(now.Active.Certificate);
        Assert.True(issuer.Issued(fresh));
        // And both reach the hub.
        await using var byOld = await FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-1", certificate);
        using var withKey = System.Security.Cryptography.X509Certificates.ECDsaCertificateExtensions.CopyWithPrivateKey(fresh, key);
        await using var byNew = await FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-1", withKey);
    }

    private TokenStore Store() => new(_cloud.Kube, TimeProvider.System);

    private Task<(string Token, TokenRecord Record)> CreateAsync(string node) => Store().CreateAsync(_authorities, node, TimeSpan.FromHours(1), "for a test", s_none);

    private async Task<(int Code, string Text)> AskAsync(string node, string token)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var answer = await FakeEdge.AskCertificateAsync(_cloud.Host.HttpsPort, node, FakeEdge.Request(node, key), token.Split('.', 2)[1]);
        return ((int)answer.StatusCode, answer.IsSuccessStatusCode ? "" : await answer.Content.ReadAsStringAsync());
    }
}
