using System.ComponentModel;
using System.Diagnostics;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeDns;

/// <summary>Addresses of this machine that EdgeDns adds to an interface of its own, with ip(8) of iproute2, and takes away again.</summary>
/// <remarks>After kill -9 they stay; the next start finds them on the interface and takes them over.</remarks>
internal sealed class LinkAddress(TimeProvider time, ILogger log)
{
    public const string Interface = "edge-dns0";
    private const long RestMs = 60_000;
    private static readonly TimeSpan s_within = TimeSpan.FromSeconds(10);
    private readonly List<IPAddress> _added = [];
    private readonly List<IPAddress> _found = []; // on our interface already
    private long _restsUntilMs; // after an address could not be added back

    /// <summary>Makes sure that the address is this machine's; what stands in the way is logged, and shows again when the socket is bound.</summary>
    public async Task EnsureAsync(IPAddress address, CancellationToken cancellationToken)
    {
        if (IPAddress.IsLoopback(address) || address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any))
            return;
        if (HoldersOf(address) is { Count: > 0 } holders)
        {
            if (holders.Contains(Interface))
                _found.Add(address);
            return;
        }

        if (NetworkInterface.GetAllNetworkInterfaces().All(one => one.Name != Interface))
        {
            // A kernel without the module dummy often has bridge, since pods need it; one without ports serves as well.
            var failed = await IpAsync(cancellationToken, "link", "add", Interface, "type", "dummy");
            if (failed is not null && await IpAsync(cancellationToken, "link", "add", Interface, "type", "bridge") is not null)
            {
                EdgeDnsLog.AddressNotAdded(log, address.ToString(), Interface, failed);
                return;
            }
        }

        var prefix = address.AddressFamily == AddressFamily.InterNetworkV6 ? 128 : 32;
        var reason = await IpAsync(cancellationToken, "link", "set", Interface, "up") ?? await IpAsync(cancellationToken, "address", "add", $"{address}/{prefix}", "dev", Interface);
        if (reason is not null)
        {
            EdgeDnsLog.AddressNotAdded(log, address.ToString(), Interface, reason);
            return;
        }

        _added.Add(address);
        EdgeDnsLog.AddressAdded(log, address.ToString(), Interface);
    }

    /// <summary>Adds those that are not this machine's any more: somebody took them away, or the interface, and pods have no other resolver. What listens on them hears again then. To be
    /// called every second or so; where it does not succeed it rests for a minute.</summary>
    public async Task KeepAsync(IEnumerable<IPAddress> addresses, CancellationToken cancellationToken)
    {
        var now = (long)time.GetElapsedTime(0).TotalMilliseconds;
        foreach (var address in addresses)
        {
            if (now < _restsUntilMs || IsHere(address))
                continue;
            _added.Remove(address);
            _found.Remove(address);
            await EnsureAsync(address, cancellationToken);
            if (!IsHere(address))
                _restsUntilMs = now + RestMs;
        }
    }

    /// <summary>Takes away what was added, and the interface when nothing else is on it.</summary>
    /// <param name="served">The addresses that were listened on: one found on the interface that was not is another process's.</param>
    public async Task RemoveAsync(IEnumerable<IPAddress> served)
    {
        _added.AddRange(_found.Intersect(served));
        _found.Clear();
        foreach (var address in _added)
            await IpAsync(CancellationToken.None, "address", "del", $"{address}/{(address.AddressFamily == AddressFamily.InterNetworkV6 ? 128 : 32)}", "dev", Interface);
        if (_added.Count > 0 && NetworkInterface.GetAllNetworkInterfaces().FirstOrDefault(one => one.Name == Interface) is { } left
            && left.GetIPProperties().UnicastAddresses.All(one => one.Address.IsIPv6LinkLocal))
            await IpAsync(CancellationToken.None, "link", "del", Interface);
        _added.Clear();
    }

    // Three system calls, where a look at all interfaces takes hundreds.
    private static bool IsHere(IPAddress address)
    {
        try
        {
            using var socket = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            socket.Bind(new IPEndPoint(address, 0));
            return true;
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode != SocketError.AddressNotAvailable;
        }
    }

    // The interfaces that have the address.
    private static List<string> HoldersOf(IPAddress address)
        => [.. NetworkInterface.GetAllNetworkInterfaces().Where(one => one.GetIPProperties().UnicastAddresses.Any(own => own.Address.Equals(address))).Select(one => one.Name)];

    // Null when it was done, else the reason.
    private async Task<string?> IpAsync(CancellationToken cancellationToken, params string[] arguments)
    {
        using var deadline = new CancellationTokenSource(s_within, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            using var process = Process.Start(new ProcessStartInfo("ip", arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
            var said = process.StandardError.ReadToEndAsync(both.Token);
            await process.WaitForExitAsync(both.Token);
            return process.ExitCode == 0 ? null : $"ip {string.Join(' ', arguments)}: {(await said).Trim()}";
        }
        catch (Win32Exception e)
        {
            return $"ip cannot be run: {e.Message}; install iproute2, or name only addresses that this machine has";
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return $"ip {string.Join(' ', arguments)} took longer than {s_within.TotalSeconds:0} s";
        }
    }
}
