using System.Net.Sockets;

namespace Edge.Protocol.Modbus.Lines;

/// <summary>A TCP connection as a line.</summary>
public sealed class TcpLine(Socket socket, string name) : IModbusLine
{
    public string Name { get; } = name;

    public bool HasEnded
    {
        get
        {
            try
            {
                return socket.Poll(TimeSpan.Zero, SelectMode.SelectRead) && socket.Available == 0;
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                return true;
            }
        }
    }

    /// <exception cref="IOException">Refused, unreachable, unknown host.</exception>
    public static async ValueTask<TcpLine> OpenAsync(string host, int port, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(host, port, cancellationToken);
            return new TcpLine(socket, $"{host}:{port}");
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new IOException(e.Message, e);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        try
        {
            return await socket.ReceiveAsync(buffer, cancellationToken);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw new IOException(e.Message, e);
        }
    }

    public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        try
        {
            while (bytes.Length > 0)
                bytes = bytes[await socket.SendAsync(bytes, cancellationToken)..];
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw new IOException(e.Message, e);
        }
    }

    public int ExchangeBriefly(ReadOnlySpan<byte> bytes, Span<byte> buffer, TimeSpan most)
    {
        try
        {
            while (bytes.Length > 0)
                bytes = bytes[socket.Send(bytes)..];
            if (!socket.Poll(most, SelectMode.SelectRead))
                return 0;
            var read = socket.Receive(buffer);
            return read > 0 ? read : throw new IOException("the other end closed it");
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw new IOException(e.Message, e);
        }
    }

    public int DiscardInput(ModbusTrace? trace)
    {
        Span<byte> rubbish = stackalloc byte[512];
        var dropped = 0;
        try
        {
            for (var i = 0; i < 16 && socket.Available > 0; i++)
            {
                var read = socket.Receive(rubbish);
                trace?.Add(sent: false, rubbish[..read]);
                dropped += read;
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw new IOException(e.Message, e);
        }

        return dropped;
    }

    public void Dispose() => socket.Dispose();
}
