using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>One write that a workload's core decided.</summary>
internal abstract record WorkloadAction;

/// <summary>Make the object. <paramref name="MayExist"/>: that it is there already is no failure (claims of a StatefulSet).</summary>
internal sealed record CreateAction(ResourceKind Kind, JsonObject Object, bool MayExist = false) : WorkloadAction;

/// <summary>A JSON merge patch. Where it holds the resourceVersion that was seen, another writer in between makes it fail, and it is decided anew.</summary>
internal sealed record PatchAction(ResourceKind Kind, JsonObject Target, JsonObject Patch, string? Subresource = null) : WorkloadAction;

internal sealed record DeleteAction(ResourceKind Kind, JsonObject Target, string Propagation = "Background") : WorkloadAction;

/// <summary>An Event about the workload.</summary>
internal sealed record TellAction(string Type, string Reason, string Message) : WorkloadAction;

/// <summary>What one look at a workload decided, in the order in which it is done, and after what time at the latest to look again
/// though nothing changes (null: not before something changes).</summary>
internal sealed class WorkloadPlan
{
    public List<WorkloadAction> Actions { get; } = [];

    public TimeSpan? Next { get; private set; }

    /// <summary>What to write instead of all that follows when the API refuses to make a pod, given its words; null where nothing is.</summary>
    public Func<string, WorkloadAction?>? OnCreateFailed { get; set; }

    public void LookAgain(TimeSpan wait)
    {
        if (wait < TimeSpan.Zero)
            wait = TimeSpan.Zero;
        if (Next is null || wait < Next)
            Next = wait;
    }

    public void Add(WorkloadAction action) => Actions.Add(action);

    public void Tell(string reason, string message, string type = "Normal") => Actions.Add(new TellAction(type, reason, message));
}
