using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>Numbers of a Deployment's ReplicaSets when its own number changes, also in the middle of a rollout. Pure.</summary>
internal static class DeploymentScaling
{
    private const string Desired = "deployment.kubernetes.io/desired-replicas";
    private const string Max = "deployment.kubernetes.io/max-replicas";
    private const string History = "deployment.kubernetes.io/revision-history";
    private const string LastApplied = "kubectl.kubernetes.io/last-applied-configuration";

    /// <summary>Whether the Deployment's number is another one than its ReplicaSets were made for.</summary>
    public static bool IsScaling(DeploymentState state)
        => state.Deployment.Text("spec", "strategy", "type") != "Recreate" && state.AllSets.Any(set => DeploymentCore.Replicas(set) > 0 && set.Annotation(Desired) is { } desired && desired != Text(state.Wanted));

    /// <summary>Brings the ReplicaSets to the Deployment's number without a rollout: the only active one takes it all, several share it by their size.</summary>
    public static void Scale(DeploymentState state)
    {
        var active = state.AllSets.Where(set => DeploymentCore.Replicas(set) > 0).ToList();
        var only = active.Count == 1 ? active[0] : active.Count == 0 ? state.NewSet ?? state.AllSets.OrderByDescending(PodFacts.Created).FirstOrDefault() : null;
        if (only is not null)
        {
            if (DeploymentCore.Replicas(only) != state.Wanted || only.Annotation(Desired) != Text(state.Wanted))
                ScaleTo(state, only, state.Wanted);
            return;
        }

        if (state.NewSet is { } newest && DeploymentCore.Replicas(newest) == state.Wanted && DeploymentCore.Available(newest) == state.Wanted)
        {
            foreach (var old in state.OldSets.Where(set => DeploymentCore.Replicas(set) > 0))
                ScaleTo(state, old, 0);
            return;
        }

        if (active.Count == 0 || state.Deployment.Text("spec", "strategy", "type") == "Recreate")
            return; // a Recreate in progress scales by itself, once the old pods are gone
        var allowed = state.Wanted > 0 ? state.Wanted + state.MaxSurge : 0;
        var total = active.Sum(DeploymentCore.Replicas);
        var toAdd = allowed - total;
        var ordered = active.OrderByDescending(DeploymentCore.Replicas)
            .ThenBy(set => toAdd > 0 ? -PodFacts.Created(set).UtcTicks : PodFacts.Created(set).UtcTicks).ToList();
        var next = ordered.ConvertAll(DeploymentCore.Replicas);
        var added = 0L;
        for (var i = 0; i < ordered.Count && toAdd != 0; i++)
        {
            var size = DeploymentCore.Replicas(ordered[i]);
            var past = long.TryParse(ordered[i].Annotation(Max), NumberStyles.None, CultureInfo.InvariantCulture, out var max) && max > 0 ? max : total;
            var share = (long)Math.Round((double)size * allowed / past, MidpointRounding.AwayFromZero) - size;
            share = toAdd > 0 ? Math.Clamp(share, 0, toAdd - added) : Math.Clamp(share, toAdd - added, 0);
            next[i] += share;
            added += share;
        }

        if (next.Count > 0)
            next[0] = Math.Max(0, next[0] + toAdd - added);
        for (var i = 0; i < ordered.Count; i++)
            ScaleTo(state, ordered[i], next[i]);
    }

    /// <summary>One ReplicaSet's number, together with what it was made for.</summary>
    public static void ScaleTo(DeploymentState state, JsonObject set, long count)
    {
        var before = DeploymentCore.Replicas(set);
        state.Plan.Add(new PatchAction(ResourceKind.ReplicaSet, set, new JsonObject
        {
            ["metadata"] = new JsonObject
            {
                ["uid"] = set.Uid(),
                ["annotations"] = new JsonObject { [Desired] = Text(state.Wanted), [Max] = Text(state.Wanted + state.MaxSurge) },
            },
            ["spec"] = new JsonObject { ["replicas"] = count },
        }));
        if (count != before)
            state.Plan.Tell("ScalingReplicaSet", $"Scaled {(count > before ? "up" : "down")} replica set {set.Name()} from {before} to {count}");
    }

    /// <summary>The annotations that a ReplicaSet of this revision carries: the Deployment's and those that describe the rollout.</summary>
    public static JsonObject Annotations(DeploymentState state, JsonObject? set, string revision)
    {
        var annotations = new JsonObject();
        foreach (var (key, value) in state.Deployment.Map("metadata", "annotations"))
        {
            if (key is not (DeploymentCore.Revision or LastApplied or History or Desired or Max))
                annotations[key] = value;
        }

        annotations[DeploymentCore.Revision] = revision;
        if (set is null)
        {
            annotations[Desired] = Text(state.Wanted);
            annotations[Max] = Text(state.Wanted + state.MaxSurge);
        }
        else if (set.Annotation(DeploymentCore.Revision) is { Length: > 0 } former && former != revision)
        {
            annotations[History] = set.Annotation(History) is { Length: > 0 } earlier ? $"{earlier},{former}" : former;
        }

        return annotations;
    }

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
