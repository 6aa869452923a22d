using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>A Deployment and its ReplicaSets, during one look at it.</summary>
internal sealed class DeploymentState
{
    public DeploymentState(JsonObject deployment, WorkloadWorld world, WorkloadPlan plan, DateTimeOffset now)
    {
        Deployment = deployment;
        World = world;
        Plan = plan;
        Now = now;
        AllSets = Ownership.Claim(ResourceKind.ReplicaSet, deployment, ResourceKind.Deployment, world, plan);
        var template = deployment.At("spec", "template");
        NewSet = AllSets.Where(set => !set.IsDeleting() && JsonNode.DeepEquals(DeploymentCore.Template(set), template))
            .OrderBy(PodFacts.Created).ThenBy(set => set.Name(), StringComparer.Ordinal).FirstOrDefault();
        OldSets = [.. AllSets.Where(set => set != NewSet)];
        Wanted = deployment.Number(1, "spec", "replicas");
        Collisions = deployment.Number(0, "status", "collisionCount");
        if (deployment.Text("spec", "strategy", "type") != "Recreate")
        {
            var rolling = deployment.At("spec", "strategy", "rollingUpdate");
            MaxSurge = Share.Of(rolling.At("maxSurge"), Wanted, roundUp: true);
            MaxUnavailable = Share.Of(rolling.At("maxUnavailable"), Wanted, roundUp: false);
            if (MaxSurge == 0 && MaxUnavailable == 0)
                MaxUnavailable = 1; // both rounded down to nothing would never move
            MaxUnavailable = Math.Min(MaxUnavailable, Wanted);
        }
    }

    public JsonObject Deployment { get; }

    public WorkloadWorld World { get; }

    public WorkloadPlan Plan { get; }

    public DateTimeOffset Now { get; }

    public List<JsonObject> AllSets { get; }

    /// <summary>The ReplicaSet of the wanted template; null when there is none yet.</summary>
    public JsonObject? NewSet { get; }

    public List<JsonObject> OldSets { get; }

    /// <summary>spec.replicas</summary>
    public long Wanted { get; }

    public long MaxSurge { get; }

    public long MaxUnavailable { get; }

    public long Collisions { get; set; }

    /// <summary>The ReplicaSet that this look makes; null when none.</summary>
    public string? Created { get; set; }
}

/// <summary>A number, or a share of a total in percent.</summary>
internal static class Share
{
    public static long Of(JsonNode? node, long total, bool roundUp)
    {
        if (node.TryWhole(out var number))
            return number;
        if (node is not JsonValue value || !value.TryGetValue<string>(out var text) || !long.TryParse(text.TrimEnd('%'), out var percent))
            return 0;
        return roundUp ? ((percent * total) + 99) / 100 : percent * total / 100;
    }
}
