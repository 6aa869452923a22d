using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.SyncController;

/// <summary>Which CloudCore this is.</summary>
/// <param name="Address">What KubeEdge writes into a Node's annotation <c>cloudcore</c>.</param>
/// <param name="Id">Tells instances apart; the same after a restart, so that a restart writes nothing.</param>
internal sealed record CloudCoreIdentity(string Address, string Id)
{
    /// <summary>Where other cloudcores reach this one's kubelet endpoint, <c>IP:port</c>.</summary>
    public const string StreamAnnotation = "edge.kubeedge.io/cloudcore-stream";

    public const string AddressAnnotation = "cloudcore";
    public const string IdAnnotation = "edge.kubeedge.io/cloudcore";

    /// <summary>The value of <see cref="StreamAnnotation"/>; empty while modules.cloudStream is off.</summary>
    public string Stream { get; init; } = "";

    /// <summary>Writes the annotations into <paramref name="annotations"/>.</summary>
    public void AddTo(JsonObject annotations)
    {
        annotations[AddressAnnotation] = Address;
        if (Id.Length > 0)
            annotations[IdAnnotation] = Id;
        if (Stream.Length > 0)
            annotations[StreamAnnotation] = Stream;
    }

    /// <summary>Takes out of <paramref name="annotations"/> whatever says which CloudCore a node is connected to.</summary>
    public static void RemoveFrom(JsonObject annotations)
    {
        annotations.Remove(AddressAnnotation);
        annotations.Remove(IdAnnotation);
        annotations.Remove(StreamAnnotation);
    }
}

/// <summary>What a look at the Node means for a session.</summary>
internal enum ClaimVerdict
{
    /// <summary>Nothing to do.</summary>
    Settled,

    /// <summary>The Node does not name this CloudCore yet.</summary>
    Write,

    /// <summary>The node has connected to another CloudCore since.</summary>
    Lost,
}

/// <summary>One session's claim that its node is connected here, kept as annotations of the Node; pure, one caller at a time.</summary>
/// <remarks>Each session claims once. A Node that names another instance after that, or another than it named when the session began, was claimed later: that
/// connection is the newer one. Watches lag, so an older version of the Node proves nothing.</remarks>
/// <param name="own">This CloudCore.</param>
/// <param name="before">The Node when the session began, or null when there was none.</param>
internal sealed class NodeClaim(CloudCoreIdentity own, JsonObject? before)
{
    private readonly string _before = before?.Annotation(CloudCoreIdentity.IdAnnotation) ?? "";
    private long _since = -1;

    /// <summary>True while the claim is on its way to the API.</summary>
    public bool IsQueued { get; set; }

    /// <summary>Judges the Node as the watch shows it, or as the API answered a write of the claim.</summary>
    public ClaimVerdict Look(JsonObject node)
    {
        var named = node.Annotation(CloudCoreIdentity.IdAnnotation) ?? "";
        if (named == own.Id)
        {
            if (_since < 0)
                _since = node.Version();
            return node.Annotation(CloudCoreIdentity.AddressAnnotation) == own.Address && (own.Stream.Length == 0 || node.Annotation(CloudCoreIdentity.StreamAnnotation) == own.Stream) ? ClaimVerdict.Settled : ClaimVerdict.Write;
        }

        if (_since >= 0 && node.Version() <= _since)
            return ClaimVerdict.Settled;
        return named.Length > 0 && (_since >= 0 || named != _before) ? ClaimVerdict.Lost : ClaimVerdict.Write;
    }
}
