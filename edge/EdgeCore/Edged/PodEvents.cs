using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Edged;

/// <summary>Records an event of one pod.</summary>
/// <param name="fieldPath">The container's field, or empty for the pod.</param>
internal delegate ValueTask ReportEvent(bool warning, string reason, string message, string fieldPath, CancellationToken cancellationToken);

/// <summary>Logs what happens to pods and, when reportEvent is set, sends it to the cloud as Kubernetes events.</summary>
/// <param name="report">Whether events leave the node.</param>
internal sealed class PodEvents(IUplink uplink, TimeProvider time, string nodeName, bool report, ILogger log)
{
    private static readonly TimeSpan s_repeat = TimeSpan.FromMinutes(1);

    /// <summary>Records one event. The same one is not repeated within a minute of its pod; <paramref name="recent"/> is the pod's own memory;
    /// its probes, hooks and starts may report at the same time.</summary>
    public async ValueTask RecordAsync(
        PodDescription pod, Dictionary<string, DateTimeOffset> recent, bool warning, string reason, string message, string fieldPath,
        CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var key = $"{reason}|{fieldPath}|{message}";
        lock (recent)
        {
            if (recent.TryGetValue(key, out var last) && now - last < s_repeat)
                return;
            if (recent.Count >= 256)
                recent.Clear();
            recent[key] = now;
        }

        if (warning)
            EdgedLog.PodWarning(log, $"{pod.Namespace}/{pod.Name}", reason, message);
        else
            EdgedLog.PodEvent(log, $"{pod.Namespace}/{pod.Name}", reason, message);
        if (!report)
            return;
        var name = string.Create(CultureInfo.InvariantCulture, $"{pod.Name}.{now.UtcTicks:x}{(uint)key.GetHashCode(StringComparison.Ordinal):x8}");
        var involved = new JsonObject
        {
            ["kind"] = "Pod",
            ["namespace"] = pod.Namespace,
            ["name"] = pod.Name,
            ["uid"] = pod.Uid,
            ["apiVersion"] = "v1",
            ["resourceVersion"] = pod.Json.ResourceVersion(),
        };
        if (fieldPath.Length > 0)
            involved["fieldPath"] = fieldPath;
        var stamp = KubeObject.Time(now);
        var content = new JsonObject
        {
            ["kind"] = "Event",
            ["apiVersion"] = "v1",
            ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = pod.Namespace },
            ["involvedObject"] = involved,
            ["reason"] = reason,
            ["message"] = message.Length > 1024 ? message[..1024] : message,
            ["source"] = new JsonObject { ["component"] = "kubelet", ["host"] = nodeName },
            ["firstTimestamp"] = stamp,
            ["lastTimestamp"] = stamp,
            ["count"] = 1,
            ["type"] = warning ? "Warning" : "Normal",
            ["reportingComponent"] = "kubelet",
            ["reportingInstance"] = nodeName,
        };
        var entry = new UplinkEntry(
            $"event/{pod.Namespace}/{name}", UplinkPriority.Event, UplinkRule.Every, Sources.Edged, Groups.Meta, Operations.Insert,
            $"{pod.Namespace}/{ResourceTypes.Event}/{name}", Encoding.UTF8.GetBytes(content.ToJsonString()));
        try
        {
            await uplink.PostAsync(entry, cancellationToken);
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException)
        {
            // It is in this log at least; what the pod was about to do must not fail for it.
            EdgedLog.PodWarning(log, $"{pod.Namespace}/{pod.Name}", "EventNotKept", e.Message);
        }
    }
}
