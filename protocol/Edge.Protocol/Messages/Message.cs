namespace Edge.Protocol.Messages;

/// <summary>One message between CloudCore and EdgeCore: KubeEdge's beehive message, one JSON document a WebSocket text frame.</summary>
/// <remarks><see cref="Content"/> is the raw UTF-8 JSON of any value (object, string, array, null); it is neither parsed nor
/// copied until somebody asks. An empty content means JSON <c>null</c>. Source: kubeedge-wire §1.3.</remarks>
public sealed record Message
{
    /// <summary>Identity of this message (UUID v4 text); a resend keeps it.</summary>
    public required string Id { get; init; }

    /// <summary>The id of the message this one answers, or empty.</summary>
    public string ParentId { get; init; } = "";

    /// <summary>When the message was made, milliseconds since the Unix epoch.</summary>
    public long TimestampMs { get; init; }

    /// <summary>The Kubernetes resourceVersion of the object in <see cref="Content"/> (decimal text), or empty.</summary>
    public string ResourceVersion { get; init; } = "";

    /// <summary>True asks the peer's library to answer before handlers see it; never seen on the wire in practice.</summary>
    public bool Sync { get; init; }

    public string Source { get; init; } = "";

    public string Destination { get; init; } = "";

    public string Group { get; init; } = "";

    public string Operation { get; init; } = "";

    /// <summary>The resource path as it stands on this hop; see <see cref="ResourcePath"/>.</summary>
    public string Resource { get; init; } = "";

    /// <summary>Raw UTF-8 JSON of the content; empty means null.</summary>
    public ReadOnlyMemory<byte> Content { get; init; }

    /// <summary>The place in a trace (W3C <c>traceparent</c>), or null. Only the Edge wire carries it, in the destination's field, which peers that know nothing of it ignore; a stock peer is never
    /// sent it.</summary>
    public string? Trace { get; init; }

    /// <summary>Set by a sender whose <see cref="Content"/> goes to many links: its compressed form is then made once. Null otherwise.</summary>
    public SharedContent? Shared { get; init; }

    /// <summary>Makes a new message with a fresh id.</summary>
    public static Message Create(
        TimeProvider time, string source, string group, string operation, string resource, ReadOnlyMemory<byte> content = default,
        string resourceVersion = "")
        => new()
        {
            Id = Guid.NewGuid().ToString(),
            TimestampMs = time.GetUtcNow().ToUnixTimeMilliseconds(),
            Source = source,
            Group = group,
            Operation = operation,
            Resource = resource,
            Content = content,
            ResourceVersion = resourceVersion,
        };

    /// <summary>The answer to this message: new id, parent id set, source, group and resource copied, operation <c>response</c>.</summary>
    public Message Response(TimeProvider time, ReadOnlyMemory<byte> content)
        => new()
        {
            Id = Guid.NewGuid().ToString(),
            ParentId = Id,
            TimestampMs = time.GetUtcNow().ToUnixTimeMilliseconds(),
            Source = Source,
            Group = Group,
            Operation = Operations.Response,
            Resource = Resource,
            Content = content,
        };

    /// <summary>The negative answer: as <see cref="Response"/> with operation <c>error</c>, no source, and the text as content.</summary>
    public Message Error(TimeProvider time, string text)
        => Response(time, MessageCodec.JsonString(text)) with { Operation = Operations.Error, Source = "" };
}

/// <summary>Operation words (kubeedge-wire §1.4).</summary>
public static class Operations
{
    public const string Insert = "insert";
    public const string Update = "update";
    public const string Delete = "delete";
    public const string Query = "query";
    public const string Patch = "patch";
    public const string Upload = "upload";
    public const string Response = "response";
    public const string Error = "error";
    public const string Keepalive = "keepalive";
    public const string Get = "get";
    public const string Publish = "publish";
    public const string Subscribe = "subscribe";
    public const string Unsubscribe = "unsubscribe";
    public const string Start = "start";
    public const string Stop = "stop";
    public const string ApplicationResponse = "applicationResponse";
}

/// <summary>Values of <c>route.source</c> (kubeedge-wire §2.6, §3, §4).</summary>
public static class Sources
{
    public const string EdgeController = "edgecontroller";
    public const string DeviceController = "devicecontroller";
    public const string CloudHub = "cloudhub";
    public const string Edged = "edged";
    public const string EdgeDns = "edgedns";
    public const string Twin = "twin";
    public const string Meta = "meta";
    public const string MetaManager = "metamanager";
    public const string WebSocket = "websocket";
    public const string Bus = "bus";
    public const string ServiceBus = "servicebus";
    public const string MetaServer = "metaserver";
    public const string DynamicController = "dynamiccontroller";
    public const string RouterEventBus = "router_eventbus";
    public const string RouterServiceBus = "router_servicebus";
}

/// <summary>Values of <c>route.group</c> (kubeedge-wire §1.6).</summary>
public static class Groups
{
    public const string Resource = "resource";
    public const string Meta = "meta";
    public const string Twin = "twin";
    public const string User = "user";
    public const string DynamicController = "dynamiccontroller";

    /// <summary>Edge's own: CloudCore asks for a byte stream (<see cref="NodeStreamWire"/>).</summary>
    public const string Stream = "stream";
}

/// <summary>Edge's own resources between the router and the buses of an Edge peer; their content is the whole set as a JSON array.</summary>
public static class RouterResources
{
    /// <summary>MQTT topic filters whose messages go up.</summary>
    public const string Topics = "rules/topics";

    /// <summary>URLs that the ServiceBus takes.</summary>
    public const string Urls = "rules/urls";
}

/// <summary>Resource type words (kubeedge-wire §1.4).</summary>
public static class ResourceTypes
{
    public const string Pod = "pod";
    public const string ConfigMap = "configmap";
    public const string Secret = "secret";
    public const string Node = "node";
    public const string NodePatch = "nodepatch";
    public const string PodPatch = "podpatch";
    public const string PodStatus = "podstatus";
    public const string Lease = "lease";
    public const string Event = "event";
    public const string Service = "service";
    public const string EndpointSlice = "endpointslice";

    /// <summary>Edge's own, down: a GlobalService (gslb.edge.io) with hosts and endpoints as CloudCore resolved them.</summary>
    public const string GlobalService = "globalservice";

    /// <summary>Edge's own, down: a Zone (gslb.edge.io) that CloudCore serves, with its static records and the names of GlobalServices in it.</summary>
    public const string Zone = "zone";

    /// <summary>Edge's own, up: what EdgeCore found out about an endpoint on its node (<see cref="EndpointHealth"/>).</summary>
    public const string EndpointHealth = "endpointhealth";

    /// <summary>Edge's own, up: how long the way from a node to a GlobalService's endpoints takes (<see cref="RoundTrips"/>).</summary>
    public const string RoundTrips = "roundtrips";
    /// <summary>Edge's own, down: a RuntimeClass (node.k8s.io) that a pod of the node names.</summary>
    public const string RuntimeClass = "runtimeclass";
    public const string Device = "device";
    public const string DeviceModel = "devicemodel";
    public const string DeviceMapper = "devicemapper";
    public const string ServiceAccountToken = "serviceaccounttoken";
    public const string PersistentVolume = "persistentvolume";
    public const string PersistentVolumeClaim = "persistentvolumeclaim";
}

/// <summary>Limits of a message on any link.</summary>
public static class MessageLimits
{
    /// <summary>Largest accepted message, bytes. KubeEdge sets none on WebSocket; etcd's own object limit is 1.5 MiB, so this is ample.</summary>
    public const int MessageSizeMax = 16 * 1024 * 1024;
}
