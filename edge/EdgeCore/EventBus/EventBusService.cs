using System.Diagnostics.Metrics;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Unicode;
using System.Threading.Channels;
using Edge.Common.Configuration;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.DeviceTwin;
using Edge.Core.EdgeHub;
using Edge.Core.ServiceBus;
using Edge.Protocol.Grpc;
using Edge.Protocol.Messages;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EventBus;

/// <summary>Applications at this edge on MQTT: the embedded broker, an external one, or both. What they say of devices goes to the device twin, what they upload to the cloud's queue,
/// and what the twin publishes to them.</summary>
public sealed class EventBusService : IEdgeModule
{
    // What waits to be published. An application that is slow has the broker's own bound; this one fills only while an external broker is away.
    private const int WaitingMax = 4096;

    // Messages of the cloud's router that wait to be worked on.
    private const int CommandsMax = 1024;

    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);
    private static readonly Meter s_meter = new("Edge.Core.EventBus");
    private static readonly Counter<long> s_dropped = s_meter.CreateCounter<long>("edge_eventbus_dropped", description: "Messages for applications that were dropped");
    private static readonly Counter<long> s_refused = s_meter.CreateCounter<long>("edge_eventbus_uploads_refused", description: "Uploads that were refused since the durable queue is full");
    private static readonly Counter<long> s_notText = s_meter.CreateCounter<long>("edge_eventbus_uploads_not_text", description: "Uploads with bytes that are no UTF-8: refused, or with U+FFFD in their place");

    private readonly EventBusOptions _options;
    private readonly EdgeServices _services;
    private readonly TwinService? _twins;
    private readonly ILogger _log;
    private readonly Channel<MqttMessage> _waiting;
    private readonly RuleTopics _rules;

    // Wait, with TryWrite: a full queue is told to the cloud.
    private readonly Channel<Message> _commands = Channel.CreateBounded<Message>(new BoundedChannelOptions(CommandsMax) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });
    private long _droppedCount;
    private long _refusedCount;
    private long _notTextCount;

    /// <param name="twins">The device twin; null when it is off.</param>
    public EventBusService(EdgeServices services, TwinService? twins)
    {
        _options = services.Options.EventBus;
        _services = services;
        _twins = twins;
        _log = services.Loggers.CreateLogger("eventbus");
        _waiting = Channel.CreateBounded<MqttMessage>(new BoundedChannelOptions(WaitingMax) { SingleReader = true, FullMode = BoundedChannelFullMode.DropOldest }, OnDropped);
        _rules = new RuleTopics(services.Meta, _log);
        if (twins is not null)
            twins.Publish = (topic, payload) => _waiting.Writer.TryWrite(new MqttMessage(topic, payload, (MqttQos)_options.Qos, _options.Retain));
    }

    public string Name => "eventbus";

    /// <summary>Messages for applications that were dropped since the start.</summary>
    public long DroppedCount => Interlocked.Read(ref _droppedCount);

    /// <summary>Where the embedded broker listens; null without one, or before it does.</summary>
    public System.Net.IPEndPoint? EndPoint { get; private set; }

    /// <summary>Where it listens with TLS; null where it does not.</summary>
    public System.Net.IPEndPoint? TlsEndPoint { get; private set; }

    /// <summary>Where it listens for WebSockets; null where it does not.</summary>
    public System.Net.IPEndPoint? WebSocketEndPoint { get; private set; }

    /// <summary>Where it listens for WebSockets with TLS; null where it does not.</summary>
    public System.Net.IPEndPoint? WebSocketTlsEndPoint { get; private set; }

    /// <summary>Called when <see cref="EndPoint"/> is known.</summary>
    public Action? Listening { get; set; }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await using var broker = _options.HasInternal ? await StartBrokerAsync(stop.Token) : null;
        MqttClient? client = null;
        var commands = Task.CompletedTask;
        try
        {
            if (broker is not null)
            {
                var at = broker.EndPoints.GetEnumerator(); // in the order of Listeners
                System.Net.IPEndPoint? Next(System.Net.IPEndPoint? wanted) => wanted is not null && at.MoveNext() ? at.Current : null;
                EndPoint = Next(_options.Internal);
                TlsEndPoint = Next(_options.InternalTls);
                WebSocketEndPoint = Next(_options.InternalWebSocket);
                WebSocketTlsEndPoint = Next(_options.InternalWebSocketTls);
                EventBusLog.Listening(_log, string.Join(", ", broker.EndPoints));
                Listening?.Invoke();
            }

            if (_options.HasExternal)
                client = StartClient(stop.Token);
            _rules.Start(broker, client, (message, canRefuse) => UploadAsync(message, canRefuse, stop.Token), stop.Token);
            commands = ServeRulesAsync(stop.Token);
            _services.Uplink.LinkChanged += AnnounceLink;
            if (_services.Uplink.IsConnected)
                AnnounceLink(true);
            await foreach (var message in _waiting.Reader.ReadAllAsync(stop.Token))
                await PublishAsync(broker, client, message, stop.Token);
        }
        finally
        {
            _services.Uplink.LinkChanged -= AnnounceLink;
            await stop.CancelAsync();
            await commands;
            await _rules.StopAsync();
            if (client is not null)
                await client.DisposeAsync();
        }
    }

    /// <summary>Takes a message of the cloud's router (kubeedge-wire §6). False: too many wait. Never waits.</summary>
    internal bool TryTake(Message message) => _commands.Writer.TryWrite(message);

    private async Task ApplyRuleAsync(Message message, CancellationToken cancellationToken)
    {
        try
        {
            await _rules.ApplyAsync(message, cancellationToken);
        }
        catch (Exception e) when (e is not OutOfMemoryException && !cancellationToken.IsCancellationRequested)
        {
            // One that cannot be taken must not end the others.
            EventBusLog.BadRuleTopic(_log, message.Resource, e.Message);
        }
    }

    private async Task ServeRulesAsync(CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var message in _commands.Reader.ReadAllAsync(cancellationToken))
            {
                if (message.Operation != Operations.Publish)
                {
                    await ApplyRuleAsync(message, cancellationToken);
                    continue;
                }

                var problem = MqttTopic.ProblemOfName(message.Resource);
                if (problem is null)
                    _waiting.Writer.TryWrite(new MqttMessage(message.Resource, MessageCodec.Unwrap(message.Content), (MqttQos)_options.Qos, _options.Retain));
                await _services.Answer(
                    problem is null ? RuleAnswers.Of(_services.Time, message, 200, "message delivered") : RuleAnswers.Of(_services.Time, message, 400, $"topic '{message.Resource}': {problem}"), cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private void OnDropped(MqttMessage message)
    {
        s_dropped.Add(1);
        EventBusLog.Dropped(_log, message.Topic, WaitingMax, Interlocked.Increment(ref _droppedCount));
    }

    private void AnnounceLink(bool isConnected)
        => _waiting.Writer.TryWrite(new MqttMessage(
            EventBusTopics.Link(_services.Options.NodeName, isConnected), EventBusTopics.LinkPayload(_services.Time.GetUtcNow().ToUnixTimeMilliseconds()), (MqttQos)_options.Qos, _options.Retain));

    private async Task<MqttBroker> StartBrokerAsync(CancellationToken cancellationToken)
    {
        var listeners = Listeners();
        var path = Path.Combine(_services.Options.DataDirectory, "mqtt.db");
        Directory.CreateDirectory(_services.Options.DataDirectory);
        var store = SqliteMqttStore.Open(path, _services.Time);
        if (store.CorruptBackup is { } backup)
            EventBusLog.StoreReplaced(_log, path, backup);
        try
        {
            return MqttBroker.Start(
                _options.Broker with
                {
                    Listeners = listeners,
                    AllowAnonymous = _options.AllowAnonymous,
                    Users = _options.Users,
                    Acl = _options.Acl,
                    QueuedMessagesMax = _options.SessionQueueSize,
                    Takers = [.. EventBusTopics.Filters.Select(filter => new MqttTaker(filter, (message, canRefuse) => TakeAsync(message, canRefuse, cancellationToken)))],
                },
                store, _services.Time, new Random(_services.Random.Next()), _services.Loggers);
        }
        catch (Exception e)
        {
            // It is the broker's once that has started; until then nobody else closes it, and a busy port is tried again and again.
            await store.DisposeAsync();
            if (e is ArgumentException)
                throw new ConfigException([$"modules.eventBus: {e.Message}"]); // trying again would not help
            throw;
        }
    }

    private List<MqttListenerOptions> Listeners()
    {
        var listeners = new List<MqttListenerOptions> { new() { EndPoint = _options.Internal } };
        var tls = (_options.InternalTls ?? _options.InternalWebSocketTls) is null ? null : new BrokerTls(_options);
        if (_options.InternalTls is { } withTls)
            listeners.Add(new MqttListenerOptions { EndPoint = withTls, Tls = tls!.Current, CertificateIsUser = _options.ServerClientCaFile.Length > 0 });
        if (_options.InternalWebSocket is { } webSocket)
            listeners.Add(new MqttListenerOptions { EndPoint = webSocket, Kind = MqttListenerKind.WebSocket });
        if (_options.InternalWebSocketTls is { } secure)
            listeners.Add(new MqttListenerOptions { EndPoint = secure, Kind = MqttListenerKind.WebSocket, Tls = tls!.Current, CertificateIsUser = _options.ServerClientCaFile.Length > 0 });
        return listeners;
    }

    private MqttClient StartClient(CancellationToken cancellationToken)
    {
        var (host, port, isTls) = _options.External;
        var client = MqttClient.Start(
            new MqttClientOptions
            {
                Host = host,
                Port = port,
                Version = MqttVersion.V311,
                ClientId = _options.ClientId.Length > 0 ? _options.ClientId : $"hub-client-{_services.Options.NodeName}",
                UserName = _options.UserName.Length > 0 ? _options.UserName : null,
                Password = _options.Password.Length > 0 ? (ReadOnlyMemory<byte>?)Encoding.UTF8.GetBytes(_options.Password) : null,
                Tls = isTls ? Tls(host) : null,
                QueueMax = WaitingMax,
            },
            message => ReceiveAsync(message, cancellationToken), _services.Time, new Random(_services.Random.Next()), _services.Loggers);
        client.Changed += state =>
        {
            if (state.IsConnected)
                EventBusLog.Connected(_log, $"{host}:{port}");
            else
                EventBusLog.NotConnected(_log, $"{host}:{port}", state.Reason);
        };
        foreach (var filter in EventBusTopics.Filters)
            _ = SubscribeAsync(client, filter, cancellationToken); // it waits for the connection; what it throws it logs
        return client;
    }

    private async Task SubscribeAsync(MqttClient client, string filter, CancellationToken cancellationToken)
    {
        try
        {
            await client.SubscribeAsync(new MqttTopicFilter(filter, new MqttSubscriptionOptions(MqttQos.AtLeastOnce)), 0, cancellationToken);
        }
        catch (MqttClientException e)
        {
            EventBusLog.NotConnected(_log, client.ClientId, e.Message);
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
            // Stopping.
        }
    }

    // Stock: QoS 1 to an external broker whatever is configured, so that a short break loses nothing.
    private async Task PublishAsync(MqttBroker? broker, MqttClient? client, MqttMessage message, CancellationToken cancellationToken)
    {
        try
        {
            if (broker is not null)
                await broker.PublishAsync(message);
            if (client is not null)
                _ = ObserveAsync(client.PublishAsync(message with { Qos = MqttQos.AtLeastOnce, Retain = false }, cancellationToken), message.Topic); // bounded by the client's own queue
        }
        catch (ArgumentException e)
        {
            EventBusLog.NotPublished(_log, message.Topic, e.Message);
        }
    }

    private async Task ObserveAsync(Task publishing, string topic)
    {
        try
        {
            await publishing;
        }
        catch (MqttClientException e)
        {
            s_dropped.Add(1);
            Interlocked.Increment(ref _droppedCount);
            EventBusLog.NotPublished(_log, topic, e.Message);
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
            // Stopping.
        }
    }

    // Ends when what the message says is on disk: only then its publisher is told that it arrived.
    private async ValueTask<MqttReasonCode> TakeAsync(MqttMessage message, bool canRefuse, CancellationToken cancellationToken)
    {
        try
        {
            switch (EventBusTopics.RouteOf(message.Topic))
            {
                case EventBusRoute.Twin when _twins is not null:
                    await _twins.TakeAppMessageAsync(message.Topic, message.Payload, cancellationToken);
                    break;
                case EventBusRoute.Cloud:
                case EventBusRoute.None when _rules.Matches(message.Topic):
                    return await UploadAsync(message, canRefuse, cancellationToken);
            }

            return MqttReasonCode.Success;
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException or GrpcException && !cancellationToken.IsCancellationRequested)
        {
            EventBusLog.NotKept(_log, message.Topic, e.Message);
            return MqttReasonCode.ImplementationSpecificError;
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException or GrpcException)
        {
            // Stopping: nobody is told that it arrived, and who wants to be told sends it again.
            throw new OperationCanceledException(e.Message, e, cancellationToken);
        }
    }

    private async ValueTask<MqttReasonCode> UploadAsync(MqttMessage message, bool canRefuse, CancellationToken cancellationToken)
    {
        if (!Utf8.IsValid(message.Payload.Span))
        {
            // The cloud's message holds text. Who cannot hear no is served as KubeEdge serves everybody; if it were refused, it would send the same for ever.
            s_notText.Add(1);
            EventBusLog.NotText(_log, message.Topic, canRefuse ? "it is refused, and its publisher was told (0x99)" : "it goes up with U+FFFD in their place", Interlocked.Increment(ref _notTextCount));
            if (canRefuse)
                return MqttReasonCode.PayloadFormatInvalid;
        }

        try
        {
            if (!canRefuse)
            {
                // Nobody to tell no: where the queue is full the oldest upload makes room, with a counter.
                await _services.Uplink.PostAsync(Upload(message), cancellationToken);
                return MqttReasonCode.Success;
            }

            if (await _services.Uplink.TryPostAsync(Upload(message), cancellationToken))
                return MqttReasonCode.Success;
            s_refused.Add(1);
            EventBusLog.Refused(_log, message.Topic, Interlocked.Increment(ref _refusedCount));
            return MqttReasonCode.QuotaExceeded;
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException && !cancellationToken.IsCancellationRequested)
        {
            EventBusLog.NotKept(_log, message.Topic, e.Message);
            return MqttReasonCode.ImplementationSpecificError;
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException)
        {
            // Stopping: nobody is told that it arrived, and who wants to be told sends it again.
            throw new OperationCanceledException(e.Message, e, cancellationToken);
        }
    }

    // From an external broker, which waits for its acknowledgement: a disk that refuses is tried again.
    private async ValueTask ReceiveAsync(MqttMessage message, CancellationToken cancellationToken)
    {
        try
        {
            while ((byte)await TakeAsync(message, canRefuse: false, cancellationToken) >= 0x80)
                await Task.Delay(s_retry, _services.Time, cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    // The resource is the topic as it is: a stock cloud looks for its rules with it.
    private static UplinkEntry Upload(MqttMessage message) => new(
        $"user/{Guid.NewGuid():N}", UplinkPriority.User, UplinkRule.Every, Sources.Bus, Groups.User, Operations.Upload, message.Topic,
        MessageCodec.JsonString(Encoding.UTF8.GetString(message.Payload.Span)));

    private SslClientAuthenticationOptions Tls(string host)
    {
        var tls = new SslClientAuthenticationOptions { TargetHost = host };
        try
        {
            if (_options.TlsCaFile.Length > 0)
            {
                var chain = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
                chain.CustomTrustStore.ImportFromPemFile(_options.TlsCaFile);
                tls.CertificateChainPolicy = chain;
            }

            if (_options.TlsCertFile.Length > 0)
                tls.ClientCertificates = [X509Certificate2.CreateFromPemFile(_options.TlsCertFile, _options.TlsKeyFile)];
            return tls;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or System.Security.Cryptography.CryptographicException)
        {
            throw new ConfigException([$"modules.eventBus.tls: {e.Message}"]);
        }
    }
}
