using System.Diagnostics;
using System.Text;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Devices.Mqtt;

/// <summary>One device behind a broker: keeps the newest payload of each property, or all that came since the last read where it has a history, and reads as soon as one arrives.</summary>
internal sealed class MqttDevice(MqttDeviceConfig config, MqttLinks links, TimeProvider time) : IDeviceConnection
{
    private static readonly TimeSpan s_within = TimeSpan.FromSeconds(5);
    private readonly Dictionary<string, Point> _points = new(StringComparer.Ordinal);
    private MqttLink? _link;
    private Action _wake = () => { };
    private bool _hasStatus;
    private string? _status; // what it said last of itself
    private bool _hasStarted;
    private long _heardMs;

    public void WhenArrived(Action wake) => _wake = wake;

    public IPropertyAccess Bind(PropertyInfo property)
    {
        var visitor = MqttVisitor.Read(property);
        var point = new Point(this, property, visitor);

        // A newer manifest of the property: what was heard on the same topic still counts, and nobody listens for the old one any more.
        if (_points.TryGetValue(property.Name, out var old))
        {
            old.IsReplaced = true;
            if (old.Visitor.Topic == visitor.Topic)
                point.Inherit(old);
        }

        _points[property.Name] = point;
        return point;
    }

    public async Task ConnectAsync(CancellationToken cancellationToken)
    {
        if (_link is null)
        {
            try
            {
                _link = links.Take(config.Broker);
            }
            catch (DeviceConfigException e)
            {
                // A file that is not there may come: a certificate that is still to be issued.
                throw new DeviceUnreachableException(e.Message, e);
            }

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
        // First what may fail for the whole device: what has come is taken only when nothing takes it away again.
        var link = Reached();
        for (var i = 0; i < properties.Count; i++)
        {
            try
            {
                await ((Point)properties[i]).SubscribeAsync(link, cancellationToken);
                readings[i] = default;
            }
            catch (DeviceRefusedException e)
            {
                readings[i] = new PropertyReading(null, e.Message);
            }
        }

        for (var i = 0; i < properties.Count; i++)
        {
            if (readings[i].Error is null or "")
                readings[i] = ((Point)properties[i]).Read();
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

    public bool TakeStarted() => Interlocked.Exchange(ref _hasStarted, false);

    private void OnChanged() => _wake();

    private void OnStatus(MqttMessage message)
    {
        if (!message.Retain)
            Volatile.Write(ref _heardMs, NowMs());
        var status = Encoding.UTF8.GetString(message.Payload.Span[..Math.Min(message.Payload.Length, 256)]).Trim();
        // A device that has said nothing yet is taken to be there. Its first word, said just now and not kept by the broker, shows that it may not have been: then nobody took the commands.
        if (Volatile.Read(ref _status) is null && !message.Retain && status == config.OnlinePayload)
            Volatile.Write(ref _hasStarted, true);
        Volatile.Write(ref _status, status);
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
        private readonly SampleQueue<(ReadOnlyMemory<byte> Payload, long AtMs)>? _arrived = property.KeepsHistory ? new() : null;
        private ReadOnlyMemory<byte>? _payload;
        private int _dropped;
        private bool _hasArrived;

        public MqttVisitor Visitor => visitor;

        public bool IsSubscribed { get; private set; }

        public bool IsReplaced { get; set; }

        public bool HasArrived => Volatile.Read(ref _hasArrived);

        public void OnMessage(MqttMessage message)
        {
            if (IsReplaced)
                return;
            var (payload, now) = (message.Payload.ToArray(), device.NowMs());

            // What the broker keeps was said some time: it is no sign of life, and no new sample where it is the newest that is known.
            if (!message.Retain)
                Volatile.Write(ref device._heardMs, now);
            lock (_gate)
            {
                if (_arrived is not null && !(message.Retain && _payload is { } known && known.Span.SequenceEqual(payload)))
                    _dropped += _arrived.Add((payload, now), payload.Length);
                _payload = payload;
            }

            Volatile.Write(ref _hasArrived, true);
            device._wake();
        }

        // The old one hears nothing any more.
        public void Inherit(Point old)
        {
            lock (old._gate)
            {
                lock (_gate)
                {
                    _payload = old._payload;
                    foreach (var (payload, atMs) in old._arrived?.TakeAll() ?? [])
                        _dropped += _arrived?.Add((payload, atMs), payload.Length) ?? 0;
                }
            }
        }

        public async Task SubscribeAsync(MqttLink link, CancellationToken cancellationToken)
        {
            if (IsSubscribed || visitor.Topic.Length == 0)
                return;
            await link.SubscribeAsync(visitor.Topic, visitor.Qos, OnMessage, cancellationToken);
            IsSubscribed = true;
        }

        public PropertyReading Read()
        {
            if (visitor.Topic.Length == 0)
                return new PropertyReading(null, "the property has no topic: it is only written");
            Volatile.Write(ref _hasArrived, false);
            ReadOnlyMemory<byte>? payload;
            IReadOnlyList<(ReadOnlyMemory<byte> Payload, long AtMs)>? arrived;
            int dropped;
            lock (_gate)
            {
                (payload, arrived, dropped) = (_payload, _arrived?.TakeAll(), _dropped);
                _dropped = 0;
            }

            if (payload is not { } newest)
                return new PropertyReading(null, $"nothing has come on {visitor.Topic} yet");
            return ValueOf(newest) with
            {
                Arrived = arrived?.Select(one => SampleOf(ValueOf(one.Payload), one.AtMs)).ToList(),
                Dropped = dropped,
            };
        }

        public Task<string> ReadAsync(CancellationToken cancellationToken) => throw new UnreachableException("the device reads its properties together");

        private static PropertySample SampleOf(PropertyReading reading, long atMs) => new(reading.Value, reading.Error, atMs);

        private PropertyReading ValueOf(ReadOnlyMemory<byte> payload)
        {
            try
            {
                return new PropertyReading(visitor.ValueOf(payload));
            }
            catch (DeviceRefusedException e)
            {
                return new PropertyReading(null, e.Message);
            }
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
