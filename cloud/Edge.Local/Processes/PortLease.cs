using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Edge.Local.Processes;

/// <summary>A port of this machine, for UDP and TCP, that stays the holder's while nothing listens on it: for what is told a port before it binds it, and for what binds it
/// again after a restart.</summary>
/// <remarks>Port 0 gives neither: the kernel may give the same port to the next connection that anybody opens as soon as its listener is gone, even to the one
/// that looks for that listener, which then talks to itself. So this takes a port outside the range from which the kernel gives (ip(7), ip_local_port_range), and
/// keeps other holders away by an abstract socket's name (unix(7)), which goes with the process at the latest.</remarks>
public sealed class PortLease : IDisposable
{
    // Below the kernel's usual range and that of NodePorts (30000), above what is well known.
    private const int First = 15000;
    private const int Last = 29999;
    private const int AttemptsMax = 1000;
    private readonly Socket _name;

    private PortLease(int port, Socket name)
    {
        Port = port;
        _name = name;
    }

    /// <summary>The port.</summary>
    public int Port { get; }

    /// <summary>Takes a port that nobody holds and nothing listens on.</summary>
    /// <param name="random">Which ports are looked at, in which order.</param>
    /// <exception cref="IOException">None was found in 1,000 attempts.</exception>
    public static PortLease Take(Random? random = null)
    {
        random ??= new Random();
        var (firstGiven, lastGiven) = KernelRange();
        for (var attempt = 0; attempt < AttemptsMax; attempt++)
        {
            var port = random.Next(First, Last + 1);
            if ((port < firstGiven || port > lastGiven) && TryTake(port, out var lease))
                return lease;
        }

        throw new IOException(
            $"no free port found from {First} to {Last} outside {firstGiven} to {lastGiven}; let the kernel give ports from another range (sysctl net.ipv4.ip_local_port_range), or end what listens on these");
    }

    /// <summary>Takes this port, unless somebody holds it or something listens on it.</summary>
    public static bool TryTake(int port, [NotNullWhen(true)] out PortLease? lease)
    {
        lease = null;
        var name = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        try
        {
            name.Bind(new UnixDomainSocketEndPoint($"\0edge-port-{port.ToString(CultureInfo.InvariantCulture)}"));
            if (IsFree(port))
                lease = new PortLease(port, name);
        }
        catch (SocketException)
        {
            // Somebody holds it.
        }
        finally
        {
            if (lease is null)
                name.Dispose();
        }

        return lease is not null;
    }

    /// <summary>Lets it go.</summary>
    public void Dispose() => _name.Dispose();

    /// <summary>Whether nothing has bound the port, on any IPv4 address.</summary>
    public static bool IsFree(int port)
    {
        try
        {
            using var listener = new TcpListener(IPAddress.Any, port) { ExclusiveAddressUse = true };
            listener.Start();
            using var datagrams = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { ExclusiveAddressUse = true };
            datagrams.Bind(new IPEndPoint(IPAddress.Any, port));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    /// <summary>Whether something has bound this address and port for UDP. False where no interface has the address.</summary>
    public static bool IsTaken(IPEndPoint endPoint)
    {
        try
        {
            using var datagrams = new Socket(endPoint.AddressFamily, SocketType.Dgram, ProtocolType.Udp) { ExclusiveAddressUse = true };
            datagrams.Bind(endPoint);
            return false;
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode == SocketError.AddressAlreadyInUse;
        }
    }

    private static (int First, int Last) KernelRange()
    {
        var range = File.ReadAllText("/proc/sys/net/ipv4/ip_local_port_range").Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        return (int.Parse(range[0], CultureInfo.InvariantCulture), int.Parse(range[1], CultureInfo.InvariantCulture));
    }
}
