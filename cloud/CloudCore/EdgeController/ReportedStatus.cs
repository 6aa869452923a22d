using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.EdgeController;

/// <summary>Writes what an edge reports of a pod or of its node, so that an older report never lands after a newer one, whichever CloudCore took which.</summary>
/// <remarks>
/// <para>The version of the report in the edge's queue is written with the status, as a condition: one write, nothing that edges are sent (they get no status), and a list
/// that every reader of Kubernetes expects to hold types it does not know. Each write is onto the version of the object that was looked at, so two CloudCores that hold reports of one object cannot
/// both think that theirs is the newest.</para>
/// <para>Versions grow for as long as an edge lives, and over a lost disk too, since they start from the clock. Reports of stock edges carry none and are written as they come.</para>
/// </remarks>
internal static class ReportedStatus
{
    /// <summary>The condition whose message is the version of the report that the status is from. Its status is always <c>False</c>, as of all conditions of a healthy Node but Ready.</summary>
    public const string ConditionType = "edge.kubeedge.io/ReportStale";

    // Somebody else writes the same object as often as this in a row: the edge then asks again.
    private const int TriesMax = 8;

    /// <summary>The version of the report that the status is from; 0 when it says none.</summary>
    public static long VersionOf(JsonObject? obj)
    {
        foreach (var condition in obj.Items("status", "conditions"))
        {
            if (condition.Text("type") == ConditionType)
                return long.TryParse(condition.Text("message"), NumberStyles.None, CultureInfo.InvariantCulture, out var version) ? version : 0;
        }

        return 0;
    }

    /// <summary>Patches the status of <paramref name="known"/> (strategic merge), unless it is from a newer report already.</summary>
    /// <param name="known">The object as it was seen last; it may be behind the API.</param>
    /// <param name="patch">What the edge reported; it is changed.</param>
    /// <param name="version">Of the report in the edge's queue; 0 when it has none: then the patch is written as it is.</param>
    /// <returns>The object after it.</returns>
    /// <exception cref="KubeException">As the API says; 404 and 409 when the object is gone or another one by now; 503 when others changed it each time.</exception>
    public static async Task<JsonObject> PatchAsync(IKubeClient kube, ResourceKind kind, JsonObject known, JsonObject patch, long version, CancellationToken cancellationToken)
    {
        var ns = kind.Namespaced ? known.Namespace() : null;
        if (version <= 0 || patch["status"] is not JsonObject)
            return await kube.PatchAsync(kind, ns, known.Name(), PatchKind.Strategic, JsonBytes.Of(patch), "status", cancellationToken);
        var uid = known.Uid();
        Mark(patch, version);
        for (var left = TriesMax; left > 0; left--)
        {
            // The same one is written again: somebody else may have changed what it says since, as the node controller does while a node is silent.
            if (VersionOf(known) > version)
                return known;
            patch.Child("metadata")["resourceVersion"] = known.ResourceVersion();
            try
            {
                return await kube.PatchAsync(kind, ns, known.Name(), PatchKind.Strategic, JsonBytes.Of(patch), "status", cancellationToken);
            }
            catch (KubeException e) when (e.Code == 409)
            {
                // Changed since it was looked at: what it says now decides.
                known = await kube.TryGetAsync(kind, ns, known.Name(), cancellationToken) ?? throw Refusals.NotFound(kind, known.Name());
                if (known.Uid() != uid)
                    throw Refusals.Conflict($"Operation cannot be fulfilled on {kind.Plural} \"{known.Name()}\": it was deleted and made again since the report (uid {uid}, now {known.Uid()})");
            }
        }

        throw new KubeException(503, "ServiceUnavailable", $"{kind.Plural} \"{known.Name()}\" was changed by others {TriesMax} times while its status was to be written; report it again");
    }

    private static void Mark(JsonObject patch, long version)
    {
        var status = patch["status"]!.AsObject();
        if (status["conditions"] is not JsonArray conditions)
            status["conditions"] = conditions = [];
        for (var at = conditions.Count - 1; at >= 0; at--)
        {
            if ((conditions[at] as JsonObject).Text("type") == ConditionType)
                conditions.RemoveAt(at);
        }

        conditions.Add((JsonNode)new JsonObject
        {
            ["type"] = ConditionType,
            ["status"] = "False",
            ["reason"] = "Reported",
            ["message"] = version.ToString(CultureInfo.InvariantCulture),
        });
    }
}
