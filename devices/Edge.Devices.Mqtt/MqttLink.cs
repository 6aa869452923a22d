using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Microsoft.Extensions.Logging;

namespace Edge.Devices.Mqtt;

/// <summary>One connection to a broker, shared by the devices behind it: each message goes to all whose filter fits. Safe for many threads.</summary>
internal sealed class MqttLink : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, List<Taker>> _takers = new(StringComparer.Ordinal);
    private readonly MqttClient _client;
    private string _reason = "not connected yet";

    public MqttLink(MqttBrokerKey key, TimeProvider time, Random random, ILoggerFactory loggers)
    {
        Key = key;
        _client = MqttClient.Start(
            new MqttClientOptions
            {
                Host = key.Address.Host,
                Port = key.Address.Port,
                Version = key.Version,
                ClientId = key.ClientId,
                UserName = key.UserName.Length > 0 ? key.UserName : null,
                Password = key.UserName.Length > 0 && key.PasswordFile.Length > 0 ? (ReadOnlyMemory<byte>?)Password(key.PasswordFile) : null,
                Tls = key.Address.IsTls ? Tls(key) : null,
            },
            Dispatch, time, random, loggers);
        _client.Changed += OnChanged;
    }

    public MqttBrokerKey Key { get; }

    /// <summary>Devices that use it; its owner's to count.</summary>
    public int Users { get; set; }

    public bool IsConnected => _client.IsConnected;

    /// <summary>Why there is no connection.</summary>
    public string Reason => Volatile.Read(ref _reason);

    /// <summary>Called when a connection is there or gone, from any thread.</summary>
    public event Action? Changed;

    /// <exception cref="DeviceUnreachableException">The broker cannot be reached within the time.</exception>
    public async Task WaitConnectedAsync(TimeSpan within, TimeProvider time, CancellationToken cancellationToken)
    {
        try
        {
            await _client.WaitConnectedAsync(cancellationToken).WaitAsync(within, time, cancellationToken);
        }
        catch (TimeoutException e)
        {
            throw new DeviceUnreachableException($"the broker {Key.Address} is not reached: {Reason}", e);
        }
    }

    /// <summary>Messages of the filter from now on, with what the broker retains. The subscription's QoS is the highest that any device wants of this filter.</summary>
    /// <exception cref="DeviceRefusedException">The broker refuses it.</exception>
    public async Task SubscribeAsync(string filter, MqttQos qos, Action<MqttMessage> handler, CancellationToken cancellationToken)
    {
        var taker = new Taker(handler, qos);
        lock (_gate)
        {
            if (!_takers.TryGetValue(filter, out var list))
                _takers[filter] = list = [];
            list.Add(taker);
        }

        try
        {
            // Also where another device has it: a broker sends what it retains anew only when asked. Again when somebody wanted more meanwhile, since the broker may have seen that first.
            for (var asked = QosOf(filter, qos); ; asked = QosOf(filter, qos))
            {
                await _client.SubscribeAsync(new MqttTopicFilter(filter, new MqttSubscriptionOptions(asked)), 0, cancellationToken);
                if (QosOf(filter, qos) <= asked)
                    return;
            }
        }
        catch (Exception e)
        {
            // Not subscribed, whatever the reason: who tries again must not be called twice.
            Remove(filter, handler);
            if (e is MqttClientException)
                throw new DeviceRefusedException(e.Message, e);
            throw;
        }
    }

    public async Task UnsubscribeAsync(string filter, Action<MqttMessage> handler, CancellationToken cancellationToken)
    {
        if (Remove(filter, handler) && _client.IsConnected)
            await _client.UnsubscribeAsync(filter, cancellationToken);
    }

    /// <exception cref="DeviceUnreachableException">There is no connection.</exception>
    /// <exception cref="DeviceRefusedException">The broker refuses it.</exception>
    public async Task PublishAsync(MqttMessage message, TimeSpan within, TimeProvider time, CancellationToken cancellationToken)
    {
        if (!_client.IsConnected)
            throw new DeviceUnreachableException($"the broker {Key.Address} is not reached: {Reason}");
        try
        {
            await _client.PublishAsync(message, cancellationToken).WaitAsync(within, time, cancellationToken);
        }
        catch (MqttClientException e)
        {
            throw new DeviceRefusedException(e.Message, e);
        }
        catch (TimeoutException e)
        {
            throw new DeviceUnreachableException($"the broker {Key.Address} did not acknowledge a command within {within.TotalSeconds:0.#} s", e);
        }
    }

    public ValueTask DisposeAsync() => _client.DisposeAsync();

    private void OnChanged(MqttClientState state)
    {
        Volatile.Write(ref _reason, state.IsConnected ? "" : state.Reason);

        // What the broker retains may have changed meanwhile.
        lock (_gate)
        {
            foreach (var taker in _takers.Values.SelectMany(list => list))
                taker.Heard.Clear();
        }

        Changed?.Invoke();
    }

    // True: nobody wants the filter any more.
    private bool Remove(string filter, Action<MqttMessage> handler)
    {
        lock (_gate)
        {
            if (!_takers.TryGetValue(filter, out var list) || list.RemoveAll(taker => taker.Handler == handler) == 0 || list.Count > 0)
                return false;
            return _takers.Remove(filter);
        }
    }

    private MqttQos QosOf(string filter, MqttQos least)
    {
        lock (_gate)
            return _takers.TryGetValue(filter, out var list) ? list.Select(taker => taker.Qos).Append(least).Max() : least;
    }

    private ValueTask Dispatch(MqttMessage message)
    {
        List<Action<MqttMessage>>? handlers = null;
        lock (_gate)
        {
            foreach (var (filter, takers) in _takers)
            {
                if (MqttTopic.Matches(filter, message.Topic))
                    (handlers ??= []).AddRange(takers.Where(taker => taker.Wants(message)).Select(taker => taker.Handler));
            }
        }

        foreach (var handler in handlers ?? [])
            handler(message);
        return ValueTask.CompletedTask;
    }

    // One subscriber of a filter. Guarded by the gate.
    private sealed record Taker(Action<MqttMessage> Handler, MqttQos Qos)
    {
        // Of a filter with wildcards so many topics are told apart; a topic beyond them takes repeats as news.
        private const int HeardMax = 1024;

        /// <summary>Topics on which it heard something since it subscribed, or since the connection came.</summary>
        public HashSet<string> Heard { get; } = new(StringComparer.Ordinal);

        /// <summary>Not a retained message on a topic that it has heard: the broker sent that one because another device subscribed, and it may be older than what was heard since.</summary>
        public bool Wants(MqttMessage message)
        {
            var isFirst = Heard.Count < HeardMax ? Heard.Add(message.Topic) : !Heard.Contains(message.Topic);
            return isFirst || !message.Retain;
        }
    }

    private static byte[] Password(string file)
    {
        try
        {
            return Encoding.UTF8.GetBytes(File.ReadAllText(file).TrimEnd('\r', '\n'));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DeviceConfigException($"protocol.configData.passwordFile: {e.Message}");
        }
    }

    private static SslClientAuthenticationOptions Tls(MqttBrokerKey key)
    {
        var tls = new SslClientAuthenticationOptions { TargetHost = key.Address.Host };
        var read = "caFile";
        try
        {
            if (key.CaFile.Length > 0)
            {
                tls.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
                tls.CertificateChainPolicy.CustomTrustStore.ImportFromPemFile(key.CaFile);
            }

            read = "certFile";
            if (key.CertFile.Length > 0)
                tls.ClientCertificates = [X509Certificate2.CreateFromPemFile(key.CertFile, key.KeyFile)];
            return tls;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new DeviceConfigException($"protocol.configData.{read}: {e.Message}");
        }
    }
}

/// <summary>The links of a mapper by broker; one goes with its last device. Safe for many threads.</summary>
internal sealed class MqttLinks(TimeProvider time, Random random, ILoggerFactory loggers)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<MqttBrokerKey, MqttLink> _links = [];

    /// <exception cref="DeviceConfigException">A file cannot be read.</exception>
    public MqttLink Take(MqttBrokerKey key)
    {
        lock (_gate)
        {
            if (!_links.TryGetValue(key, out var link))
                _links[key] = link = new MqttLink(key, time, new Random(random.Next()), loggers);
            link.Users++;
            return link;
        }
    }

    public async ValueTask ReturnAsync(MqttLink link)
    {
        lock (_gate)
        {
            if (--link.Users > 0)
                return;
            _links.Remove(link.Key);
        }

        await link.DisposeAsync();
    }
}
