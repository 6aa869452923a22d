using System.Buffers.Binary;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Rest;

/// <summary>Reads the Kubernetes protobuf form of the small kinds that Go clients (kubectl create from 1.32 on) send: a <c>runtime.Unknown</c>
/// behind the bytes <c>k8s\0</c>, fields as in the generated.proto of k8s.io/api. Other kinds are refused with 415.</summary>
internal static partial class ProtobufBody
{
    public const string MediaType = "application/vnd.kubernetes.protobuf";
    private const int DepthMax = 16;
    private static readonly byte[] s_magic = "k8s\0"u8.ToArray();

    /// <summary>How a field is read. Scalars that are not pointers in Go are always sent, so their zero means absent; the Kept forms keep it.</summary>
    private enum Form
    {
        Text,
        Bytes,
        Number,
        NumberKept,
        BoolKept,
        Bool,
        Message,
        Time,
        IntOrString,
        TextMap,
        BytesMap,
        QuantityMap,

        /// <summary>Read over: the server sets it.</summary>
        Ignored,
    }

    /// <param name="Strict">In the message's <paramref name="Fields"/>, a field that the table lacks is refused unless it is empty: it would be lost otherwise.</param>
    private sealed record Field(int Number, string Name, Form Form, bool Repeated = false, Field[]? Fields = null, bool Strict = false);

    private static readonly Field[] s_ownerReference =
        [new(1, "kind", Form.Text), new(3, "name", Form.Text), new(4, "uid", Form.Text), new(5, "apiVersion", Form.Text), new(6, "controller", Form.BoolKept), new(7, "blockOwnerDeletion", Form.BoolKept)];

    private static readonly Field s_metadata = new(1, "metadata", Form.Message, Fields:
    [
        new(1, "name", Form.Text), new(2, "generateName", Form.Text), new(3, "namespace", Form.Text), new(5, "uid", Form.Text),
        new(6, "resourceVersion", Form.Text), new(7, "generation", Form.Number), new(8, "creationTimestamp", Form.Time),
        new(9, "deletionTimestamp", Form.Time), new(10, "deletionGracePeriodSeconds", Form.NumberKept), new(11, "labels", Form.TextMap),
        new(12, "annotations", Form.TextMap), new(13, "ownerReferences", Form.Message, true, s_ownerReference), new(14, "finalizers", Form.Text, true),
    ]);

    private static readonly Field[] s_deleteOptions =
    [
        new(1, "gracePeriodSeconds", Form.NumberKept), new(2, "preconditions", Form.Message, Fields: [new(1, "uid", Form.Text), new(2, "resourceVersion", Form.Text)]),
        new(3, "orphanDependents", Form.BoolKept), new(4, "propagationPolicy", Form.Text), new(5, "dryRun", Form.Text, true),
    ];

    private static readonly Field[] s_objectReference =
    [
        new(1, "kind", Form.Text), new(2, "namespace", Form.Text), new(3, "name", Form.Text), new(4, "uid", Form.Text),
        new(5, "apiVersion", Form.Text), new(6, "resourceVersion", Form.Text), new(7, "fieldPath", Form.Text),
    ];

    private static readonly Field[] s_servicePort =
    [
        new(1, "name", Form.Text), new(2, "protocol", Form.Text), new(3, "port", Form.Number), new(4, "targetPort", Form.IntOrString),
        new(5, "nodePort", Form.Number), new(6, "appProtocol", Form.Text),
    ];

    private static readonly Field[] s_serviceSpec =
    [
        new(1, "ports", Form.Message, true, s_servicePort), new(2, "selector", Form.TextMap), new(3, "clusterIP", Form.Text), new(4, "type", Form.Text),
        new(5, "externalIPs", Form.Text, true), new(7, "sessionAffinity", Form.Text), new(8, "loadBalancerIP", Form.Text),
        new(9, "loadBalancerSourceRanges", Form.Text, true), new(10, "externalName", Form.Text), new(11, "externalTrafficPolicy", Form.Text),
        new(12, "healthCheckNodePort", Form.Number), new(13, "publishNotReadyAddresses", Form.Bool), new(17, "ipFamilyPolicy", Form.Text),
        new(18, "clusterIPs", Form.Text, true), new(19, "ipFamilies", Form.Text, true), new(20, "allocateLoadBalancerNodePorts", Form.BoolKept),
        new(21, "loadBalancerClass", Form.Text), new(22, "internalTrafficPolicy", Form.Text), new(23, "trafficDistribution", Form.Text),
    ];

    private static readonly Dictionary<(string ApiVersion, string Kind), Field[]> s_kinds = new()
    {
        [("v1", "ConfigMap")] = [s_metadata, new(2, "data", Form.TextMap), new(3, "binaryData", Form.BytesMap), new(4, "immutable", Form.BoolKept)],
        [("v1", "Secret")] = [s_metadata, new(2, "data", Form.BytesMap), new(3, "type", Form.Text), new(4, "stringData", Form.TextMap), new(5, "immutable", Form.BoolKept)],
        [("v1", "ServiceAccount")] =
        [
            s_metadata, new(2, "secrets", Form.Message, true, s_objectReference), new(3, "imagePullSecrets", Form.Message, true, [new(1, "name", Form.Text)]),
            new(4, "automountServiceAccountToken", Form.BoolKept),
        ],
        [("v1", "Namespace")] = [s_metadata, new(2, "spec", Form.Message, Fields: [new(1, "finalizers", Form.Text, true)]), new(3, "status", Form.Message, Fields: [new(1, "phase", Form.Text)])],
        [("v1", "Service")] = [s_metadata, new(2, "spec", Form.Message, Fields: s_serviceSpec)],
        [("v1", "Binding")] = [s_metadata, new(2, "target", Form.Message, Fields: s_objectReference)],
        [("authentication.k8s.io/v1", "TokenRequest")] =
        [
            s_metadata,
            new(2, "spec", Form.Message, Fields:
            [
                new(1, "audiences", Form.Text, true), new(4, "expirationSeconds", Form.NumberKept),
                new(3, "boundObjectRef", Form.Message, Fields: [new(1, "kind", Form.Text), new(2, "apiVersion", Form.Text), new(3, "name", Form.Text), new(4, "uid", Form.Text)]),
            ]),
        ],
        [("apps/v1", "Deployment")] = [s_metadata, new(2, "spec", Form.Message, Fields: Workload.Deployment, Strict: true), new(3, "status", Form.Ignored)],
        [("batch/v1", "Job")] = [s_metadata, new(2, "spec", Form.Message, Fields: Workload.Job, Strict: true), new(3, "status", Form.Ignored)],
        [("batch/v1", "CronJob")] = [s_metadata, new(2, "spec", Form.Message, Fields: Workload.CronJob, Strict: true), new(3, "status", Form.Ignored)],
        [("policy/v1", "PodDisruptionBudget")] = [s_metadata, new(2, "spec", Form.Message, Fields: Workload.Budget, Strict: true), new(3, "status", Form.Ignored)],
        [("policy/v1", "Eviction")] = [s_metadata, new(2, "deleteOptions", Form.Message, Fields: s_deleteOptions)],
        [("v1", "DeleteOptions")] = s_deleteOptions,
    };

    /// <summary>The object as JSON.</summary>
    /// <exception cref="ApiException">415 for a kind that is not read here, 400 for malformed bytes.</exception>
    public static JsonObject Parse(ReadOnlySpan<byte> body)
    {
        if (!body.StartsWith(s_magic))
            throw Malformed("the bytes do not begin with the Kubernetes protobuf prefix");
        Field[] unknown = [new(1, "typeMeta", Form.Message, Fields: [new(1, "apiVersion", Form.Text), new(2, "kind", Form.Text)]), new(2, "raw", Form.Bytes)];
        var envelope = Message(body[s_magic.Length..], unknown, 0);
        var (apiVersion, kind) = (envelope.Text("typeMeta", "apiVersion"), envelope.Text("typeMeta", "kind"));
        if (!s_kinds.TryGetValue((apiVersion, kind), out var fields) && !Access.Kinds.TryGetValue((apiVersion, kind), out fields) && !(kind == "DeleteOptions" && s_kinds.TryGetValue(("v1", kind), out fields)))
            throw ApiException.UnsupportedMediaType("application/json, application/yaml");
        var obj = Message(Convert.FromBase64String(envelope.Text("raw")), fields, 0);
        obj["apiVersion"] = apiVersion;
        obj["kind"] = kind;
        return obj;
    }

    private static JsonObject Message(ReadOnlySpan<byte> bytes, Field[] fields, int depth, bool strict = false)
    {
        if (depth > DepthMax)
            throw Malformed("too deep");
        var obj = new JsonObject();
        while (!bytes.IsEmpty)
        {
            var (number, number64, content) = Next(ref bytes);
            var field = Array.Find(fields, f => f.Number == number);
            if (field is null && strict && (number64 != 0 || content.Any(b => b != 0)))
                throw new ApiException(415, "UnsupportedMediaType", $"protobuf field {number} beside {string.Join(", ", fields.Take(3).Select(f => f.Name))} is not read by this server; send the object as application/json");
            if (field is null or { Form: Form.Ignored })
                continue;
            if (field.Form == Form.QuantityMap)
            {
                var quantity = Message(content, [new(1, "key", Form.Text), new(2, "value", Form.Message, Fields: [new(1, "string", Form.Text)])], depth + 1);
                obj.Child(field.Name)[quantity.Text("key")] = quantity.Text("value", "string");
                continue;
            }

            if (field.Form is Form.TextMap or Form.BytesMap)
            {
                var entry = Message(content, [new(1, "key", Form.Text), new(2, "value", field.Form == Form.TextMap ? Form.Text : Form.Bytes)], depth + 1);
                obj.Child(field.Name)[entry.Text("key")] = entry.Text("value");
                continue;
            }

            var value = Value(field, number64, content, depth);
            if (value is null)
                continue;
            if (!field.Repeated)
                obj[field.Name] = value;
            else if (obj[field.Name] is JsonArray array)
                array.Add(value);
            else
                obj[field.Name] = new JsonArray(value);
        }

        return obj;
    }

    /// <summary>Null stands for a value that means absent.</summary>
    private static JsonNode? Value(Field field, ulong number, ReadOnlySpan<byte> content, int depth) => field.Form switch
    {
        Form.Text => content.IsEmpty && !field.Repeated ? null : JsonValue.Create(Encoding.UTF8.GetString(content)),
        Form.Bytes => JsonValue.Create(Convert.ToBase64String(content)),
        Form.Number => number == 0 ? null : JsonValue.Create((long)number),
        Form.NumberKept => JsonValue.Create((long)number),
        Form.Bool => number == 0 ? null : JsonValue.Create(true),
        Form.BoolKept => JsonValue.Create(number != 0),
        Form.Time => TimeOf(Message(content, [new(1, "seconds", Form.Number)], depth + 1)),
        Form.IntOrString => IntOrString(Message(content, [new(1, "type", Form.Number), new(2, "int", Form.Number), new(3, "text", Form.Text)], depth + 1)),
        _ => Message(content, field.Fields!, depth + 1, field.Strict) is { Count: > 0 } message ? message : field.Repeated ? new JsonObject() : null,
    };

    private static JsonValue? TimeOf(JsonObject time)
        => time.Number(0, "seconds") is > 0 and < 253_402_300_800 and var seconds ? JsonValue.Create(KubeObject.Time(DateTimeOffset.FromUnixTimeSeconds(seconds))) : null;

    private static JsonValue? IntOrString(JsonObject value)
        => value.Number(0, "type") != 0 ? JsonValue.Create(value.Text("text")) : value.Number(0, "int") is not 0 and var number ? JsonValue.Create(number) : null;

    /// <summary>One field: its number, and its varint or its bytes (protobuf encoding, wire types 0, 1, 2 and 5).</summary>
    private static (int Field, ulong Number, byte[] Content) Next(ref ReadOnlySpan<byte> bytes)
    {
        var tag = Varint(ref bytes);
        var field = (int)Math.Min(tag >> 3, int.MaxValue);
        switch (tag & 7)
        {
            case 0:
                return (field, Varint(ref bytes), []);
            case 1 when bytes.Length >= 8:
                var fixed64 = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
                bytes = bytes[8..];
                return (field, fixed64, []);
            case 2:
                var length = Varint(ref bytes);
                if (length > (ulong)bytes.Length)
                    throw Malformed("a length exceeds the body");
                var content = bytes[..(int)length].ToArray();
                bytes = bytes[(int)length..];
                return (field, 0, content);
            case 5 when bytes.Length >= 4:
                var fixed32 = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
                bytes = bytes[4..];
                return (field, fixed32, []);
            default:
                throw Malformed("a field is cut off or of an unknown wire type");
        }
    }

    private static ulong Varint(ref ReadOnlySpan<byte> bytes)
    {
        var value = 0UL;
        for (var i = 0; i < 10 && i < bytes.Length; i++)
        {
            value |= (ulong)(bytes[i] & 0x7F) << (7 * i);
            if (bytes[i] < 0x80)
            {
                bytes = bytes[(i + 1)..];
                return value;
            }
        }

        throw Malformed("a number is cut off");
    }

    private static ApiException Malformed(string what) => ApiException.BadRequest($"the object provided is unrecognized: protobuf: {what}");
}
