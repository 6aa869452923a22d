using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.NodeGroups;

/// <summary>Brings nodes, their pods and the NodeGroups to what <see cref="NodeGroupCore"/> says. One caller at a time.</summary>
internal sealed class NodeGroupKeeper(IKubeClient kube, ILogger logger)
{
    /// <summary>Does what is to be done. False: something failed and is to be tried again.</summary>
    public async Task<bool> KeepAsync(IReadOnlyCollection<JsonObject> groups, IReadOnlyCollection<JsonObject> nodes, CancellationToken cancellationToken)
    {
        var plan = NodeGroupCore.Plan(groups, nodes);
        var isDone = true;
        // Before a node of it is labelled, so that no group goes and leaves its labels behind.
        foreach (var group in groups.Where(group => !group.IsDeleting() && !group.Texts("metadata", "finalizers").Contains(AppKinds.Finalizer, StringComparer.Ordinal)))
            isDone &= await TryAsync($"finalizer of NodeGroup {group.Name()}", () => WriteFinalizersAsync(group, group.Texts("metadata", "finalizers").Append(AppKinds.Finalizer), cancellationToken));
        if (!isDone)
            return false;
        var stuck = new HashSet<string>(StringComparer.Ordinal);
        foreach (var change in plan.Nodes)
        {
            if (await TryAsync($"labels of node {change.Node}", () => MoveAsync(change, cancellationToken)))
                continue;
            isDone = false;
            stuck.Add(change.Left);
        }

        foreach (var state in plan.Groups)
        {
            var group = groups.First(one => one.Name() == state.Name);
            if (!state.IsGoing)
                isDone &= await TryAsync($"status of NodeGroup {state.Name}", () => WriteStatusAsync(group, state, cancellationToken));
            else if (!stuck.Contains(state.Name))
                isDone &= await TryAsync($"finalizer of NodeGroup {state.Name}", () => WriteFinalizersAsync(group, group.Texts("metadata", "finalizers").Where(one => one != AppKinds.Finalizer), cancellationToken));
        }

        return isDone;
    }

    /// <summary>Deletes pods on nodes that their NodeGroup no longer has; what a cloudcore that ended in between has left.</summary>
    public Task<bool> SweepAsync(IReadOnlyCollection<JsonObject> groups, IReadOnlyCollection<JsonObject> nodes, CancellationToken cancellationToken)
        => groups.Count == 0 ? Task.FromResult(true) : TryAsync("sweep of pods", async () =>
        {
            var of = nodes.ToDictionary(node => node.Name(), node => node.Label(AppKinds.BelongingTo) ?? "", StringComparer.Ordinal);
            var pods = await kube.ListAsync(ResourceKind.Pod, null, new ListOptions(FieldSelector: "spec.nodeName!="), cancellationToken);
            foreach (var pod in pods.Items)
            {
                if (GroupOf(pod) is { Length: > 0 } group && of.TryGetValue(pod.Text("spec", "nodeName"), out var present) && present != group)
                    await DeleteAsync(pod, group, cancellationToken);
            }
        });

    private async Task MoveAsync(NodeLabels change, CancellationToken cancellationToken)
    {
        var labels = new JsonObject([.. change.Labels.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)pair.Value))]);
        // A group that it leaves has pods there only until the label is gone: then nothing new is placed.
        await kube.PatchAsync(ResourceKind.Node, null, change.Node, PatchKind.Merge, JsonBytes.Of(new JsonObject { ["metadata"] = new JsonObject { ["labels"] = labels } }), null, cancellationToken);
        if (change.Labels.TryGetValue(AppKinds.BelongingTo, out var group))
            NodeGroupLog.Moved(logger, change.Node, group ?? "(none)", change.Left);
        if (change.Left.Length == 0)
            return;
        var pods = await kube.ListAsync(ResourceKind.Pod, null, new ListOptions(FieldSelector: $"spec.nodeName={change.Node}"), cancellationToken);
        foreach (var pod in pods.Items.Where(pod => GroupOf(pod) == change.Left))
            await DeleteAsync(pod, change.Left, cancellationToken);
    }

    private async Task DeleteAsync(JsonObject pod, string group, CancellationToken cancellationToken)
    {
        if (pod.IsDeleting())
            return;
        try
        {
            await kube.DeleteAsync(
                ResourceKind.Pod, pod.Namespace(), pod.Name(), new JsonObject { ["preconditions"] = new JsonObject { ["uid"] = pod.Uid() } }, cancellationToken);
            NodeGroupLog.PodDeleted(logger, pod.Namespace(), pod.Name(), group, pod.Text("spec", "nodeName"));
        }
        catch (KubeException e) when (e.Code is 404 or 409)
        {
            // It is gone, or another one has its name.
        }
    }

    private async Task WriteFinalizersAsync(JsonObject group, IEnumerable<string> finalizers, CancellationToken cancellationToken)
    {
        var list = finalizers.ToList();
        if (list.SequenceEqual(group.Texts("metadata", "finalizers")))
            return;
        var metadata = new JsonObject { ["resourceVersion"] = group.ResourceVersion(), ["finalizers"] = new JsonArray([.. list.Select(one => (JsonNode)one)]) };
        await kube.PatchAsync(AppKinds.NodeGroup, null, group.Name(), PatchKind.Merge, JsonBytes.Of(new JsonObject { ["metadata"] = metadata }), null, cancellationToken);
    }

    private async Task WriteStatusAsync(JsonObject group, GroupState state, CancellationToken cancellationToken)
    {
        if (JsonNode.DeepEquals(group.At("status", "nodeStatuses") ?? new JsonArray(), state.NodeStatuses))
            return;
        var status = new JsonObject { ["status"] = new JsonObject { ["nodeStatuses"] = state.NodeStatuses.DeepClone() } };
        await kube.PatchAsync(AppKinds.NodeGroup, null, group.Name(), PatchKind.Merge, JsonBytes.Of(status), "status", cancellationToken);
    }

    private static string GroupOf(JsonObject pod) => pod.At("spec", "nodeSelector", AppKinds.BelongingTo) is JsonValue value && value.TryGetValue<string>(out var text) ? text : "";

    private async Task<bool> TryAsync(string what, Func<Task> act)
    {
        try
        {
            await act();
            return true;
        }
        catch (KubeException e) when (e.Code == 404)
        {
            return true; // deleted meanwhile, which comes as a change of its own
        }
        catch (KubeException e)
        {
            NodeGroupLog.Failed(logger, what, e.Message);
            return false;
        }
    }
}
