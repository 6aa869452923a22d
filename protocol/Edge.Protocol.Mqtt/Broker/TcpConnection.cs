using System.Net.Sockets;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>A plain TCP connection. While nothing comes it has neither a buffer nor a task: the system calls when there is something to read.</summary>
internal sealed class TcpConnection : ClientConnection, IDisposable, IThreadPoolWorkItem
{
    // Full buffers in a row, then others have their turn.
    private const int ReadsAtOnce = 16;

    private readonly Socket _socket;
    private readonly ReadSignal _signal;
    private WriteSignal? _writeSignal;
    private bool _isPaused;

    public TcpConnection(MqttBroker broker, Socket socket)
        : base(broker)
    {
        _socket = socket;
        socket.NoDelay = true;
        socket.Blocking = false;
        _signal = new ReadSignal(this);
    }

    /// <summary>Begins to read, on a pool thread.</summary>
    public void Start() => ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);

    public override void Resume() => Run();

    void IThreadPoolWorkItem.Execute() => Run();

    public override void Shut()
    {
        try
        {
            _socket.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The peer was faster: what follows is the close.
        }
    }

    public override void Close()
    {
        _socket.Dispose();
        _signal.Dispose();
        _writeSignal?.Dispose();
    }

    public void Dispose() => Close();

    public override void Send()
    {
        try
        {
            Write(0, 0);
        }
        catch (ObjectDisposedException)
        {
            AbortWriting("the connection was closed");
        }
    }

    private void Run()
    {
        try
        {
            ReadAll();
        }
        catch (ObjectDisposedException)
        {
            End("the connection was closed");
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            Broker.LogDefect(Address, e);
            End("a defect");
        }
    }

    private void ReadAll()
    {
        for (var reads = 0; ; reads++)
        {
            if (reads == ReadsAtOnce)
            {
                Start();
                return;
            }

            var count = 0;
            var space = int.MaxValue;
            if (!_isPaused)
            {
                var room = Room();
                space = room.Length;
                count = _socket.Receive(room.Span, SocketFlags.None, out var error);
                if (error == SocketError.WouldBlock)
                {
                    if (WaitForData())
                        return;
                    continue;
                }

                if (error != SocketError.Success || count == 0)
                {
                    End(error == SocketError.Success ? "the client closed the connection" : $"the connection broke: {error}");
                    return;
                }
            }

            _isPaused = false;
            var result = Read(count);
            if (result == FeedResult.Ended)
            {
                ReleaseBuffer();
                return;
            }

            if (result == FeedResult.Paused)
            {
                _isPaused = true;
                Broker.Proceed(this);
                return;
            }

            // A read that did not fill the buffer has taken all there was.
            if (count > 0 && count < space && WaitForData())
                return;
        }
    }

    /// <returns>False: there is data already.</returns>
    private bool WaitForData()
    {
        Rest();
        return _socket.ReceiveAsync(_signal);
    }

    private void End(string reason)
    {
        ReleaseBuffer();
        Broker.Ended(this, reason);
    }

    private void Write(int index, int offset)
    {
        while (true)
        {
            var written = 0;
            for (; index < Sending.Count; index++, offset = 0)
            {
                var segment = Sending[index];
                while (offset < segment.Length)
                {
                    var sent = _socket.Send(segment.Array.AsSpan(offset, segment.Length - offset), SocketFlags.None, out var error);
                    if (error == SocketError.WouldBlock)
                    {
                        var signal = _writeSignal ??= new WriteSignal(this);
                        Broker.Written(this, written);
                        written = 0;
                        if (signal.Begin(index, offset))
                            return;
                        // Done at once.
                        if (signal.SocketError != SocketError.Success)
                        {
                            AbortWriting($"the connection broke: {signal.SocketError}");
                            return;
                        }

                        sent = signal.BytesTransferred;
                    }
                    else if (error != SocketError.Success)
                    {
                        AbortWriting($"the connection broke: {error}");
                        return;
                    }

                    offset += sent;
                    written += sent;
                }

                segment.Release();
            }

            SentAll();
            if (!Broker.SentAll(this, written))
                return;
            index = 0;
        }
    }

    private void AbortWriting(string reason)
    {
        // The segments go with the connection; the collector takes the arrays.
        Sending.Clear();
        Broker.Ended(this, reason);
    }

    private sealed class ReadSignal : SocketAsyncEventArgs
    {
        private readonly TcpConnection _connection;

        public ReadSignal(TcpConnection connection)
            : base(true)
        {
            _connection = connection;
            SetBuffer(Array.Empty<byte>(), 0, 0);
        }

        // An error shows at the receive that follows.
        protected override void OnCompleted(SocketAsyncEventArgs e) => _connection.Run();
    }

    private sealed class WriteSignal(TcpConnection connection) : SocketAsyncEventArgs(true)
    {
        private int _index;
        private int _offset;

        /// <returns>False: it is done already.</returns>
        public bool Begin(int index, int offset)
        {
            (_index, _offset) = (index, offset);
            var segment = connection.Sending[index];
            SetBuffer(segment.Array, offset, segment.Length - offset);
            return connection._socket.SendAsync(this);
        }

        protected override void OnCompleted(SocketAsyncEventArgs e)
        {
            if (SocketError != SocketError.Success)
            {
                connection.AbortWriting($"the connection broke: {SocketError}");
                return;
            }

            try
            {
                connection.Broker.Written(connection, BytesTransferred);
                connection.Write(_index, _offset + BytesTransferred);
            }
            catch (ObjectDisposedException)
            {
                connection.AbortWriting("the connection was closed");
            }
        }
    }
}
