using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Microsoft.Extensions.Logging;

namespace Edge.Devices.Push;

/// <summary>The queues of a mapper; properties with the same target share one. Safe for many threads.</summary>
public sealed class PushHub(TimeProvider time, Random random, ILogger log, string influxToken = "") : IAsyncDisposable
{
    /// <summary>Targets of one mapper; the properties of a further one are not pushed.</summary>
    public const int TargetsMax = 256;

    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(10);
    private readonly Lock _gate = new();
    private readonly Dictionary<string, PushQueue> _queues = new(StringComparer.Ordinal);

    /// <summary>The queues; a snapshot.</summary>
    public IReadOnlyList<PushQueue> Queues
    {
        get
        {
            lock (_gate)
                return [.. _queues.Values];
        }
    }

    /// <summary>The queues that a property's samples go to. A queue lives as long as the mapper: what it holds is sent though its property went.</summary>
    /// <exception cref="DeviceConfigException">The method cannot be used; says which key and what it must be.</exception>
    public IReadOnlyList<PushQueue> Open(PushMethod? method)
    {
        if (method is null)
            return [];
        var queues = new List<PushQueue>();
        if (method.Http is { } http)
            queues.Add(Share($"http {http}", () => new JsonTarget(HttpUri(http), http.Timeout > 0 ? TimeSpan.FromMilliseconds(Math.Min(http.Timeout, 600_000)) : s_timeout)));
        if (method.Otel is { } otel)
            queues.Add(Share($"otlp {otel}", () => new OtlpTarget(OtlpUri(otel.EndpointURL), s_timeout)));
        if (method.Mqtt is { } one)
            queues.Add(Share($"mqtt {one}", () => Mqtt(one)));

        if (method.DbMethod is { } db)
        {
            if (db.Influxdb2 is null)
                throw new DeviceConfigException("pushMethod.dbMethod: of the databases only influxdb2 is served; push to the others over http or mqtt");
            queues.Add(Share($"influx {db.Influxdb2}", () => Influx(db.Influxdb2)));
        }

        return queues;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var queue in Queues)
            await queue.DisposeAsync();
    }

    private PushQueue Share(string key, Func<IPushTarget> make)
    {
        lock (_gate)
        {
            if (_queues.TryGetValue(key, out var queue))
                return queue;
            if (_queues.Count >= TargetsMax)
                throw new DeviceConfigException($"pushMethod: this mapper pushes to {TargetsMax} targets already; use fewer, or restart it to forget old ones");
            return _queues[key] = new PushQueue(make(), time, random, log);
        }
    }

    private MqttTarget Mqtt(PushMethodMQTT one)
    {
        var address = MqttAddress.TryParse(one.Address) ?? throw new DeviceConfigException($"pushMethod.mqtt.address is '{one.Address}', must be tcp://HOST:PORT, or ssl://HOST:PORT with TLS");
        if (one.Qos is < 0 or > 2)
            throw new DeviceConfigException($"pushMethod.mqtt.qos is {one.Qos}, must be 0, 1 or 2");
        if (one.Topic.Length == 0 || MqttTopic.ProblemOfName(one.Topic) is not null)
            throw new DeviceConfigException($"pushMethod.mqtt.topic is '{one.Topic}', must be a topic without wildcards, e.g. plant/${{device}}/${{property}}");
        lock (random)
            return new MqttTarget(address, one.Topic, one.Qos, one.Retained, time, new Random(random.Next()));
    }

    private static Uri HttpUri(PushMethodHTTP http)
    {
        var host = http.Hostname.Contains("://", StringComparison.Ordinal) ? http.Hostname : $"http://{http.Hostname}";
        if (!Uri.TryCreate(host, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https") || http.Port is < 0 or > 65535)
            throw new DeviceConfigException($"pushMethod.http: hostName '{http.Hostname}' and port {http.Port} must make an address like http://10.0.0.9:8080");
        var path = http.Requestpath.Split('?', 2);
        return new UriBuilder(uri) { Port = http.Port > 0 ? (int)http.Port : uri.Port, Path = path[0], Query = path.Length > 1 ? path[1] : "" }.Uri;
    }

    private static Uri OtlpUri(string url)
    {
        if (!Uri.TryCreate(url, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https"))
            throw new DeviceConfigException($"pushMethod.otel.endpointURL is '{url}', must be a URL like http://10.0.0.9:4318/v1/metrics");
        return uri.AbsolutePath == "/" ? new Uri(uri, "/v1/metrics") : uri;
    }

    private InfluxTarget Influx(DBMethodInfluxdb2 influx)
    {
        var (client, data) = (influx.Influxdb2ClientConfig, influx.Influxdb2DataConfig);
        if (client is null || !Uri.TryCreate(client.Url, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https"))
            throw new DeviceConfigException($"pushMethod.dbMethod.influxdb2.influxdb2ClientConfig.url is '{client?.Url}', must be a URL like http://10.0.0.9:8086");
        if (client.Bucket.Length == 0)
            throw new DeviceConfigException("pushMethod.dbMethod.influxdb2.influxdb2ClientConfig.bucket is missing");
        if (data is null || data.Measurement.Length == 0)
            throw new DeviceConfigException("pushMethod.dbMethod.influxdb2.influxdb2DataConfig.measurement is missing");
        var write = new UriBuilder(uri)
        {
            Path = $"{uri.AbsolutePath.TrimEnd('/')}/api/v2/write",
            Query = $"org={Uri.EscapeDataString(client.Org)}&bucket={Uri.EscapeDataString(client.Bucket)}&precision=ms",
        };
        return new InfluxTarget(write.Uri, client.Bucket, data.Measurement, data.FieldKey, new Dictionary<string, string>(data.Tag, StringComparer.Ordinal), influxToken, s_timeout);
    }
}
