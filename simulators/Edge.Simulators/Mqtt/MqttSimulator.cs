using System.Text;
using System.Threading.Channels;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Microsoft.Extensions.Logging;

namespace Edge.Simulators.Mqtt;

/// <summary>What a simulated device on MQTT is, and where.</summary>
/// <param name="Topic">Its own topic, e.g. <c>plant/oven1</c>; all others are below it.</param>
/// <param name="Interval">How often it publishes what it measures; a command is answered at once.</param>
public sealed record MqttSimulatorOptions(MqttAddress Broker, string Profile, string Topic, TimeSpan Interval)
{
    public string? UserName { get; init; }

    public ReadOnlyMemory<byte>? Password { get; init; }

    // Records print their members; this one holds a password.
    public override string ToString() => $"{Profile} at {Topic} on {Broker}";
}

/// <summary>A device on a real broker that measures, obeys commands, and says on <c>TOPIC/status</c> (retained, and by its will) whether it is <c>online</c> or <c>offline</c>. Stays connected, as
/// the client does. Without a connection it measures on and says nothing.</summary>
public sealed class MqttSimulator : IAsyncDisposable
{
    private readonly MqttSimulatorOptions _options;
    private readonly IMqttDevice _device;
    private readonly TimeProvider _time;
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite }); // "something to say": many are one
    private readonly MqttClient _client;
    private readonly Task _loop;
    private bool _isNew = true;

    private MqttSimulator(MqttSimulatorOptions options, IMqttDevice device, TimeProvider time, Random random, ILoggerFactory loggers)
    {
        (_options, _device, _time) = (options, device, time);
        _client = MqttClient.Start(
            new MqttClientOptions
            {
                Host = options.Broker.Host,
                Port = options.Broker.Port,
                Tls = options.Broker.IsTls ? new System.Net.Security.SslClientAuthenticationOptions { TargetHost = options.Broker.Host } : null,
                Version = MqttVersion.V311,
                UserName = options.UserName,
                Password = options.Password,
                Will = new MqttWill($"{options.Topic}/status", "offline"u8.ToArray(), MqttQos.AtLeastOnce, Retain: true),
            },
            OnCommand, time, random, loggers);
        _client.Changed += OnChanged;
        _loop = RunAsync();
    }

    /// <summary>Profiles that exist: <c>oven</c> speaks JSON, <c>room</c> plain text.</summary>
    public static IReadOnlyList<string> Profiles { get; } = ["oven", "room"];

    /// <summary>A command that was not carried out: topic and reason.</summary>
    public event Action<string, string>? Refused;

    /// <summary>Publishes until disposed.</summary>
    /// <exception cref="ArgumentException">There is no such profile, or the topic is none.</exception>
    public static MqttSimulator Start(MqttSimulatorOptions options, TimeProvider time, Random random, ILoggerFactory loggers)
    {
        if (MqttTopic.ProblemOfName(options.Topic) is { } problem)
            throw new ArgumentException($"the topic '{options.Topic}': {problem}");
        IMqttDevice device = options.Profile switch
        {
            "oven" => new Oven(random),
            "room" => new RoomSensor(random),
            _ => throw new ArgumentException($"there is no profile '{options.Profile}'; there are {string.Join(", ", Profiles)}"),
        };
        return new MqttSimulator(options, device, time, random, loggers);
    }

    /// <summary>Runs <paramref name="look"/> on the device while nothing moves it.</summary>
    internal T Look<T>(Func<IMqttDevice, T> look)
    {
        lock (_gate)
            return look(_device);
    }

    /// <summary>Says <c>offline</c> and goodbye.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        if (_client.IsConnected)
        {
            try
            {
                await _client.PublishAsync(Message("status", "offline", retain: true, MqttQos.AtLeastOnce)).WaitAsync(TimeSpan.FromSeconds(2), _time);
            }
            catch (Exception e) when (e is TimeoutException or MqttClientException or ObjectDisposedException)
            {
                // The broker went first: nobody is there to hear it.
            }
        }

        await _client.DisposeAsync();
        _stop.Dispose();
    }

    private void OnChanged(MqttClientState state)
    {
        if (!state.IsConnected)
            return;
        Volatile.Write(ref _isNew, true);
        _wake.Writer.TryWrite(true);
    }

    private ValueTask OnCommand(MqttMessage message)
    {
        string? refusal;
        lock (_gate)
            refusal = _device.Command(message.Topic[(_options.Topic.Length + 1)..], message.Payload);
        if (refusal is null)
            _wake.Writer.TryWrite(true);
        else
            Refused?.Invoke(message.Topic, refusal);
        return ValueTask.CompletedTask;
    }

    private async Task RunAsync()
    {
        try
        {
            foreach (var command in _device.Commands)
                await _client.SubscribeAsync(new MqttTopicFilter($"{_options.Topic}/{command}", new(MqttQos.AtLeastOnce)), 0, _stop.Token);
            var last = _time.GetTimestamp();
            while (true)
            {
                var now = _time.GetTimestamp();
                MqttValue[] values;
                lock (_gate)
                {
                    _device.Step(_time.GetElapsedTime(last, now).TotalSeconds);
                    values = [.. _device.Values()];
                }

                last = now;
                if (_client.IsConnected)
                    await PublishAsync(values);
                await WaitAsync();
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
            // Stopping.
        }
        catch (MqttClientException e)
        {
            Refused?.Invoke(_options.Topic, e.Message);
        }
    }

    private async Task PublishAsync(MqttValue[] values)
    {
        if (Interlocked.Exchange(ref _isNew, false))
            await _client.PublishAsync(Message("status", "online", retain: true, MqttQos.AtLeastOnce), _stop.Token);
        foreach (var value in values)
            await _client.PublishAsync(Message(value.Topic, value.Payload, value.Retain, MqttQos.AtMostOnce), _stop.Token);
    }

    private async Task WaitAsync()
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        var woken = _wake.Reader.ReadAsync(over.Token).AsTask();
        await Task.WhenAny(woken, Task.Delay(_options.Interval, _time, over.Token));
        await over.CancelAsync();
        await ((Task)woken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Token.ThrowIfCancellationRequested();
    }

    private MqttMessage Message(string topic, string payload, bool retain, MqttQos qos) => new($"{_options.Topic}/{topic}", Encoding.UTF8.GetBytes(payload), qos, retain);
}
