using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Microsoft.Extensions.Logging;

namespace Edge.Devices.Push;

/// <summary>The queues of a mapper; properties with the same target share one. Safe for many threads.</summary>
public sealed class PushHub(TimeProvider time, Random random, ILogger log, PushCredentials? credentials = null) : IAsyncDisposable
{
    /// <summary>Targets of one mapper; the properties of a further one are not pushed.</summary>
    public const int TargetsMax = 256;

    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(10);
    private readonly PushCredentials _credentials = credentials ?? new PushCredentials();
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
        if (method.DbMethod is { Influxdb2: null, Redis: null, Tdengine: null, Mysql: null })
            throw new DeviceConfigException("pushMethod.dbMethod: it names no database that is served; there are influxdb2, redis, TDEngine and mysql");
        if (method.DbMethod?.Influxdb2 is { } influx)
            queues.Add(Share($"influx {influx}", () => Influx(influx)));
        if (method.DbMethod?.Redis is { } redis)
            queues.Add(Share($"redis {redis}", () => Redis(redis.RedisClientConfig ?? new RedisClientConfig())));
        if (method.DbMethod?.Tdengine is { } tdengine)
            queues.Add(Share($"tdengine {tdengine}", () => Tdengine(tdengine.TdEngineClientConfig ?? new TDEngineClientConfig())));
        if (method.DbMethod?.Mysql is { } mysql)
            queues.Add(Share($"mysql {mysql}", () => MySql(mysql.MysqlClientConfig ?? new MySQLClientConfig())));
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
        return new InfluxTarget(write.Uri, client.Bucket, data.Measurement, data.FieldKey, new Dictionary<string, string>(data.Tag, StringComparer.Ordinal), _credentials.InfluxToken, s_timeout);
    }

    private RedisTarget Redis(RedisClientConfig redis)
    {
        var (host, port) = HostAndPort(redis.Addr, 6379, "redis.redisClientConfig.addr");
        if (redis.Db < 0)
            throw new DeviceConfigException($"pushMethod.dbMethod.redis.redisClientConfig.db is {redis.Db}, must be the number of a database, e.g. 0");
        return new RedisTarget(host, port, redis.Db, _credentials.Password, s_timeout, time);
    }

    private TdengineTarget Tdengine(TDEngineClientConfig tdengine)
    {
        var (host, port) = HostAndPort(tdengine.Addr, 6041, "TDEngine.TDEngineClientConfig.addr");
        if (tdengine.Dbname.Length == 0)
            throw new DeviceConfigException("pushMethod.dbMethod.TDEngine.TDEngineClientConfig.dbName is missing");
        return new TdengineTarget(new UriBuilder("http", host, port, $"/rest/sql/{Uri.EscapeDataString(tdengine.Dbname)}").Uri, _credentials, s_timeout);
    }

    private MySqlTarget MySql(MySQLClientConfig mysql)
    {
        var (host, port) = HostAndPort(mysql.Addr, 3306, "mysql.mysqlClientConfig.addr");
        if (mysql.Database.Length == 0)
            throw new DeviceConfigException("pushMethod.dbMethod.mysql.mysqlClientConfig.database is missing");
        if (mysql.UserName.Length == 0)
            throw new DeviceConfigException("pushMethod.dbMethod.mysql.mysqlClientConfig.userName is missing");
        return new MySqlTarget(host, port, mysql.Database, mysql.UserName, _credentials.Password, s_timeout, time);
    }

    private static (string Host, int Port) HostAndPort(string address, int usual, string key)
        => Uri.TryCreate($"tcp://{address}", UriKind.Absolute, out var uri) && uri.IdnHost.Length > 0 && uri.PathAndQuery is "" or "/" && uri.UserInfo.Length == 0
            ? (uri.IdnHost, uri.Port > 0 ? uri.Port : usual)
            : throw new DeviceConfigException($"pushMethod.dbMethod.{key} is '{address}', must be HOST:PORT, e.g. 10.0.0.9:{usual}");
}
