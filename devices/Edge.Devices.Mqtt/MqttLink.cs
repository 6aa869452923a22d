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
    private readonly Dictionary<string, List<Action<MqttMessage>>> _handlers = new(StringComparer.Ordinal);
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

    /// <summary>Messages of the filter from now on; the broker is asked once however many want it.</summary>
    /// <exception cref="DeviceRefusedException">The broker refuses it.</exception>
    public async Task SubscribeAsync(string filter, MqttQos qos, Action<MqttMessage> handler, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            if (!_handlers.TryGetValue(filter, out var list))
                _handlers[filter] = list = [];
            list.Add(handler);
        }

        try
        {
            // Again even where another device has it: a broker sends what it retains anew.
            await _client.SubscribeAsync(new MqttTopicFilter(filter, new MqttSubscriptionOptions(qos)), 0, cancellationToken);
        }
        catch (MqttClientException e)
        {
            await UnsubscribeAsync(filter, handler, cancellationToken);
            throw new DeviceRefusedException(e.Message, e);
        }
    }

    public async Task UnsubscribeAsync(string filter, Action<MqttMessage> handler, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            if (!_handlers.TryGetValue(filter, out var list) || !list.Remove(handler) || list.Count > 0)
                return;
            _handlers.Remove(filter);
        }

        if (_client.IsConnected)
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
        Changed?.Invoke();
    }

    private ValueTask Dispatch(MqttMessage message)
    {
        List<Action<MqttMessage>>? takers = null;
        lock (_gate)
        {
            foreach (var (filter, handlers) in _handlers)
            {
                if (MqttTopic.Matches(filter, message.Topic))
                    (takers ??= []).AddRange(handlers);
            }
        }

        foreach (var taker in takers ?? [])
            taker(message);
        return ValueTask.CompletedTask;
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
        if (key.CaFile.Length == 0)
            return tls;
        try
        {
            tls.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            tls.CertificateChainPolicy.CustomTrustStore.ImportFromPemFile(key.CaFile);
            return tls;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new DeviceConfigException($"protocol.configData.caFile: {e.Message}");
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
