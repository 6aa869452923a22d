using System.Net;
using System.Net.Sockets;

namespace Edge.Protocol.Modbus;

/// <summary>A Modbus slave on TCP, with MBAP or RTU frames. A connection that sends anything but Modbus is closed, with the reason in <see cref="ConnectionClosed"/>.</summary>
public sealed class ModbusTcpServer : IAsyncDisposable
{
    /// <summary>Connections served at once; a further one takes the place of the one that has asked nothing for the longest time, whose peer may be gone without
    /// a word (Modbus Messaging on TCP/IP V1.0b §4.2.1.2).</summary>
    public const int ConnectionsMax = 64;

    private readonly IRegisterBank _bank;
    private readonly bool _rtu;
    private readonly ModbusAnswerFilter? _filter;
    private readonly Socket _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly HashSet<Peer> _connections = [];
    private readonly Lock _gate = new();
    private Task _accept = Task.CompletedTask;
    private long _asked;

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
            running = [.. _connections.Select(peer => peer.Task)];
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
                var open = _connections.Where(one => one.EndReason.Length == 0).ToList();
                if (open.Count >= ConnectionsMax)
                {
                    var idle = open.MinBy(one => one.LastAsked)!;
                    idle.EndReason = $"{ConnectionsMax} connections are open already, and it asked nothing for the longest time";
                    idle.Socket.Dispose();
                }

                var peer = new Peer(socket) { LastAsked = Interlocked.Increment(ref _asked) };
                _connections.Add(peer);
                peer.Task = Task.Run(() => ServeAsync(peer));
            }
        }
    }

    private async Task ServeAsync(Peer peer)
    {
        var socket = peer.Socket;
        var reason = "";
        using (socket)
        {
            try
            {
                socket.NoDelay = true;
                if (_rtu)
                {
                    using var line = new Lines.TcpLine(socket, peer.Name);
                    await RtuSlave.ServeAsync(line, _bank, (unit, frame, cancellationToken) => AnswerAsync(peer, unit, frame, cancellationToken), TimeProvider.System, _stop.Token);
                }
                else
                {
                    reason = await TalkAsync(peer);
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
        {
            _connections.Remove(peer);
            if (peer.EndReason.Length > 0)
                reason = peer.EndReason;
        }

        if (reason.Length > 0)
            ConnectionClosed?.Invoke(peer.Name, reason);
    }

    private ValueTask<ReadOnlyMemory<byte>> AnswerAsync(Peer peer, byte unit, ReadOnlyMemory<byte> frame, CancellationToken cancellationToken)
    {
        peer.LastAsked = Interlocked.Increment(ref _asked);
        return _filter?.Invoke(unit, frame, cancellationToken) ?? new ValueTask<ReadOnlyMemory<byte>>(frame);
    }

    private async Task<string> TalkAsync(Peer peer)
    {
        var socket = peer.Socket;
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
                answer = await AnswerAsync(peer, frame.UnitId, answer, _stop.Token);
                if (answer.Length > 0)
                    await socket.SendAsync(answer, _stop.Token);
                start += consumed;
            }

            buffer.AsSpan(start, filled - start).CopyTo(buffer);
            filled -= start;
        }
    }

    private sealed class Peer(Socket socket)
    {
        private long _lastAsked;

        public Socket Socket => socket;

        public string Name { get; } = $"{socket.RemoteEndPoint}";

        public Task Task { get; set; } = Task.CompletedTask;

        /// <summary>Which request of all connections was its last one.</summary>
        public long LastAsked
        {
            get => Interlocked.Read(ref _lastAsked);
            set => Interlocked.Exchange(ref _lastAsked, value);
        }

        /// <summary>Why it is closed from here; empty while it is not. Under the gate.</summary>
        public string EndReason { get; set; } = "";
    }
}
