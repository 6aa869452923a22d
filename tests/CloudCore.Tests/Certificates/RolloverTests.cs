using System.Net;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.Tests.Support;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests.Certificates;

/// <summary>A rollover of the CA with two CloudCores on one API: both follow it by their watches, and nodes of both CAs go to either.</summary>
[Trait("Category", "Sync")]
public sealed class RolloverTests : IAsyncLifetime
{
    private static readonly CancellationToken s_none = CancellationToken.None;

    private readonly FakeKube _kube = new();
    private BlindKube _sight = null!;
    private Support.Cloud _first = null!;
    private CloudCoreHost _second = null!; // behind _sight

    public async Task InitializeAsync()
    {
        _first = await Support.Cloud.StartAsync(_kube);
        _sight = new BlindKube(_kube);
        _second = await CloudCoreHost.StartAsync(Support.Cloud.Options, _sight, TimeProvider.System, new Random(2), NullLoggerFactory.Instance, s_none);
    }

    public async Task DisposeAsync()
    {
        _sight.Sight.TrySetResult();
        await _second.DisposeAsync();
        await _first.DisposeAsync();
    }

    [Fact]
    public async Task Both_CloudCores_take_it_up_by_their_watches_and_nodes_of_both_CAs_connect_to_both()
    {
        _sight.Sight.SetResult();
        using var old = await _first.EnrolAsync("edge-1");
        await RollOverAsync();
        await UntilTakenUpAsync(_first.Host);
        await UntilTakenUpAsync(_second);
        using var renewed = await RenewAsync(_first.Host, old);
        using var other = await RenewAsync(_second, old);
        Assert.NotEqual(old.Issuer, renewed.Issuer);
        Assert.Equal(renewed.Issuer, other.Issuer);
        foreach (var port in (int[])[_first.Host.WebSocketPort, _second.WebSocketPort])
        {
            foreach (var certificate in (X509Certificate2[])[old, renewed, other])
                await (await FakeEdge.ConnectAsync(port, "edge-1", certificate)).DisposeAsync();
        }

        // The end of the former CA, too, reaches both.
        (await new CertificateStore(_kube, TimeProvider.System).DropFormerAsync(s_none)).Dispose();
        await UntilTrustedAsync(_first.Host, 1);
        await UntilTrustedAsync(_second, 1);
        foreach (var port in (int[])[_first.Host.WebSocketPort, _second.WebSocketPort])
        {
            Assert.Equal(403, (await RefusedAsync(port, old)).Code);
            await (await FakeEdge.ConnectAsync(port, "edge-1", renewed)).DisposeAsync();
        }
    }

    [Fact]
    public async Task A_node_renewed_at_one_is_taken_by_the_other_whose_watch_is_behind()
    {
        using var renewed = await RenewedAtTheFirstAsync();
        Assert.Equal(1, await TrustedAsync(_second));
        await using var edge = await FakeEdge.ConnectAsync(_second.WebSocketPort, "edge-1", renewed);
        Assert.Equal(2, await TrustedAsync(_second));
        using var again = await RenewAsync(_second, renewed);
        Assert.Equal(renewed.Issuer, again.Issuer);
    }

    [Fact]
    public async Task The_CAs_are_told_to_a_node_with_a_newer_one_only_with_that()
    {
        using var renewed = await RenewedAtTheFirstAsync();
        // It would take the CAs that it is told, and forget the newer one.
        Assert.Equal(2, await TrustedAsync(_second, renewed));
    }

    [Fact]
    public async Task A_node_of_an_unknown_CA_is_told_to_try_again_while_the_API_does_not_answer()
    {
        using var renewed = await RenewedAtTheFirstAsync();
        _sight.Answers = false;
        var (code, reason) = await RefusedAsync(_second.WebSocketPort, renewed);
        Assert.Equal((503, HubCertificates.NotKnown), (code, reason));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using (var answer = await FakeEdge.AskCertificateAsync(_second.HttpsPort, "edge-1", FakeEdge.Request("edge-1", key), token: null, renewed))
            Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
        _sight.Answers = true;
        await (await FakeEdge.ConnectAsync(_second.WebSocketPort, "edge-1", renewed)).DisposeAsync();
    }

    [Fact]
    public async Task Strangers_are_refused_and_share_their_reads_of_the_API()
    {
        _sight.Sight.SetResult();
        using var stranger = CertificateAuthority.Create(TimeProvider.System);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var bare = stranger.IssueNode(new CertificateRequest("O=system:nodes, CN=system:node:edge-1", key, HashAlgorithmName.SHA256), TimeSpan.FromDays(1), alsoServer: false);
        using var certificate = bare.CopyWithPrivateKey(key);
        var before = _sight.Reads;
        var refused = await Task.WhenAll(Enumerable.Range(0, 40).Select(_ => RefusedAsync(_second.WebSocketPort, certificate)));
        Assert.All(refused, one => Assert.Equal((403, $"the client certificate is not accepted: {AuthoritySet.UnknownIssuer}"), one));
        Assert.InRange(_sight.Reads - before, 1, 20); // one a second, and what CloudCore itself asks meanwhile
    }

    // Of the new CA, which the second has not seen.
    private async Task<X509Certificate2> RenewedAtTheFirstAsync()
    {
        using var old = await _first.EnrolAsync("edge-1");
        await RollOverAsync();
        await UntilTakenUpAsync(_first.Host);
        return await RenewAsync(_first.Host, old);
    }

    // As 'edgectl ca rollover' does it.
    private async Task RollOverAsync()
    {
        var store = new CertificateStore(_kube, TimeProvider.System);
        using var authorities = await store.RollOverAsync(s_none);
        await store.RefreshTokenAsync(authorities, TimeSpan.FromHours(24), s_none);
    }

    private static Task UntilTakenUpAsync(CloudCoreHost host) => UntilTrustedAsync(host, 2);

    private static async Task UntilTrustedAsync(CloudCoreHost host, int count)
        => await Eventually.HoldsAsync($"{count} CAs are trusted", async () => await TrustedAsync(host) == count);

    // How many CAs it names.
    private static async Task<int> TrustedAsync(CloudCoreHost host, X509Certificate2? certificate = null)
    {
        using var http = FakeEdge.Http(certificate);
        var authorities = new X509Certificate2Collection();
        authorities.ImportFromPem(await http.GetStringAsync($"https://127.0.0.1:{host.HttpsPort}/ca-bundle.crt"));
        return authorities.Count;
    }

    private static async Task<X509Certificate2> RenewAsync(CloudCoreHost host, X509Certificate2 present)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var answer = await FakeEdge.AskCertificateAsync(host.HttpsPort, "edge-1", FakeEdge.Request("edge-1", key), token: null, present);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
        using var bare = X509CertificateLoader.LoadCertificate(await answer.Content.ReadAsByteArrayAsync());
        return bare.CopyWithPrivateKey(key);
    }

    private static async Task<(int Code, string Reason)> RefusedAsync(int port, X509Certificate2 certificate)
    {
        var (code, reason) = (0, "");
        await Assert.ThrowsAsync<WebSocketException>(() => FakeEdge.ConnectAsync(port, "edge-1", certificate, refused: (status, why) => (code, reason) = (status, why)));
        return (code, reason);
    }
}
