using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;
using System.Threading.Channels;
using Edge.Common;
using Edge.Protocol.Mqtt.Authentication;
using Edge.Protocol.Mqtt.Codec;
using Microsoft.Extensions.Logging;

namespace Edge.Protocol.Mqtt.Client;

/// <summary>An MQTT client of version 3.1.1 or 5.0 that stays connected: it tries again for ever, with back-off and full jitter, subscribes anew, and sends again what was not acknowledged.</summary>
/// <remarks>Calls may come from any thread. The handler gets one message after the other; one of QoS 1 or 2 is acknowledged when the handler is done with it.</remarks>
public sealed partial class MqttClient : IAsyncDisposable
{
    private readonly MqttClientOptions _options;
    private readonly Func<MqttMessage, ValueTask> _handler;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Backoff _backoff;
    private readonly ClientSession _session;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, (MqttTopicFilter Filter, uint Id)> _subscriptions = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stop = new();
    private readonly Channel<bool> _toWrite = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite }); // "there is something": many are one
    private Task _loop = Task.CompletedTask;
    private TaskCompletionSource _connected = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _isConnected;
    private bool _hadSession;
    private bool _disposed;
    private string _clientId;
    private long _lastSent;
    private long _lastReceived;
    private volatile bool _isHandling;
    private ScramClient? _scram; // the last exchange: of the loop while it connects, under the lock after
    private TaskCompletionSource? _shown;

    private MqttClient(MqttClientOptions options, Func<MqttMessage, ValueTask> handler, TimeProvider time, Random random, ILogger logger)
    {
        _options = options;
        _handler = handler;
        _time = time;
        _logger = logger;
        _backoff = new Backoff(random, options.RetryFirst, options.RetryMost);
        _session = new ClientSession(options);
        _clientId = options.ClientId;
    }

    /// <summary>Connected, or not any more and why. Called on the client's own task, which waits for it.</summary>
    public event Action<MqttClientState>? Changed;

    public bool IsConnected
    {
        get
        {
            lock (_gate)
                return _isConnected;
        }
    }

    /// <summary>The client identifier; the server's choice where the options have none, once connected.</summary>
    public string ClientId => _clientId;

    /// <summary>Messages dropped because the queue was full.</summary>
    public long DroppedCount
    {
        get
        {
            lock (_gate)
                return _session.DroppedCount;
        }
    }

    /// <summary>Messages that wait or are not acknowledged.</summary>
    public int PendingCount
    {
        get
        {
            lock (_gate)
                return _session.Waiting + _session.InFlight;
        }
    }

    /// <summary>Begins to connect, and goes on until disposed.</summary>
    /// <exception cref="ArgumentException">An option cannot be used.</exception>
    public static MqttClient Start(MqttClientOptions options, Func<MqttMessage, ValueTask> handler, TimeProvider time, Random random, ILoggerFactory loggers)
    {
        options.Validate();
        var client = new MqttClient(options, handler, time, random, loggers.CreateLogger<MqttClient>());
        client._loop = Task.Run(client.RunAsync);
        return client;
    }

    /// <summary>Completes when there is a connection.</summary>
    public Task WaitConnectedAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
            return _isConnected ? Task.CompletedTask : _connected.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Queues a message. Completes when it is written (QoS 0) or acknowledged (1 and 2), over reconnects too. Cancelling stops the wait, not the message.</summary>
    /// <returns>The server's reason code: success, or that nobody subscribes.</returns>
    /// <exception cref="ArgumentException">The topic is none, or a property is too long.</exception>
    /// <exception cref="MqttClientException">The server refused it, the queue was full, or the client was disposed.</exception>
    public Task<MqttReasonCode> PublishAsync(MqttMessage message, CancellationToken cancellationToken = default)
    {
        if (MqttTopic.ProblemOfName(message.Topic) is { } problem)
            throw new ArgumentException(problem, nameof(message));
        var forwarded = new MqttWriter();
        if (_options.Version == MqttVersion.V5)
        {
            MqttPropertyCodec.WriteBody(
                forwarded, message.Properties with { MessageExpiryInterval = null, TopicAlias = null, SubscriptionIdentifiers = [], WillDelayInterval = null });
        }

        var queued = new OutMessage(message, Encoding.UTF8.GetBytes(message.Topic), forwarded.Written.ToArray());
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _session.Publish(queued);
        }

        _toWrite.Writer.TryWrite(true);
        return queued.Done.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Subscribes, and does so again on every connection without session. Completes with the server's answer; while there is no connection, when there is one.</summary>
    /// <param name="identifier">The subscription identifier of version 5.0; 0: none.</param>
    /// <exception cref="ArgumentException">The filter is none.</exception>
    /// <exception cref="MqttClientException">The server refused it; it is not tried again.</exception>
    public async Task<MqttQos> SubscribeAsync(MqttTopicFilter filter, uint identifier = 0, CancellationToken cancellationToken = default)
    {
        if (MqttTopic.ProblemOfFilter(filter.Filter) is { } problem)
            throw new ArgumentException(problem, nameof(filter));
        lock (_gate)
            _subscriptions[filter.Filter] = (filter, identifier);
        while (true)
        {
            if (await RequestAsync(id => EncodeSubscribe(id, filter, identifier), cancellationToken) is not { } ack)
                continue;
            var code = ack.Codes[0];
            if ((byte)code < 0x80)
                return (MqttQos)code;
            lock (_gate)
                _subscriptions.Remove(filter.Filter);
            throw new MqttClientException($"the server refused the subscription to '{filter.Filter}': {ack.Properties.ReasonString ?? code.ToString()}", code);
        }
    }

    /// <summary>Ends a subscription.</summary>
    public async Task UnsubscribeAsync(string filter, CancellationToken cancellationToken = default)
    {
        lock (_gate)
            _subscriptions.Remove(filter);
        MqttSubAck? ack = null;
        while (ack is null)
            ack = await RequestAsync(id => MqttEncoder.Unsubscribe(new MqttUnsubscribe(id, [filter], MqttProperties.None), _options.Version), cancellationToken);
    }

    /// <summary>Says goodbye to the server; its will is not published. Calls that wait fail.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
        }

        await _stop.CancelAsync();
        await _loop;
        lock (_gate)
        {
            _session.FailAll(new MqttClientException("the client was disposed"));
            _connected.TrySetCanceled();
        }

        _stop.Dispose();
    }

    private byte[] EncodeSubscribe(ushort id, MqttTopicFilter filter, uint identifier)
        => MqttEncoder.Subscribe(
            new MqttSubscribe(id, [filter], identifier == 0 ? MqttProperties.None : new MqttProperties { SubscriptionIdentifiers = [identifier] }), _options.Version);

    // Null: the connection ended before the answer.
    private async Task<MqttSubAck?> RequestAsync(Func<ushort, byte[]> encode, CancellationToken cancellationToken)
    {
        while (true)
        {
            await WaitConnectedAsync(cancellationToken);
            var done = new TaskCompletionSource<MqttSubAck?>(TaskCreationOptions.RunContinuationsAsynchronously);
            lock (_gate)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                if (!_isConnected)
                    continue;
                _session.Request(encode, done.SetResult);
            }

            _toWrite.Writer.TryWrite(true);
            return await done.Task.WaitAsync(cancellationToken);
        }
    }

    private async Task RunAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            var reason = await TalkAsync();
            lock (_gate)
            {
                if (_isConnected)
                    _connected = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                _isConnected = false;
                _session.Disconnected();
                _shown?.TrySetException(new MqttClientException($"the connection ended: {reason}", MqttReasonCode.NotAuthorized));
                _shown = null;
            }

            Changed?.Invoke(new MqttClientState(false, false, reason));
            if (_stop.IsCancellationRequested)
                return;
            var delay = _backoff.Next();
            ClientLog.Ended(_logger, _options.ToString(), reason, (long)delay.TotalMilliseconds);
            await Task.Delay(delay, _time, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    // One connection, from TCP to its end; why it ended.
    private async Task<string> TalkAsync()
    {
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        Stream? stream = null;
        try
        {
            MqttConnAck ack;
            var reader = new PacketReader(_options);
            using (var deadline = new CancellationTokenSource(_options.ConnectTimeout, _time))
            using (var limit = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, _stop.Token))
            {
                try
                {
                    await socket.ConnectAsync(_options.Host, _options.Port, limit.Token);
                    stream = new NetworkStream(socket, ownsSocket: false);
                    if (_options.Tls is { } tls)
                    {
                        var ssl = new SslStream(stream);
                        stream = ssl;
                        await ssl.AuthenticateAsClientAsync(tls, limit.Token);
                    }

                    _scram = _options.IsScram ? NewScram() : null;
                    await stream.WriteAsync(EncodeConnect(), limit.Token);
                    ack = await ReadConnAckAsync(stream, reader, limit.Token);
                }
                catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
                {
                    return $"no CONNACK within {_options.ConnectTimeout.TotalSeconds:0.#} s";
                }
            }

            if (ack.Code != MqttReasonCode.Success)
                return $"the server refused the connection: {Explain(ack)}";
            return await ServeAsync(stream, reader, ack);
        }
        catch (OperationCanceledException)
        {
            return "the client stops";
        }
        catch (Exception e) when (e is SocketException or IOException or AuthenticationException or ObjectDisposedException or MqttProtocolException)
        {
            return e.Message;
        }
        finally
        {
            if (stream is not null)
                await stream.DisposeAsync();
        }
    }

    private static string Explain(MqttConnAck ack) => ack.Properties.ReasonString ?? ((byte)ack.Code switch
    {
        1 => "it does not speak this version",
        2 => "it does not take the client identifier",
        3 => "it is not available",
        4 => "the user name or password is wrong",
        5 => "not authorized",
        _ => ack.Code.ToString(),
    });

    private bool IsCleanStart => (_options.CleanStart && !_hadSession) || (_options.Version == MqttVersion.V311 && _options.SessionExpirySeconds == 0);

    private byte[] EncodeConnect() => MqttEncoder.Connect(new MqttConnect
    {
        Version = _options.Version,
        ClientId = _clientId,
        CleanStart = IsCleanStart,
        KeepAliveSeconds = _options.KeepAliveSeconds,
        Will = _options.Will,
        UserName = _options.UserName,
        Password = _options.IsScram ? null : _options.Password,
        Properties = new MqttProperties
        {
            SessionExpiryInterval = _options.SessionExpirySeconds,
            ReceiveMaximum = _options.ReceiveMaximum,
            MaximumPacketSize = _options.PacketSizeMax,
            TopicAliasMaximum = _options.TopicAliasMaximum,
            AuthenticationMethod = _scram is null ? null : Scram.Method,
            AuthenticationData = _scram is null ? null : (ReadOnlyMemory<byte>?)_scram.First(),
        },
    });

    private async Task<MqttConnAck> ReadConnAckAsync(Stream stream, PacketReader reader, CancellationToken cancellationToken)
    {
        while (true)
        {
            if (reader.TryTake(out var frame))
            {
                if (frame.Type == MqttPacketType.Auth && _scram is not null)
                {
                    await stream.WriteAsync(Continue(_scram, MqttDecoder.Disconnect(frame.Type, reader.Body(frame), _options.Version)), cancellationToken);
                    continue;
                }

                if (frame.Type != MqttPacketType.ConnAck)
                    throw new MqttProtocolException(MqttReasonCode.ProtocolError, $"the server's first packet is {frame.Type}, not CONNACK [MQTT-3.2.0-1]");
                var ack = MqttDecoder.ConnAck(reader.Body(frame), _options.Version);
                if (ack.SessionPresent && IsCleanStart)
                    throw new MqttProtocolException(MqttReasonCode.ProtocolError, "CONNACK: session present, after a CONNECT that asked for a new session [MQTT-3.2.2-4]");
                if (ack.Code == MqttReasonCode.Success && _scram is not null && !_scram.IsServer((ack.Properties.AuthenticationData ?? default).Span))
                    throw new MqttProtocolException(MqttReasonCode.NotAuthorized, "the server did not show that it knows the password (RFC 5802, 3)");
                return ack;
            }

            if (await reader.FillAsync(stream, cancellationToken) == 0)
                throw new IOException("the server closed the connection without CONNACK");
        }
    }
}
