using System.Net;
using System.Net.Sockets;
using Edge.Transport;

namespace Edge.Testing;

/// <summary>The lanes of a <see cref="QuicLink"/> on three real sockets, which back up as QUIC streams do: what needs no QUIC is tested without it.</summary>
public sealed class SocketLanes : ILaneStreams
{
    private readonly Socket[] _sockets;
    private readonly NetworkStream[] _streams;

    private SocketLanes(Socket[] sockets)
    {
        _sockets = sockets;
        _streams = [.. sockets.Select(socket => new NetworkStream(socket, ownsSocket: true))];
    }

    public Stream this[LinkLane lane] => _streams[(int)lane];

    /// <summary>Bytes that wait to be read.</summary>
    public int Available(LinkLane lane) => _sockets[(int)lane].Available;

    /// <summary>Two ends that are connected.</summary>
    /// <param name="window">Bytes that each side takes before somebody reads, roughly; 0 leaves it to the system.</param>
    public static async Task<(SocketLanes Edge, SocketLanes Cloud)> PairAsync(int window = 0)
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        if (window > 0)
            listener.ReceiveBufferSize = window;
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        var (near, far) = (new Socket[LinkLanes.Count], new Socket[LinkLanes.Count]);
        for (var i = 0; i < near.Length; i++)
        {
            near[i] = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            if (window > 0)
                (near[i].SendBufferSize, near[i].ReceiveBufferSize) = (window, window);
            await near[i].ConnectAsync(listener.LocalEndPoint!);
            far[i] = await listener.AcceptAsync();
            far[i].NoDelay = true;
            if (window > 0)
                far[i].SendBufferSize = window;
        }

        return (new SocketLanes(near), new SocketLanes(far));
    }

    public Task CompleteWritesAsync(CancellationToken cancellationToken)
    {
        foreach (var socket in _sockets)
            socket.Shutdown(SocketShutdown.Send);
        return Task.CompletedTask;
    }

    public void Abort()
    {
        foreach (var socket in _sockets)
            socket.Close(0);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var stream in _streams)
            await stream.DisposeAsync();
    }
}
