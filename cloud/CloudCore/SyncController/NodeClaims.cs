using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.EdgeController;
using Edge.Common;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.SyncController;

/// <summary>Writes into the Node of each member that it is connected here, and ends a session whose node was claimed by another CloudCore since.</summary>
/// <remarks>What the members hold is under the lock of <see cref="NodeSync"/>; the API is asked outside of it.</remarks>
/// <param name="kube">The API.</param>
/// <param name="time">Clock of the backoff.</param>
/// <param name="random">Jitter of the backoff; used under the lock.</param>
/// <param name="gate">The lock of members and placements.</param>
/// <param name="pods">Knows the Nodes.</param>
/// <param name="isCurrent">Whether the member is still its node's; called under the lock.</param>
/// <param name="logger">Where operators are told.</param>
/// <param name="scheduler">Where the writers run; the thread pool by default.</param>
internal sealed class NodeClaims(IKubeClient kube, TimeProvider time, Random random, Lock gate, PodPlacement pods, Func<SyncMember, bool> isCurrent, ILogger logger, TaskScheduler? scheduler = null) : IAsyncDisposable
{
    // A node that finds no room claims at the next change of its Node.
    private const int WaitingMax = 16_384;

    // Requests to the API at once, so that 10,000 nodes that connect do not take it from others.
    private const int Writers = 4;

    private const int ConflictsMax = 5;

    private static readonly TimeSpan s_backoffMin = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan s_backoffMax = TimeSpan.FromSeconds(30);

    private WorkQueue<SyncMember>? _queue;
    private CloudCoreIdentity? _identity;

    /// <summary>Who this CloudCore says it is; null before <see cref="Start"/>, and until then nothing is claimed.</summary>
    public CloudCoreIdentity? Identity => Volatile.Read(ref _identity);

    /// <summary>Claims from now on. Under the lock, once.</summary>
    public void Start(CloudCoreIdentity identity)
    {
        _queue ??= new WorkQueue<SyncMember>(WaitingMax, Writers, ClaimAsync, exception => SyncLog.WorkBroke(logger, exception), scheduler);
        _identity = identity;
    }

    public ValueTask DisposeAsync() => _queue?.DisposeAsync() ?? ValueTask.CompletedTask;

    /// <summary>A session began. Under the lock.</summary>
    public void Begin(SyncMember member)
    {
        if (_identity is null)
            return;
        var node = pods.Node(member.Session.Node);
        member.Claim = new NodeClaim(_identity, node);
        if (node is not null)
            Look(member, node);
    }

    /// <summary>The watch shows the Node of a member. Under the lock.</summary>
    public void Look(SyncMember member, JsonObject node)
    {
        switch (member.Claim?.Look(node))
        {
            case ClaimVerdict.Lost:
                SyncLog.Moved(logger, member.Session.Node, node.Annotation(CloudCoreIdentity.IdAnnotation) ?? "");
                member.Session.End(SessionEndReason.Moved);
                break;
            case ClaimVerdict.Write when !member.Claim.IsQueued:
                member.Claim.IsQueued = _queue!.TryAdd(member);
                break;
        }
    }

    private async Task ClaimAsync(SyncMember member, CancellationToken cancellationToken)
    {
        JsonObject? node;
        lock (gate)
        {
            node = pods.Node(member.Session.Node);
        }

        var failures = 0;
        for (var conflicts = 0; conflicts < ConflictsMax && node is not null && IsClaimDue(member, node); conflicts++)
        {
            try
            {
                node = await WriteClaimAsync(node, cancellationToken);
                failures = 0;
            }
            catch (KubeException e) when (e.Code == 404)
            {
                // The watch is about to show that the Node is gone.
                node = null;
            }
            catch (KubeException e)
            {
                TimeSpan pause;
                lock (gate)
                {
                    pause = Backoff.FullJitter(++failures, s_backoffMin, s_backoffMax, random);
                }

                SyncLog.NotClaimed(logger, member.Session.Node, e.Message, pause.TotalSeconds);
                await Task.Delay(pause, time, cancellationToken);
                conflicts = 0;
            }
        }

        lock (gate)
        {
            member.Claim!.IsQueued = false;
            // The watch may have shown another claim while this one was written.
            if (node is not null && isCurrent(member) && pods.Node(member.Session.Node) is { } seen)
                Look(member, seen);
        }
    }

    private bool IsClaimDue(SyncMember member, JsonObject node)
    {
        lock (gate)
        {
            if (!isCurrent(member))
                return false;
            var verdict = member.Claim!.Look(node);
            if (verdict == ClaimVerdict.Lost)
                Look(member, node);
            return verdict == ClaimVerdict.Write;
        }
    }

    // Onto the version that was looked at: a claim of another CloudCore in between must not be written over. Returns the Node as it is then.
    private async Task<JsonObject?> WriteClaimAsync(JsonObject node, CancellationToken cancellationToken)
    {
        var annotations = new JsonObject();
        _identity!.AddTo(annotations);
        var patch = new JsonObject { ["metadata"] = new JsonObject { ["resourceVersion"] = node.ResourceVersion(), ["annotations"] = annotations } };
        try
        {
            return await kube.PatchAsync(ResourceKind.Node, null, node.Name(), PatchKind.Merge, JsonBytes.Of(patch), null, cancellationToken);
        }
        catch (KubeException e) when (e.Code == 409)
        {
            return await kube.TryGetAsync(ResourceKind.Node, null, node.Name(), cancellationToken);
        }
    }
}
