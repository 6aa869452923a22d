using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Gslb.Module;

/// <summary>An informer for each selection of pods that a GlobalService asks for, so that no others are held. One owner.</summary>
internal sealed class PodWatches(IKubeClient kube, Action changed, TimeProvider time, Random random, ILogger logger) : IAsyncDisposable
{
    private readonly Dictionary<(string Namespace, string Selector), Informer> _informers = [];

    /// <summary>The pods of all selections now.</summary>
    public IReadOnlyCollection<JsonObject> Pods => [.. _informers.Values.SelectMany(informer => informer.List()).DistinctBy(pod => pod.Uid())];

    public async Task SetAsync(IReadOnlyCollection<(string Namespace, string Selector)> selections)
    {
        foreach (var gone in _informers.Keys.Except(selections).ToList())
        {
            await _informers[gone].DisposeAsync();
            _informers.Remove(gone);
        }

        foreach (var selection in selections.Where(one => !_informers.ContainsKey(one)))
        {
            var informer = new Informer(
                kube, ResourceKind.Pod, selection.Namespace, new ListOptions(selection.Selector, "spec.nodeName!="), time, new Random(random.Next()), logger) { Transform = Lean };
            _informers[selection] = informer;
            informer.Start((_, _) =>
            {
                changed();
                return ValueTask.CompletedTask;
            });
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var informer in _informers.Values)
            await informer.DisposeAsync();
    }

    // What the resolver reads: labels, node, host ports, conditions.
    private static JsonObject Lean(JsonObject shared)
    {
        var pod = shared.DeepClone().AsObject();
        if (pod["metadata"] is JsonObject metadata)
        {
            metadata.Remove("managedFields");
            metadata.Remove("annotations");
        }

        if (pod["spec"] is JsonObject spec)
        {
            foreach (var key in spec.Select(pair => pair.Key).Where(key => key is not ("nodeName" or "containers")).ToList())
                spec.Remove(key);
        }

        return pod;
    }
}
