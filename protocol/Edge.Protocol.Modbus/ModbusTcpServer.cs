using System.Net;
using System.Net.Sockets;

namespace Edge.Protocol.Modbus;

/// <summary>A Modbus slave on TCP, with MBAP or RTU frames. A connection that sends anything but Modbus is closed, with the reason in <see cref="ConnectionClosed"/>.</summary>
public sealed class ModbusTcpServer : IAsyncDisposable
{
    /// <summary>Connections served at once; a further one is closed at once.</summary>
    public const int ConnectionsMax = 64;

    private readonly IRegisterBank _bank;
    private readonly bool _rtu;
    private readonly ModbusAnswerFilter? _filter;
    private readonly Socket _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly Dictionary<int, Task> _connections = [];
    private readonly Lock _gate = new();
    private Task _accept = Task.CompletedTask;
    private int _nextId;

    private ModbusTcpServer(IRegisterBank bank, Socket listener, bool rtu, ModbusAnswerFilter? filter)
    {
        _bank = bank;
        _rtu = rtu;
        _filter = filter;
        _listener = listener;
    }

    /// <summary>Peer and reason of each connection that ended otherwise than by the peer's orderly close. Called on a connection's own task.</summary>
    public event Action<string, string>? ConnectionClosed;

    /// <summary>Where it listens; the port is the real one when 0 was asked for.</summary>
    public IPEndPoint EndPoint => (IPEndPoint)_listener.LocalEndPoint!;

    /// <summary>Listens and serves until disposed.</summary>
    /// <exception cref="SocketException">The address is not usable, e.g. the port is in use.</exception>
    /// <param name="rtu">RTU frames instead of MBAP.</param>
    /// <param name="filter">Sees each answer before it is sent.</param>
    public static ModbusTcpServer Start(IPEndPoint endPoint, IRegisterBank bank, bool rtu = false, ModbusAnswerFilter? filter = null)
    {
        var listener = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            listener.Bind(endPoint);
            listener.Listen(ConnectionsMax);
        }
        catch
        {
            listener.Dispose();
            throw;
        }

        var server = new ModbusTcpServer(bank, listener, rtu, filter);
        server._accept = server.AcceptAsync();
        return server;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accept;
        Task[] running;
        lock (_gate)
            running = [.. _connections.Values];
        await Task.WhenAll(running);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            Socket socket;
            try
            {
                socket = await _listener.AcceptAsync(_stop.Token);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e)
            {
                // The peer gave up between SYN and accept; the listener is fine.
                ConnectionClosed?.Invoke("?", $"accept failed: {e.Message}");
                continue;
            }

            lock (_gate)
            {
                if (_connections.Count >= ConnectionsMax)
                {
                    ConnectionClosed?.Invoke($"{socket.RemoteEndPoint}", $"{ConnectionsMax} connections are open already");
                    socket.Dispose();
                    continue;
                }

                var id = _nextId++;
                _connections[id] = Task.Run(() => ServeAsync(id, socket));
            }
        }
    }

    private async Task ServeAsync(int id, Socket socket)
    {
        var peer = $"{socket.RemoteEndPoint}";
        var reason = "";
        using (socket)
        {
            try
            {
                socket.NoDelay = true;
                if (_rtu)
                {
                    using var line = new Lines.TcpLine(socket, peer);
                    await RtuSlave.ServeAsync(line, _bank, _filter, TimeProvider.System, _stop.Token);
                }
                else
                {
                    reason = await TalkAsync(socket);
                }
            }
            catch (Exception e) when (e is SocketException or IOException or ObjectDisposedException)
            {
                reason = e.Message;
            }
            catch (OperationCanceledException)
            {
                reason = "the server stops";
            }
        }

        lock (_gate)
            _connections.Remove(id);
        if (reason.Length > 0)
            ConnectionClosed?.Invoke(peer, reason);
    }

    private async Task<string> TalkAsync(Socket socket)
    {
        var buffer = new byte[2 * MbapFrame.SizeMax];
        var filled = 0;
        while (true)
        {
            var read = await socket.ReceiveAsync(buffer.AsMemory(filled), _stop.Token);
            if (read == 0)
                return filled == 0 ? "" : $"the peer closed inside a frame, after {filled} bytes";
            filled += read;
            var start = 0;
            while (true)
            {
                var status = MbapFrame.Read(buffer.AsMemory(start, filled - start), out var frame, out var consumed, out var error);
                if (status == FrameStatus.Malformed)
                    return error;
                if (status == FrameStatus.NeedMore)
                    break;
                ReadOnlyMemory<byte> answer = MbapFrame.Write(frame.TransactionId, frame.UnitId, ModbusSlave.Answer(_bank, frame.UnitId, frame.Pdu));
                if (_filter is not null)
                    answer = await _filter(frame.UnitId, answer, _stop.Token);
                if (answer.Length > 0)
                    await socket.SendAsync(answer, _stop.Token);
                start += consumed;
            }

            buffer.AsSpan(start, filled - start).CopyTo(buffer);
            filled -= start;
        }
    }
}
