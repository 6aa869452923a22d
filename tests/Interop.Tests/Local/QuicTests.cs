using Edge.Kubernetes;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary>The executables, connected over QUIC.</summary>
[Trait("Category", "Sync")]
[Collection(nameof(EdgeCollection))]
public sealed class QuicTests
{
    [SkippableFact]
    public async Task Node_lives_over_quic_alone_and_comes_back_after_cloudcore_was_killed()
    {
        Requires.Quic();
        using var lease = PortLease.Take(); // the edge has to be told before cloudcore has it
        var port = lease.Port;
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions
        {
            CloudCoreSettings = ["modules.cloudHub.quic.enable=true", "modules.cloudHub.quic.address=127.0.0.1", $"modules.cloudHub.quic.port={port}"],
            EdgeCoreSettings = ["modules.edgeHub.websocket.enable=false", "modules.edgeHub.quic.enable=true", $"modules.edgeHub.quic.server=127.0.0.1:{port}"],
        });
        await edge.WaitForAsync("the node has a lease", async () => (await RenewTimeAsync(edge)).Length > 0);
        var before = await RenewTimeAsync(edge);
        await edge.Local.KillAndRestartCloudCoreAsync(CancellationToken.None);
        await edge.WaitForAsync("its lease is renewed again", async () => await RenewTimeAsync(edge) is var after && after.Length > 0 && after != before, TimeSpan.FromMinutes(2));
    }

    private static async Task<string> RenewTimeAsync(TestEdge edge)
        => (await edge.Client.TryGetAsync(ResourceKind.Lease, "kube-node-lease", "edge-1", CancellationToken.None)).Text("spec", "renewTime");
}
