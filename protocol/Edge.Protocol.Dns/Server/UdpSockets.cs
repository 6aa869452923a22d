using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Edge.Protocol.Dns.Server;

/// <summary>Opens the sockets that share one UDP port.</summary>
internal static class UdpSockets
{
    private const int SolSocket = 1;
    private const int SoReusePort = 15;
    private const int SoReceiveTimeout = 20;
    private const int IpPacketInfo = 8;
    private const int Ipv6ReceivePacketInfo = 49;

    /// <param name="count">Above 1 only on Linux.</param>
    /// <exception cref="SocketException">The address is not usable, or the port in use by anyone.</exception>
    public static Socket[] Open(IPEndPoint endPoint, int count, int receiveBuffer, bool packetInfo)
    {
        var sockets = new List<Socket>();
        try
        {
            // The first without SO_REUSEPORT: so a port that someone else uses, even another of our own servers, is an error and not silently shared.
            var first = New(endPoint, receiveBuffer, packetInfo);
            sockets.Add(first);
            first.Bind(endPoint);
            var bound = (IPEndPoint)first.LocalEndPoint!;
            if (count > 1)
                Set(first, SolSocket, SoReusePort, 1);
            while (sockets.Count < count)
            {
                var next = New(endPoint, receiveBuffer, packetInfo);
                sockets.Add(next);
                Set(next, SolSocket, SoReusePort, 1);
                next.Bind(bound);
            }

            // Closed again behind us: nobody joins later.
            if (count > 1)
                sockets.ForEach(socket => Set(socket, SolSocket, SoReusePort, 0));
            return [.. sockets];
        }
        catch
        {
            sockets.ForEach(socket => socket.Dispose());
            throw;
        }
    }

    private static Socket New(IPEndPoint endPoint, int receiveBuffer, bool packetInfo)
    {
        var socket = new Socket(endPoint.AddressFamily, SocketType.Dgram, ProtocolType.Udp) { ReceiveBufferSize = receiveBuffer };
        var ipv6 = endPoint.AddressFamily == AddressFamily.InterNetworkV6;
        if (ipv6)
            socket.DualMode = endPoint.Address.Equals(IPAddress.IPv6Any);
        if (!OperatingSystem.IsLinux())
        {
            socket.ReceiveTimeout = 1000;
            return socket;
        }

        // Blocking calls come back once a second to see whether the server stops.
        Span<byte> second = stackalloc byte[16];
        second.Clear();
        second[0] = 1;
        socket.SetRawSocketOption(SolSocket, SoReceiveTimeout, second);
        if (packetInfo && !ipv6)
            Set(socket, 0, IpPacketInfo, 1);
        if (packetInfo && ipv6)
            Set(socket, 41, Ipv6ReceivePacketInfo, 1);
        return socket;
    }

    private static void Set(Socket socket, int level, int name, int value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        socket.SetRawSocketOption(level, name, bytes);
    }
}
