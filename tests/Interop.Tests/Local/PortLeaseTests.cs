using System.Net;
using System.Net.Sockets;
using Edge.Local.Processes;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary>Ports that stay their holder's while nothing listens on them.</summary>
[Trait("Category", "Unit")]
public sealed class PortLeaseTests
{
    [Fact]
    public void Held_port_is_given_to_nobody_else_until_it_is_let_go()
    {
        using var first = PortLease.Take(new Random(7));
        using var second = PortLease.Take(new Random(7));
        Assert.NotEqual(first.Port, second.Port);
        Assert.False(PortLease.TryTake(first.Port, out _));
        first.Dispose();
        Assert.True(PortLease.TryTake(first.Port, out var again));
        again.Dispose();
    }

    [Fact]
    public void Port_on_which_something_listens_is_not_taken()
    {
        using var lease = PortLease.Take();
        var port = lease.Port;
        lease.Dispose();
        using (var datagrams = new UdpClient(new IPEndPoint(IPAddress.Loopback, port)))
            Assert.False(PortLease.TryTake(port, out _));
        using var listener = new TcpListener(IPAddress.Loopback, port);
        listener.Start();
        Assert.False(PortLease.TryTake(port, out _));
    }

    [Fact]
    public void Address_is_taken_where_something_has_bound_it_and_not_where_no_interface_has_it()
    {
        using var lease = PortLease.Take();
        var place = new IPEndPoint(IPAddress.Parse("127.9.8.7"), lease.Port);
        Assert.False(PortLease.IsTaken(place));
        using (new UdpClient(place))
        {
            Assert.True(PortLease.IsTaken(place));
            Assert.False(PortLease.IsTaken(new IPEndPoint(IPAddress.Loopback, lease.Port)));
        }

        Assert.False(PortLease.IsTaken(new IPEndPoint(IPAddress.Parse("203.0.113.5"), lease.Port)));
    }

    // What looks for a listener that is away for a moment may otherwise get that port from the kernel and connect to itself.
    [Fact]
    public void Port_is_none_that_the_kernel_gives_to_connections()
    {
        var given = File.ReadAllText("/proc/sys/net/ipv4/ip_local_port_range").Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Select(int.Parse).ToArray();
        for (var seed = 0; seed < 100; seed++)
        {
            using var lease = PortLease.Take(new Random(seed));
            Assert.NotInRange(lease.Port, given[0], given[1]);
        }
    }
}
