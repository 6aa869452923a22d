using System.Text;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Devices.Mqtt;

/// <summary>One device behind a broker: keeps the newest payload of each property, and reads as soon as one arrives.</summary>
internal sealed class MqttDevice(MqttDeviceConfig config, MqttLinks links, TimeProvider time) : IDeviceConnection
{
    private static readonly TimeSpan s_within = TimeSpan.FromSeconds(5);
    private readonly Dictionary<string, Point> _points = new(StringComparer.Ordinal);
    private MqttLink? _link;
    private Action _wake = () => { };
    private bool _hasStatus;
    private string? _status; // what it said last of itself
    private long _heardMs;

    public void WhenArrived(Action wake) => _wake = wake;

    public IPropertyAccess Bind(PropertyInfo property)
    {
        var visitor = MqttVisitor.Read(property);
        var point = new Point(this, property, visitor);

        // A newer manifest of the property: what was heard on the same topic still counts, and nobody listens for the old one any more.
        if (_points.TryGetValue(property.Name, out var old))
        {
            if (old.Visitor.Topic == visitor.Topic)
                point.Payload = old.Payload;
            old.IsReplaced = true;
        }

        _points[property.Name] = point;
        return point;
    }

    public async Task ConnectAsync(CancellationToken cancellationToken)
    {
        if (_link is null)
        {
            _link = links.Take(config.Broker);
            _link.Changed += OnChanged;
        }

        await _link.WaitConnectedAsync(s_within, time, cancellationToken);
        if (Volatile.Read(ref _heardMs) == 0)
            Volatile.Write(ref _heardMs, NowMs());
        if (config.StatusTopic.Length > 0 && !_hasStatus)
        {
            try
            {
                await _link.SubscribeAsync(config.StatusTopic, MqttQos.AtLeastOnce, OnStatus, cancellationToken);
            }
            catch (DeviceRefusedException e)
            {
                throw new DeviceUnreachableException(e.Message, e);
            }

            _hasStatus = true;
        }

        foreach (var point in _points.Values)
        {
            try
            {
                await point.SubscribeAsync(_link, cancellationToken);
            }
            catch (DeviceRefusedException)
            {
                // Reading it asks again, and then it is that property's error.
            }
        }

        Reached(); // a device that said that it is away is away, though its broker is there
    }

    public async Task ReadAsync(IReadOnlyList<IPropertyAccess> properties, PropertyReading[] readings, CancellationToken cancellationToken)
    {
        for (var i = 0; i < properties.Count; i++)
        {
            try
            {
                readings[i] = new PropertyReading(await properties[i].ReadAsync(cancellationToken));
            }
            catch (DeviceRefusedException e)
            {
                readings[i] = new PropertyReading(null, e.Message);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_link is not { } link)
            return;
        link.Changed -= OnChanged;
        using var deadline = new CancellationTokenSource(s_within, time);
        try
        {
            foreach (var point in _points.Values.Where(point => point.IsSubscribed))
                await link.UnsubscribeAsync(point.Visitor.Topic, point.OnMessage, deadline.Token);
            if (_hasStatus)
                await link.UnsubscribeAsync(config.StatusTopic, OnStatus, deadline.Token);
        }
        catch (OperationCanceledException)
        {
            // The connection is gone; its end is the subscriptions'.
        }
        finally
        {
            await links.ReturnAsync(link);
        }
    }

    private void OnChanged() => _wake();

    private void OnStatus(MqttMessage message)
    {
        Volatile.Write(ref _heardMs, NowMs());
        Volatile.Write(ref _status, Encoding.UTF8.GetString(message.Payload.Span[..Math.Min(message.Payload.Length, 256)]).Trim());
        _wake();
    }

    // Where the device cannot be there, reading anything of it says so.
    private MqttLink Reached()
    {
        if (_link is not { IsConnected: true } link)
            throw new DeviceUnreachableException($"the broker {config.Broker.Address} is not reached: {_link?.Reason}");
        if (Volatile.Read(ref _status) is { } status && status != config.OnlinePayload)
            throw new DeviceUnreachableException($"the device says '{status}' on {config.StatusTopic}");
        if (config.SilenceMs > 0 && NowMs() - Volatile.Read(ref _heardMs) is var silence && silence > config.SilenceMs)
            throw new DeviceUnreachableException($"nothing came on its topics for {silence / 1000.0:0.#} s");
        return link;
    }

    private TimeProvider Clock => time;

    private long NowMs() => time.GetUtcNow().ToUnixTimeMilliseconds();

    private sealed class Point(MqttDevice device, PropertyInfo property, MqttVisitor visitor) : IPropertyAccess
    {
        private readonly Lock _gate = new();
        private ReadOnlyMemory<byte>? _payload;
        private bool _hasArrived;

        public MqttVisitor Visitor => visitor;

        public bool IsSubscribed { get; private set; }

        public bool IsReplaced { get; set; }

        public bool HasArrived => Volatile.Read(ref _hasArrived);

        public ReadOnlyMemory<byte>? Payload
        {
            get
            {
                lock (_gate)
                    return _payload;
            }

            set
            {
                lock (_gate)
                    _payload = value;
            }
        }

        public void OnMessage(MqttMessage message)
        {
            if (IsReplaced)
                return;
            Payload = message.Payload.ToArray();
            Volatile.Write(ref device._heardMs, device.NowMs());
            Volatile.Write(ref _hasArrived, true);
            device._wake();
        }

        public async Task SubscribeAsync(MqttLink link, CancellationToken cancellationToken)
        {
            if (IsSubscribed || visitor.Topic.Length == 0)
                return;
            await link.SubscribeAsync(visitor.Topic, visitor.Qos, OnMessage, cancellationToken);
            IsSubscribed = true;
        }

        public async Task<string> ReadAsync(CancellationToken cancellationToken)
        {
            var link = device.Reached();
            if (visitor.Topic.Length == 0)
                throw new DeviceRefusedException("the property has no topic: it is only written");
            await SubscribeAsync(link, cancellationToken);
            Volatile.Write(ref _hasArrived, false);
            return visitor.ValueOf(Payload ?? throw new DeviceRefusedException($"nothing has come on {visitor.Topic} yet"));
        }

        public Task WriteAsync(string value, CancellationToken cancellationToken)
        {
            var link = device.Reached();
            if (visitor.CommandTopic.Length == 0)
                throw new DeviceRefusedException("visitors.configData.commandTopic is missing: the topic on which the device takes a desired value");
            return link.PublishAsync(new MqttMessage(visitor.CommandTopic, visitor.Command(value, property.Type), visitor.Qos, visitor.Retain), s_within, device.Clock, cancellationToken);
        }
    }
}
