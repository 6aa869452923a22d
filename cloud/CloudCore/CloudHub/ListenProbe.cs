using System.Net;
using System.Net.Sockets;
using Edge.Cloud.Configuration;

namespace Edge.Cloud.CloudHub;

/// <summary>Listening with errors that name the setting: the system's own name neither it nor which of several listeners failed.</summary>
internal static class ListenProbe
{
    private const int Backlog = 4096;

    /// <summary>A listening socket.</summary>
    /// <exception cref="CloudCoreException">The port is in use, or the address is not this machine's.</exception>
    public static Socket Listen(ListenOn on)
    {
        var address = IPAddress.Parse(on.Address);
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            Bind(socket, on, listen: true);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Gives a socket of any kind the address.</summary>
    /// <exception cref="CloudCoreException">The port is in use, or the address is not this machine's.</exception>
    public static void Bind(Socket socket, ListenOn on, bool listen = false)
    {
        try
        {
            // Not ReuseAddress: on Linux that also shares the port with whoever listens there already.
            socket.Bind(new IPEndPoint(IPAddress.Parse(on.Address), on.Port));
            if (listen)
                socket.Listen(Backlog);
        }
        catch (SocketException e)
        {
            var text = e.SocketErrorCode switch
            {
                SocketError.AddressAlreadyInUse => $"port {on.Port} on {on.Address} is in use; stop what uses it or set {on.PortKey} to another port",
                SocketError.AddressNotAvailable => $"address {on.Address} is not one of this machine's; change it beside {on.PortKey}",
                SocketError.AccessDenied => $"port {on.Port} on {on.Address} needs more rights; set {on.PortKey} to a port above 1023",
                _ => $"cannot listen on {on.Address}:{on.Port} ({on.PortKey}): {e.Message}",
            };
            throw new CloudCoreException(text, e);
        }
    }

    /// <summary>Finds out whether another server could listen there.</summary>
    /// <exception cref="CloudCoreException">It could not.</exception>
    public static void Check(ListenOn on)
    {
        if (on is { IsEnabled: true, Port: not 0 })
            Listen(on).Dispose();
    }
}
