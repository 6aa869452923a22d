using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Core.NodeStatus;

/// <summary>Sends a request to the cloud and waits for its answer, as <see cref="IUplink.RequestAsync"/>.</summary>
internal delegate Task<Message> Ask(Message request, TimeSpan timeout, CancellationToken cancellationToken);

/// <summary>Renews one node's Lease (kubeedge-wire §3.2).</summary>
internal sealed class NodeLease(string name, int durationSeconds, Ask ask, TimeProvider time, ILogger log)
{
    private static readonly TimeSpan s_requestTimeout = TimeSpan.FromSeconds(15);

    private readonly string _resource = $"kube-node-lease/{ResourceTypes.Lease}/{name}";

    /// <summary>Renews <paramref name="lease"/> at an Edge cloud that has had the whole of it on this connection: it needs the new time alone.
    /// Returns the lease, or null when the cloud wants the whole again.</summary>
    public async Task<JsonObject?> PatchAsync(JsonObject lease, CancellationToken cancellationToken)
    {
        try
        {
            var patch = new JsonObject { ["spec"] = new JsonObject { ["renewTime"] = KubeObject.MicroTime(time.GetUtcNow()) } };
            var answer = await AskAsync(ask, time, Operations.Patch, _resource, patch, cancellationToken);
            return answer.Outcome == UplinkOutcome.Accepted ? lease : null;
        }
        catch (UplinkException)
        {
            return null; // the whole lease is tried next, and says why it fails
        }
    }

    /// <summary>Renews <paramref name="lease"/>; null asks the cloud for it first and makes it where there is none.
    /// Returns the lease as the cloud holds it now (as it was sent, where the answer was but "OK"), or null when it failed.</summary>
    public async Task<JsonObject?> RenewAsync(JsonObject? lease, string nodeUid, CancellationToken cancellationToken)
    {
        try
        {
            for (var attempt = 0; ; attempt++)
            {
                if (lease is null)
                {
                    var query = await AskAsync(ask, time, Operations.Query, _resource, null, cancellationToken);
                    if (query.Outcome == UplinkOutcome.Failed)
                        throw new UplinkException(query.Text);
                    lease = query.Object;
                }

                var whole = lease is null ? NodeObject.NewLease(name, nodeUid, durationSeconds, time.GetUtcNow()) : NodeObject.Renewed(lease, name, durationSeconds, time.GetUtcNow());
                var answer = await AskAsync(ask, time, lease is null ? Operations.Insert : Operations.Update, _resource, whole, cancellationToken);
                if (answer.Outcome == UplinkOutcome.Accepted)
                    return answer.Object ?? whole;
                // Someone else made, changed or removed it: look again, once.
                if (attempt > 0 || answer.Reason is not ("AlreadyExists" or "Conflict" or "NotFound"))
                    throw new UplinkException(answer.Text);
                lease = null;
            }
        }
        catch (UplinkException e)
        {
            NodeLog.LeaseFailed(log, name, e.Message);
            return null;
        }
    }

    /// <summary>Asks the cloud about an object and reads what it says.</summary>
    /// <exception cref="UplinkException">Not connected, or no answer.</exception>
    public static async Task<CloudAnswer> AskAsync(Ask ask, TimeProvider time, string operation, string resource, JsonObject? content, CancellationToken cancellationToken)
    {
        var bytes = content is null ? default : Encoding.UTF8.GetBytes(content.ToJsonString());
        var request = Message.Create(time, Sources.Edged, Groups.Meta, operation, resource, bytes);
        return CloudAnswer.Read(await ask(request, s_requestTimeout, cancellationToken));
    }
}
