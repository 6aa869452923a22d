using System.Net;
using System.Net.Sockets;
using Edge.Protocol.Mqtt.Codec;
using Microsoft.Extensions.Logging;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>An MQTT broker of versions 3.1.1 and 5.0 in this process.</summary>
/// <remarks>
/// <para>One lock guards <see cref="BrokerCore"/>; it is taken once for everything that a read brought, and never held while something waits. What the core queued is written when the lock
/// is free again, many packets in one write.</para>
/// <para>With a store, nothing that says "I have it" leaves before it is on disk; one writer takes all changes that wait in one transaction.</para>
/// </remarks>
public sealed partial class MqttBroker : IAsyncDisposable
{
    // With a store that is behind by so many changes nothing more is read until it has caught up.
    private const int ChangesMax = 50_000;
    private static readonly TimeSpan s_linger = TimeSpan.FromSeconds(5);

    private readonly Lock _gate = new();
    private readonly BrokerCore _core;
    private readonly MqttBrokerOptions _options;
    private readonly IMqttStore? _store;
    private readonly TimeProvider _time;
    private readonly long _startTimestamp;
    private readonly Authenticator _authenticator;
    private readonly HashSet<ClientConnection> _connections = [];
    private readonly List<ClientConnection> _lingering = [];
    private readonly List<Socket> _listeners = [];
    private readonly List<Task> _loops = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly WarningLimit _warnings;
    private readonly MqttMetrics _metrics;
    private readonly TaskCompletionSource _allEnded = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ITimer? _timer;
    private int _running = 1; // tasks that Track has; the broker itself counts as one
    private bool _disposed;
    private (long Slow, long Full, long Large, long Local, long Refused, long Retained) _droppedBefore;
    private long _nextDroppedLog;

    private MqttBroker(MqttBrokerOptions options, IMqttStore? store, TimeProvider time, Random random, ILogger logger)
    {
        _options = options;
        _store = store;
        _time = time;
        Logger = logger;
        _startTimestamp = time.GetTimestamp();
        _core = new BrokerCore(options, random, store is not null, 0, time.GetUtcNow().ToUnixTimeMilliseconds());
        _authenticator = new Authenticator(options);
        _warnings = new WarningLimit(logger);
        _metrics = new MqttMetrics(_core);
    }

    /// <summary>Where it listens, in the order of the options; ports are the real ones.</summary>
    public IReadOnlyList<IPEndPoint> EndPoints { get; private set; } = [];

    /// <summary>Clients that are connected.</summary>
    public int ConnectedCount => _core.ConnectedCount;

    internal ILogger Logger { get; }

    internal BrokerCounters Counters => _core.Counters;

    /// <summary>Loads what the store has, and listens.</summary>
    /// <param name="store">Keeps persistent sessions and retained messages over a restart; null: they end with the broker. The broker disposes it; when this method throws it is still the caller's.</param>
    /// <exception cref="ArgumentException">An option cannot be used.</exception>
    /// <exception cref="SocketException">A port is in use, or an address is not this machine's.</exception>
    /// <exception cref="Edge.Common.Storage.StoreException">The store cannot be read.</exception>
    public static MqttBroker Start(MqttBrokerOptions options, IMqttStore? store, TimeProvider time, Random random, ILoggerFactory loggers)
    {
        options.Validate();
        var broker = new MqttBroker(options, store, time, random, loggers.CreateLogger<MqttBroker>());
        try
        {
            if (store is not null)
                broker._core.Load(store.Load());
            foreach (var listener in options.Listeners)
                broker.Listen(listener);
        }
        catch
        {
            foreach (var socket in broker._listeners)
                socket.Dispose();
            broker._metrics.Dispose();
            broker._authenticator.Dispose();
            broker._stop.Dispose();
            throw;
        }

        // From here on nothing fails; nobody is accepted before the takers are there.
        broker.AddTakers(options.Takers);
        broker.EndPoints = [.. broker._listeners.Select(one => (IPEndPoint)one.LocalEndPoint!)];
        for (var i = 0; i < options.Listeners.Count; i++)
        {
            var (socket, listener) = (broker._listeners[i], options.Listeners[i]);
            MqttLog.Listening(broker.Logger, broker.EndPoints[i].ToString(), $"{listener.Kind}{(listener.Tls is null ? "" : " with TLS")}");
            broker._loops.Add(broker.AcceptAsync(socket, listener));
        }

        if (store is not null)
            broker._storeLoop = broker.StoreAsync(store);
        broker._timer = time.CreateTimer(_ => broker.Tick(), null, TimeSpan.FromMilliseconds(TimerWheel.TickMs), TimeSpan.FromMilliseconds(TimerWheel.TickMs));
        return broker;
    }

    /// <summary>Tells the clients (0x8B), ends the connections, and writes what is left to the store.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_disposed)
            return;
        _disposed = true;
        await _stop.CancelAsync();
        foreach (var socket in _listeners)
            socket.Dispose();
        await Task.WhenAll(_loops);
        if (_timer is not null)
            await _timer.DisposeAsync();
        await EndAllAsync();
        Untrack();
        await _allEnded.Task;
        await StopStoreAsync();
        _metrics.Dispose();
        _authenticator.Dispose();
        _stop.Dispose();
    }

    /// <summary>What a connection has read: whole packets are carried out.</summary>
    internal FeedResult Feed(ClientConnection connection, ReadOnlySpan<byte> data, out int consumed)
    {
        consumed = 0;
        var toSend = BeginSend();
        FeedResult result;
        MqttConnect? connect = null;
        lock (_gate)
        {
            _core.NowMs = NowMs;
            if (connection.IsClosing || connection.IsEnded)
            {
                // Shut, and waiting for the peer's close: what it still says does not matter.
                consumed = data.Length;
                result = connection.IsEnded ? FeedResult.Ended : FeedResult.Continue;
            }
            else
            {
                try
                {
                    consumed = Consume(connection, data, out connect);
                }
                catch (MqttProtocolException e)
                {
                    consumed = data.Length;
                    FailLocked(connection, e);
                }

                result = connect is not null || connection.IsAuthenticating || _core.Changes.Count > ChangesMax ? FeedResult.Paused : FeedResult.Continue;
            }

            CollectSends(toSend);
        }

        EndSend(toSend);
        if (connect is not null)
            connection.Client = connect.ClientId;
        return result;
    }

    internal void Fail(ClientConnection connection, MqttProtocolException error)
    {
        var toSend = BeginSend();
        lock (_gate)
        {
            _core.NowMs = NowMs;
            FailLocked(connection, error);
            CollectSends(toSend);
        }

        EndSend(toSend);
    }

    /// <summary>So many bytes are out, more are being written.</summary>
    internal void Written(ClientConnection connection, int count)
    {
        if (count == 0)
            return;
        lock (_gate)
            CountWritten(connection, count);
    }

    /// <summary>Everything taken is out.</summary>
    /// <returns>True: there is more in <see cref="ClientConnection.Sending"/>. False: writing stops.</returns>
    internal bool SentAll(ClientConnection connection, int count)
    {
        var shut = false;
        var close = false;
        lock (_gate)
        {
            CountWritten(connection, count);
            if (connection.IsEnded)
            {
                connection.IsSending = false;
                return false;
            }

            _core.NowMs = NowMs;
            _core.Drained(connection);
            if (_core.Changes.Count > 0)
                _storeSignal.Writer.TryWrite(true);
            if (connection.Out.HasBytes && connection.FlushAfter <= _committed)
            {
                connection.TakeOut();
                return true;
            }

            connection.IsSending = false;
            if (connection.FlushAfter > _committed)
                WaitForStore(connection);
            if (connection is { IsClosing: true, IsShut: false, IsWaitingForStore: false } && !connection.Out.HasBytes)
                (shut, close) = ShutLocked(connection);
        }

        Finish(connection, shut, close);
        return false;
    }

    /// <summary>The socket is over, whoever ended it. May be called often.</summary>
    internal void Ended(ClientConnection connection, string reason)
    {
        var toSend = BeginSend();
        var isFirst = false;
        lock (_gate)
        {
            if (!connection.IsEnded)
            {
                isFirst = true;
                connection.IsEnded = true;
                connection.IsClosing = true;
                _core.NowMs = NowMs;
                _core.Lost(connection, reason);
                _connections.Remove(connection);
                connection.Out.Clear();
                CollectSends(toSend);
            }
        }

        connection.Close();
        if (isFirst && connection.Client.Length > 0)
            MqttLog.Ended(Logger, connection.Client, connection.Address, connection.EndReason);
        EndSend(toSend);
    }

    /// <summary>Goes on with a connection that Feed paused.</summary>
    internal void Proceed(ClientConnection connection)
    {
        MqttConnect? connect;
        lock (_gate)
            connect = connection.IsAuthenticating ? _pendingConnects.GetValueOrDefault(connection) : null;
        Track(connect is null ? ResumeLaterAsync(connection) : AuthenticateAsync(connection, connect));
    }

    /// <summary>Owns a task until it ends; what it throws is a defect and is logged.</summary>
    internal void Track(Task task)
    {
        if (task.IsCompletedSuccessfully)
            return;
        Interlocked.Increment(ref _running);
        _ = WatchAsync(task); // awaited through _allEnded; it does not throw
    }

    private async Task WatchAsync(Task task)
    {
        try
        {
            await task;
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            LogDefect("", e);
        }
        finally
        {
            Untrack();
        }
    }

    /// <summary>What must not happen; as limited as the warnings about clients, since one of them may be able to repeat it.</summary>
    internal void LogDefect(string address, Exception error) => _warnings.Log(NowMs, () => MqttLog.Defect(Logger, address, error));

    private void Untrack()
    {
        if (Interlocked.Decrement(ref _running) == 0)
            _allEnded.TrySetResult();
    }

    private long NowMs => (long)_time.GetElapsedTime(_startTimestamp).TotalMilliseconds;

    private int Consume(ClientConnection connection, ReadOnlySpan<byte> data, out MqttConnect? connect)
    {
        connect = null;
        var consumed = 0;
        while (!connection.IsClosing && !connection.IsAuthenticating)
        {
            var rest = data[consumed..];
            // Nobody needs a megabyte to say who he is.
            var sizeMax = connection.HasConnect ? (uint)_options.PacketSizeMax : (uint)Math.Min(_options.PacketSizeMax, ConnectSizeMax);
            if (!MqttFrame.TryRead(rest, sizeMax, connection.HasConnect ? connection.Version : null, out var frame))
            {
                if (rest.IsEmpty)
                {
                    connection.PartialSinceMs = long.MaxValue;
                }
                else if (connection.PartialSinceMs == long.MaxValue)
                {
                    connection.PartialSinceMs = _core.NowMs;
                    _core.Watch(connection);
                }

                return consumed;
            }

            connection.PartialSinceMs = long.MaxValue;
            var body = rest[frame.BodyStart..frame.Length];
            consumed += frame.Length;
            if (connection.HasConnect && (connection.ConnectWithScram is not null || (frame.Type == MqttPacketType.Auth && connection.AuthenticationMethod is not null)))
                ReadAuth(connection, frame, body);
            else if (connection.HasConnect)
                _core.Receive(connection, frame, body);
            else
                connect = ReadConnect(connection, frame, body);
        }

        return connection.IsClosing ? data.Length : consumed;
    }

    private void FailLocked(ClientConnection connection, MqttProtocolException error)
    {
        if (connection.IsClosing)
            return;
        _core.Fail(connection, error);
        _warnings.Log(_core.NowMs, () => MqttLog.Broke(Logger, connection.Client, connection.Address, error.Message));
    }

    private void CountWritten(ClientConnection connection, int count)
    {
        connection.Out.Written(count);
        _core.Counters.BytesSent += count;
    }
}
