using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Protocol.Dmi.V1Beta1;

namespace Edge.Protocol.Dmi;

/// <summary>Device and DeviceModel objects (devices.kubeedge.io/v1beta1) as DMI messages. Keys are read case-insensitively; a field of a
/// wrong type counts as absent, since the API server's schema has refused it already. Pure.</summary>
public static class DmiConvert
{
    /// <summary>Of a Device: <c>PROPERTY[=SAMPLES],…</c>, the properties of which every sample goes to the cloud, and how many of them the status keeps there.</summary>
    public const string HistoryAnnotation = "devices.edge.io/history";

    /// <summary>The properties that <see cref="HistoryAnnotation"/> of a Device names.</summary>
    public static HashSet<string> HistoryOf(JsonObject device)
        => [.. Text(Get(Get(device, "metadata"), "annotations"), HistoryAnnotation)
            .Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(one => one.Split('=')[0].Trim())];

    /// <summary>The model's message.</summary>
    public static DeviceModel ToModel(JsonObject model)
    {
        var spec = new DeviceModelSpec();
        foreach (var property in Items(Get(Get(model, "spec"), "properties")))
        {
            spec.Properties.Add(new ModelProperty
            {
                Name = Text(property, "name"),
                Description = Text(property, "description"),
                Type = Text(property, "type"),
                AccessMode = Text(property, "accessMode"),
                Minimum = Text(property, "minimum"),
                Maximum = Text(property, "maximum"),
                Unit = Text(property, "unit"),
            });
        }

        return new DeviceModel { Name = Text(Get(model, "metadata"), "name"), Namespace = Text(Get(model, "metadata"), "namespace"), Spec = spec };
    }

    /// <summary>The device's message, with the model's visitors and protocolConfigData as base under the device's own, key by key
    /// (kubeedge-wire §4.1). A property that only the model has is included.</summary>
    public static Device ToDevice(JsonObject device, JsonObject? model)
    {
        var spec = Get(device, "spec");
        var modelSpec = Get(model, "spec");
        var protocol = Get(spec, "protocol");
        var modelReference = Get(spec, "deviceModelRef");
        var protocolName = Text(protocol, "protocolName") is { Length: > 0 } own ? own : Text(modelSpec, "protocol");
        var result = new Device
        {
            Name = Text(Get(device, "metadata"), "name"),
            Namespace = Text(Get(device, "metadata"), "namespace"),
            Spec = new DeviceSpec
            {
                DeviceModelReference = Text(modelReference, "name"),
                Protocol = new ProtocolConfig
                {
                    ProtocolName = protocolName,
                    ConfigData = Merge(Get(modelSpec, "protocolConfigData") as JsonObject, Get(protocol, "configData") as JsonObject),
                },
            },
        };
        if (Get(spec, "stateReport") is JsonObject state)
            result.Status = new DeviceStatus { ReportToCloud = Flag(state, "reportToCloud"), ReportCycle = Number(state, "reportCycle") };

        var modelProperties = Items(Get(modelSpec, "properties")).ToList();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var property in Items(Get(spec, "properties")))
        {
            var name = Text(property, "name");
            if (seen.Add(name))
                result.Spec.Properties.Add(ToProperty(property, modelProperties.Find(one => Text(one, "name") == name), protocolName));
        }

        // Without an instance the model's visitor alone says how to reach the property.
        foreach (var property in modelProperties)
        {
            if (Get(property, "visitors") is JsonObject && seen.Add(Text(property, "name")))
                result.Spec.Properties.Add(ToProperty(new JsonObject { ["name"] = Text(property, "name") }, property, protocolName));
        }

        var history = HistoryOf(device);
        foreach (var property in result.Spec.Properties)
            property.KeepHistory = history.Contains(property.Name);

        foreach (var method in Items(Get(spec, "methods")))
        {
            var one = new DeviceMethod { Name = Text(method, "name"), Description = Text(method, "description") };
            foreach (var property in Get(method, "propertyNames") as JsonArray ?? [])
                one.PropertyNames.Add(AsText(property));
            result.Spec.Methods.Add(one);
        }

        return result;
    }

    /// <summary>A property's or protocol's config as JSON; entries of unknown type are left out and named in <paramref name="problems"/>.</summary>
    public static JsonObject ToJson(CustomizedValue? config, List<string> problems)
    {
        var result = new JsonObject();
        foreach (var (key, any) in config?.Data ?? [])
        {
            if (DmiAny.TryUnwrap(any, out var node, out var error))
                result[key] = node;
            else
                problems.Add($"{key}: {error}");
        }

        return result;
    }

    /// <summary>The value under a key in any case, or null.</summary>
    public static JsonNode? Get(JsonNode? node, string key)
    {
        if (node is not JsonObject map)
            return null;
        if (map.TryGetPropertyValue(key, out var exact))
            return exact;
        foreach (var (name, value) in map)
            if (name.Equals(key, StringComparison.OrdinalIgnoreCase))
                return value;
        return null;
    }

    /// <summary>The text under a key; empty when absent. Numbers and flags give their JSON text.</summary>
    public static string Text(JsonNode? node, string key) => AsText(Get(node, key));

    private static string AsText(JsonNode? node) => node?.GetValueKind() switch
    {
        null or JsonValueKind.Null => "",
        JsonValueKind.String => node.GetValue<string>(),
        _ => node.ToJsonString(),
    };

    private static DeviceProperty ToProperty(JsonObject property, JsonObject? model, string protocolName)
    {
        var visitors = Get(property, "visitors");
        var modelVisitors = Get(model, "visitors");
        var visitorProtocol = Text(visitors, "protocolName") is { Length: > 0 } own ? own
            : Text(modelVisitors, "protocolName") is { Length: > 0 } fromModel ? fromModel : protocolName;
        var result = new DeviceProperty
        {
            Name = Text(property, "name"),
            Visitors = new VisitorConfig
            {
                ProtocolName = visitorProtocol,
                ConfigData = Merge(VisitorData(modelVisitors), VisitorData(visitors)),
            },
            ReportCycle = Number(property, "reportCycle"),
            CollectCycle = Number(property, "collectCycle"),
            ReportToCloud = Flag(property, "reportToCloud"),
        };
        if (Get(property, "desired") is JsonObject desired)
        {
            result.Desired = new TwinProperty { Value = Text(desired, "value") };
            foreach (var (key, value) in Get(desired, "metadata") as JsonObject ?? [])
                result.Desired.Metadata[key] = AsText(value);
        }

        if (Get(property, "pushMethod") is JsonObject push)
            result.PushMethod = ToPush(push);
        return result;
    }

    // A model's visitors have the same form as a device's; a bare map of config keys is taken too.
    private static JsonObject? VisitorData(JsonNode? visitors)
        => visitors is JsonObject map ? Get(map, "configData") as JsonObject ?? (map.ContainsKey("protocolName") ? null : map) : null;

    private static CustomizedValue Merge(JsonObject? model, JsonObject? instance)
    {
        var result = new CustomizedValue();
        foreach (var source in (JsonObject?[])[model, instance])
            foreach (var (key, value) in source ?? [])
                result.Data[key] = DmiAny.Wrap(value);
        return result;
    }

    private static PushMethod ToPush(JsonObject push)
    {
        var result = new PushMethod();
        if (Get(push, "http") is JsonObject http)
        {
            result.Http = new PushMethodHTTP
            {
                Hostname = Text(http, "hostName"), Port = Number(http, "port"), Requestpath = Text(http, "requestPath"), Timeout = Number(http, "timeout"),
            };
        }

        if (Get(push, "mqtt") is JsonObject mqtt)
        {
            result.Mqtt = new PushMethodMQTT
            {
                Address = Text(mqtt, "address"), Topic = Text(mqtt, "topic"), Qos = (int)Number(mqtt, "qos"), Retained = Flag(mqtt, "retained"),
            };
        }

        if (Get(push, "otel") is JsonObject otel)
            result.Otel = new PushMethodOTEL { EndpointURL = Text(otel, "endpointURL") };
        if (Get(push, "dbMethod") is JsonObject db)
            result.DbMethod = ToDatabase(db);
        if (Get(push, "anomalyDetection") is JsonObject anomaly)
        {
            result.AnomalyDetection = new AnomalyDetection();
            foreach (var (key, value) in anomaly)
                result.AnomalyDetection.Data[key] = DmiAny.Wrap(value);
        }

        return result;
    }

    private static DBMethod ToDatabase(JsonObject db)
    {
        var result = new DBMethod();
        if (Get(db, "influxdb2") is JsonObject influx)
        {
            var client = Get(influx, "influxdb2ClientConfig");
            var data = Get(influx, "influxdb2DataConfig");
            result.Influxdb2 = new DBMethodInfluxdb2
            {
                Influxdb2ClientConfig = new Influxdb2ClientConfig { Url = Text(client, "url"), Org = Text(client, "org"), Bucket = Text(client, "bucket") },
                Influxdb2DataConfig = new Influxdb2DataConfig { Measurement = Text(data, "measurement"), FieldKey = Text(data, "fieldKey") },
            };
            foreach (var (key, value) in Get(data, "tag") as JsonObject ?? [])
                result.Influxdb2.Influxdb2DataConfig.Tag[key] = AsText(value);
        }

        if (Get(Get(db, "redis"), "redisClientConfig") is JsonObject redis)
        {
            result.Redis = new DBMethodRedis
            {
                RedisClientConfig = new RedisClientConfig
                {
                    Addr = Text(redis, "addr"), Db = (int)Number(redis, "db"), Poolsize = (int)Number(redis, "poolsize"),
                    MinIdleConns = (int)Number(redis, "minIdleConns"),
                },
            };
        }

        if (Get(Get(db, "TDEngine"), "TDEngineClientConfig") is JsonObject engine)
        {
            result.Tdengine = new DBMethodTDEngine
            {
                TdEngineClientConfig = new TDEngineClientConfig { Addr = Text(engine, "addr"), Dbname = Text(engine, "dbName") },
            };
        }

        if (Get(Get(db, "mysql"), "mysqlClientConfig") is JsonObject mysql)
        {
            result.Mysql = new DBMethodMySQL
            {
                MysqlClientConfig = new MySQLClientConfig
                {
                    Addr = Text(mysql, "addr"), Database = Text(mysql, "database"), UserName = Text(mysql, "userName"),
                },
            };
        }

        return result;
    }

    private static IEnumerable<JsonObject> Items(JsonNode? node) => (node as JsonArray ?? []).OfType<JsonObject>();

    private static bool Flag(JsonNode? node, string key) => Get(node, key)?.GetValueKind() == JsonValueKind.True;

    private static long Number(JsonNode? node, string key)
        => long.TryParse(Text(node, key), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) ? value : 0;
}
