using System.Net;
using System.Net.Sockets;
using Edge.Core.EdgeDns;
using Edge.Local.Processes;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>Addresses on a real interface.</summary>
[Trait("Category", "Dns")]
public sealed class LinkAddressTests
{
    // This test's own: other edges of this machine have the interface, too.
    private static readonly IPAddress s_address = new([169, 254, 31, (byte)(1 + (Environment.ProcessId % 250))]);

    [SkippableFact]
    public async Task An_address_that_somebody_takes_away_comes_back_and_what_listens_on_it_hears_again()
    {
        Skip.IfNot(Environment.IsPrivilegedProcess, "root, for addresses");
        Skip.If(Tool.OnPath("ip") is null, "ip (Debian: iproute2)");
        var addresses = new LinkAddress(TimeProvider.System, NullLogger.Instance);
        await addresses.EnsureAsync(s_address, CancellationToken.None);
        try
        {
            using var listener = new UdpClient(new IPEndPoint(s_address, 0));
            Assert.True(await HearsAsync(listener));

            await Tool.RunAsync("ip", ["address", "del", $"{s_address}/32", "dev", LinkAddress.Interface], new ToolOptions(TimeProvider.System), CancellationToken.None);
            using (var probe = new UdpClient())
                Assert.Equal(SocketError.AddressNotAvailable, Assert.Throws<SocketException>(() => probe.Client.Bind(new IPEndPoint(s_address, 0))).SocketErrorCode);
            await addresses.KeepAsync([s_address], CancellationToken.None);
            Assert.True(await HearsAsync(listener));
            // Nothing is added twice: the one that is here stays.
            await addresses.KeepAsync([s_address], CancellationToken.None);
            Assert.True(await HearsAsync(listener));
        }
        finally
        {
            await addresses.RemoveAsync([s_address]);
        }

        using var after = new UdpClient();
        Assert.Throws<SocketException>(() => after.Client.Bind(new IPEndPoint(s_address, 0)));
    }

    private static async Task<bool> HearsAsync(UdpClient listener)
    {
        using var client = new UdpClient(AddressFamily.InterNetwork);
        await client.SendAsync(new byte[] { 7 }, (IPEndPoint)listener.Client.LocalEndPoint!);
        return (await listener.ReceiveAsync().WaitAsync(Patience.Of(TimeSpan.FromSeconds(10)))).Buffer is [7];
    }
}
