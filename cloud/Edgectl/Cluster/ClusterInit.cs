using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Cluster;

/// <summary>Applies the chart to a cluster and waits until CloudCore runs there.</summary>
/// <param name="kube">The cluster.</param>
/// <param name="say">Takes a line for the user.</param>
internal sealed class ClusterInit(KubeClient kube, TimeProvider time, Action<string> say)
{
    /// <summary>The field manager of what init applies.</summary>
    public const string Manager = "edgectl-init";

    private static readonly TimeSpan s_poll = TimeSpan.FromSeconds(1);

    // A definition takes a moment to be served after it was stored.
    private static readonly TimeSpan s_served = TimeSpan.FromSeconds(30);

    /// <summary>Applies all objects in order; says what became of each. Returns how many changed.</summary>
    /// <exception cref="KubeException">The API refused one, e.g. 409 where somebody else owns a field and <paramref name="isForced"/> is false; what was applied before it stays.</exception>
    public async Task<int> ApplyAsync(IEnumerable<JsonObject> objects, bool isForced, bool isDryRun, CancellationToken cancellationToken)
    {
        var changed = 0;
        foreach (var obj in objects)
        {
            var kind = ClusterKinds.Of(obj);
            var ns = kind.Namespaced ? obj.Namespace() : null;
            var label = $"{kind.Plural}{(kind.Group.Length == 0 ? "" : "." + kind.Group)} {(ns is null ? "" : ns + "/")}{obj.Name()}";
            try
            {
                var before = await kube.TryGetAsync(kind, ns, obj.Name(), cancellationToken);
                var after = await kube.ApplyAsync(kind, ns, obj, Manager, isForced, isDryRun, cancellationToken);
                var isSame = before is not null && IsSame(before, after);
                changed += isSame ? 0 : 1;
                say($"{label} {(before is null ? "created" : isSame ? "unchanged" : "configured")}{(isDryRun ? " (dry run)" : "")}");
            }
            catch (KubeException e) when (e.Code == 404 && ClusterKinds.IsRbac(kind))
            {
                say($"{label} left out: this API serves no {kind.Group}");
            }
            catch (KubeException e) when (e.Code == 404 && isDryRun)
            {
                // Its namespace or definition is only in this dry run.
                changed++;
                say($"{label} created (dry run)");
            }
            catch (KubeException e)
            {
                throw new KubeException(e.Code, e.Reason, $"{label}: {e.Message}{(e.Code == 409 ? " (--force-conflicts takes the fields over)" : "")}", e.Status, e);
            }
        }

        return changed;
    }

    /// <summary>Waits until the definitions are served.</summary>
    /// <exception cref="KubeException">One is not within half a minute.</exception>
    public async Task WaitForDefinitionsAsync(IEnumerable<JsonObject> definitions, CancellationToken cancellationToken)
    {
        var since = time.GetTimestamp();
        foreach (var definition in definitions)
        {
            while (!IsEstablished(await kube.GetAsync(ResourceKind.CustomResourceDefinition, null, definition.Name(), cancellationToken)))
            {
                if (time.GetElapsedTime(since) > s_served)
                    throw new KubeException(0, "Timeout", $"the API does not serve {definition.Name()} (condition Established); 'kubectl describe crd {definition.Name()}' says why");
                await Task.Delay(TimeSpan.FromMilliseconds(200), time, cancellationToken);
            }
        }
    }

    /// <summary>Waits until all replicas of the Deployment are available, and says how far it is. False when the time is over; then it has said what is known about why.</summary>
    public async Task<bool> WaitForDeploymentAsync(JsonObject deployment, TimeSpan within, CancellationToken cancellationToken)
    {
        var (since, last) = (time.GetTimestamp(), "");
        while (true)
        {
            var stored = await kube.GetAsync(ResourceKind.Deployment, deployment.Namespace(), deployment.Name(), cancellationToken);
            var wanted = stored.Number(1, "spec", "replicas");
            var isSeen = stored.Number(0, "status", "observedGeneration") >= stored.Number(0, "metadata", "generation");
            var (updated, available) = isSeen ? (stored.Number(0, "status", "updatedReplicas"), stored.Number(0, "status", "availableReplicas")) : (0, 0);
            var line = $"cloudcore: {updated} of {wanted} replicas are new, {available} available";
            if (line != last)
                say(last = line);
            if (isSeen && updated >= wanted && available >= wanted && stored.Number(0, "status", "replicas") == wanted)
                return true;
            if (time.GetElapsedTime(since) > within)
            {
                await SayWhyAsync(stored, cancellationToken);
                return false;
            }

            await Task.Delay(s_poll, time, cancellationToken);
        }
    }

    private async Task SayWhyAsync(JsonObject deployment, CancellationToken cancellationToken)
    {
        foreach (var condition in deployment.Items("status", "conditions").Where(one => one.Text("status") != "True" || one.Text("type") == "ReplicaFailure"))
            say($"  deployment: {condition.Text("type")} is {condition.Text("status")}: {condition.Text("message")}");
        var selector = string.Join(',', deployment.Map("spec", "selector", "matchLabels").Select(pair => $"{pair.Key}={pair.Value}"));
        var pods = await kube.ListAsync(ResourceKind.Pod, deployment.Namespace(), new ListOptions(LabelSelector: selector), cancellationToken);
        if (pods.Items.Count == 0)
            say("  there are no pods of it yet");
        foreach (var pod in pods.Items)
        {
            var reasons = pod.Items("status", "containerStatuses").Select(one => one.At("state", "waiting") ?? one.At("state", "terminated"))
                .Concat(pod.Items("status", "conditions").Where(one => one.Text("type") == "PodScheduled" && one.Text("status") == "False"))
                .Where(one => one is not null).Select(one => $"{one.Text("reason")} {one.Text("message")}".Trim());
            say($"  pod {pod.Name()}: {pod.Text("status", "phase")}{string.Concat(reasons.Select(one => "; " + one))}");
        }
    }

    private static bool IsEstablished(JsonObject definition)
        => definition.Items("status", "conditions").Any(one => one.Text("type") == "Established" && one.Text("status") == "True");

    // A dry run gives no new version; bookkeeping is no change.
    private static bool IsSame(JsonObject before, JsonObject after) => JsonNode.DeepEquals(Bare(before), Bare(after));

    private static JsonObject Bare(JsonObject obj)
    {
        var bare = obj.DeepClone().AsObject();
        bare.Remove("status");
        var metadata = bare.Child("metadata");
        foreach (var key in (string[])["managedFields", "resourceVersion", "generation"])
            metadata.Remove(key);
        return bare;
    }
}
