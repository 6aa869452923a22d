using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers;

/// <summary>Writes Events for <c>kubectl describe</c>. The same message about the same object counts up one Event instead of making many.
/// One caller at a time. An Event that cannot be written is logged and dropped: Events inform, nothing depends on them.</summary>
internal sealed partial class EventRecorder(IKubeClient client, string component, TimeProvider time, ILogger logger)
{
    private const int RememberedMax = 4096;
    private static readonly TimeSpan s_remembered = TimeSpan.FromMinutes(50);

    private readonly Dictionary<(string Uid, string Reason, string Message), Written> _written = [];
    private long _sequence;

    /// <param name="about">The object with kind and apiVersion.</param>
    /// <param name="type"><c>Normal</c> or <c>Warning</c>.</param>
    public async Task RecordAsync(JsonObject about, string type, string reason, string message, CancellationToken token)
    {
        var now = time.GetUtcNow();
        var space = about.Namespace() is { Length: > 0 } own ? own : "default";
        var key = (about.Uid(), reason, message);
        try
        {
            if (_written.TryGetValue(key, out var known) && now - known.First < s_remembered && await RepeatAsync(space, known, now, token))
                return;
            var name = $"{about.Name()}.{now.UtcTicks + _sequence++:x}";
            await client.CreateAsync(ResourceKind.Event, space, Make(about, type, reason, message, space, name, now), token);
            if (_written.Count >= RememberedMax)
                _written.Clear();
            _written[key] = new Written(name, now) { Count = 1 };
        }
        catch (KubeException e)
        {
            LogDropped(logger, reason, about.Kind(), space, about.Name(), e.Message);
        }
    }

    private async Task<bool> RepeatAsync(string space, Written known, DateTimeOffset now, CancellationToken token)
    {
        var patch = new JsonObject { ["count"] = known.Count + 1, ["lastTimestamp"] = KubeObject.Time(now) };
        try
        {
            await client.PatchAsync(ResourceKind.Event, space, known.Name, PatchKind.Merge, Encoding.UTF8.GetBytes(patch.ToJsonString()), null, token);
        }
        catch (KubeException e) when (e.Code == 404)
        {
            return false;
        }

        known.Count++;
        return true;
    }

    private JsonObject Make(JsonObject about, string type, string reason, string message, string space, string name, DateTimeOffset now) => new()
    {
        ["apiVersion"] = "v1",
        ["kind"] = "Event",
        ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = space },
        ["involvedObject"] = Reference(about),
        ["reason"] = reason,
        ["message"] = message.Length <= 1024 ? message : message[..1024],
        ["type"] = type,
        ["count"] = 1,
        ["firstTimestamp"] = KubeObject.Time(now),
        ["lastTimestamp"] = KubeObject.Time(now),
        ["source"] = new JsonObject { ["component"] = component },
        ["reportingComponent"] = component,
        ["reportingInstance"] = "",
    };

    private static JsonObject Reference(JsonObject about)
    {
        var reference = new JsonObject
        {
            ["apiVersion"] = about.ApiVersion(),
            ["kind"] = about.Kind(),
            ["name"] = about.Name(),
            ["resourceVersion"] = about.ResourceVersion(),
            ["uid"] = about.Uid(),
        };
        if (about.Namespace() is { Length: > 0 } space)
            reference["namespace"] = space;
        return reference;
    }

    [LoggerMessage(3202, LogLevel.Warning, "event {Reason} about {Kind} {Namespace}/{Name} could not be written: {Message}")]
    private static partial void LogDropped(ILogger logger, string reason, string kind, string @namespace, string name, string message);

    private sealed class Written(string name, DateTimeOffset first)
    {
        public string Name { get; } = name;

        public DateTimeOffset First { get; } = first;

        public int Count { get; set; }
    }
}
