using System.Text.Json.Nodes;
using Edge.Cloud;
using Edge.Cloud.DeviceController;
using Edge.Cloud.EdgeController;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;
using Edge.Simulation.Tests.Model;

namespace Edge.Simulation.Tests.Adapters;

/// <summary>The only place that knows <see cref="ReportedStatus"/> and <see cref="DeviceStatusPatch"/>: how what an edge reports is written into the status of a pod, its node or a device.</summary>
internal static class Reports
{
    private const string Value = "value";

    /// <summary>What an entry of this key reports of; null when it is no status.</summary>
    public static (ResourceKind Kind, string Name)? Of(string key) => key.Split('/') switch
    {
        ["nodestatus"] => (ResourceKind.Node, ""),
        ["podstatus", var pod] => (ResourceKind.Pod, pod),
        ["twin", var device] => (ResourceKind.DeviceStatus, device),
        _ => null,
    };

    /// <summary>Writes it as CloudCore does.</summary>
    public static async Task<UplinkOutcome> WriteAsync(SimKube kube, CloudProcess cloud, string node, Wire.Uplink entry, PlantedBug bug)
    {
        var (kind, name) = Of(entry.Key)!.Value;
        // Planted: what is written does not say which report it is from.
        var version = bug == PlantedBug.LateStatusLands ? 0 : entry.Version;
        try
        {
            if (kind == ResourceKind.DeviceStatus)
            {
                await WriteTwinAsync(kube, $"{node}-{name}", entry.Value, version);
                return UplinkOutcome.Accepted;
            }

            var watched = kind == ResourceKind.Node ? Watched.Node : Watched.Pod;
            name = kind == ResourceKind.Node ? node : name;
            var known = cloud.Sync.Seen(watched, name) ?? await kube.TryGetAsync(kind, "default", name, CancellationToken.None);
            if (known is null || (kind == ResourceKind.Pod && known.Text("spec", "nodeName") != node))
                return UplinkOutcome.Rejected;
            var patch = new JsonObject { ["metadata"] = new JsonObject(), ["status"] = new JsonObject { [Value] = entry.Value } };
            await ReportedStatus.PatchAsync(kube, kind, known, patch, version, CancellationToken.None);
            return UplinkOutcome.Accepted;
        }
        catch (KubeException e)
        {
            return e.Code is 404 or 409 ? UplinkOutcome.Rejected : UplinkOutcome.Failed;
        }
    }

    // As DeviceStatusWriter: onto the version that was looked at, and anew when somebody else wrote since.
    private static async Task WriteTwinAsync(SimKube kube, string name, long value, long version)
    {
        while (true)
        {
            var stored = (await kube.TryGetAsync(ResourceKind.DeviceStatus, "default", name, CancellationToken.None))!;
            var twin = new TwinEntry(new TwinSide($"{value}", "", "", "", ""), null);
            var batch = new DeviceBatch(new Dictionary<string, TwinEntry> { ["p"] = twin }, [], "", "", null, null, []) { TwinVersion = version };
            var patch = DeviceStatusPatch.Of(JsonBytes.Of(stored), new DeviceFacts("default", name, "", "", ""), batch, out _);
            if (JsonNode.Parse(patch)!["status"]!["twins"] is null)
                return; // a newer one is there; CloudCore writes what else the batch has
            try
            {
                await kube.PatchAsync(ResourceKind.DeviceStatus, "default", name, PatchKind.Merge, patch, "status", CancellationToken.None);
                return;
            }
            catch (KubeException e) when (e.Code == 409)
            {
            }
        }
    }
}
