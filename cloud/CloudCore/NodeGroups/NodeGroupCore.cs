using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.NodeGroups;

/// <summary>The labels that a node is to get: a text sets one, null removes it; a label that is not named stays.</summary>
/// <param name="Left">The group that it leaves, whose pods there go; empty for none.</param>
internal sealed record NodeLabels(string Node, string Left, IReadOnlyDictionary<string, string?> Labels);

/// <summary>What a group is to look like.</summary>
/// <param name="NodeStatuses">For its status.</param>
/// <param name="IsGoing">It is being deleted: its finalizer goes once its nodes have left.</param>
internal sealed record GroupState(string Name, JsonArray NodeStatuses, bool IsGoing);

internal sealed record NodeGroupPlan(IReadOnlyList<NodeLabels> Nodes, IReadOnlyList<GroupState> Groups);

/// <summary>Which node belongs to which NodeGroup (kubeedge-wire §7). Pure.</summary>
/// <remarks>A node belongs to one group at most: it stays where it is for as long as that group selects it, else it goes to the oldest that does. A label that names a group which does not
/// exist, and that no group replaces, is somebody else's and stays.</remarks>
internal static class NodeGroupCore
{
    /// <param name="groups">All NodeGroups.</param>
    /// <param name="nodes">All nodes, with labels and conditions at least.</param>
    public static NodeGroupPlan Plan(IReadOnlyCollection<JsonObject> groups, IReadOnlyCollection<JsonObject> nodes)
    {
        var byAge = groups.OrderBy(group => group.Text("metadata", "creationTimestamp"), StringComparer.Ordinal).ThenBy(group => group.Name(), StringComparer.Ordinal).ToList();
        var names = byAge.Select(group => group.Name()).ToHashSet(StringComparer.Ordinal);
        var statuses = byAge.ToDictionary(group => group.Name(), _ => new List<JsonObject>(), StringComparer.Ordinal);
        var changes = new List<NodeLabels>();
        foreach (var node in nodes.OrderBy(node => node.Name(), StringComparer.Ordinal))
        {
            var selecting = byAge.Where(group => !group.IsDeleting() && Selects(group, node)).ToList();
            var present = node.Label(AppKinds.BelongingTo);
            var holder = selecting.FirstOrDefault(group => group.Name() == present) ?? selecting.FirstOrDefault();
            foreach (var group in selecting)
                statuses[group.Name()].Add(Status(node.Name(), Ready(node), group == holder ? null : $"node {node.Name()} has already belonged to NodeGroup {holder!.Name()}"));
            if (LabelsOf(node, present, holder, names) is { } change)
                changes.Add(change);
        }

        var known = nodes.Select(node => node.Name()).ToHashSet(StringComparer.Ordinal);
        foreach (var group in byAge)
        {
            foreach (var missing in group.Texts("spec", "nodes").Where(name => !known.Contains(name)).Distinct(StringComparer.Ordinal))
                statuses[group.Name()].Add(Status(missing, "Unknown", "node does not exist"));
        }

        return new NodeGroupPlan(changes, [.. byAge.Select(group => new GroupState(
            group.Name(), new JsonArray([.. statuses[group.Name()].OrderBy(status => status.Text("nodeName"), StringComparer.Ordinal)]), group.IsDeleting()))]);
    }

    private static bool Selects(JsonObject group, JsonObject node)
    {
        if (group.Texts("spec", "nodes").Contains(node.Name(), StringComparer.Ordinal))
            return true;
        var wanted = group.Map("spec", "matchLabels").ToList();
        return wanted.Count > 0 && wanted.All(pair => node.Label(pair.Key) == pair.Value);
    }

    private static NodeLabels? LabelsOf(JsonObject node, string? present, JsonObject? holder, HashSet<string> groups)
    {
        var labels = new Dictionary<string, string?>(StringComparer.Ordinal);
        var left = "";
        if (holder is not null && present != holder.Name())
            (labels[AppKinds.BelongingTo], left) = (holder.Name(), present ?? "");
        else if (holder is null && present is not null && groups.Contains(present))
            (labels[AppKinds.BelongingTo], left) = (null, present);
        // A zone that somebody else gave is not ours to change; one that names a group is.
        var zone = node.Label(AppKinds.Zone);
        var wanted = holder is not null && holder.Flag(false, "spec", "topologyEnabled") ? holder.Name() : null;
        var isOurs = zone is { Length: > 0 } && (zone == left || (groups.Contains(zone) && zone == present));
        if (wanted is not null && wanted != zone && (zone is null or "" || isOurs))
            labels[AppKinds.Zone] = wanted;
        else if (wanted is null && isOurs && zone == left)
            labels[AppKinds.Zone] = null;
        return labels.Count == 0 ? null : new NodeLabels(node.Name(), left, labels);
    }

    private static string Ready(JsonObject node) => node.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == "Ready").Text("status") switch
    {
        "True" => "Ready",
        "False" => "NotReady",
        _ => "Unknown",
    };

    private static JsonObject Status(string node, string ready, string? problem)
    {
        var status = new JsonObject { ["nodeName"] = node, ["readyStatus"] = ready, ["selectionStatus"] = problem is null ? "Succeeded" : "Failed" };
        if (problem is not null)
            status["selectionStatusReason"] = problem;
        return status;
    }
}
