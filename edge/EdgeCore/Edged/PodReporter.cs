using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.EdgeHub;
using Edge.Core.Edged.Probes;
using Edge.Core.Edged.StaticPods;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Core.Edged;

/// <summary>What one pod tells: its status, kept on the disk and sent up whenever it changes, and its Events. It also remembers how the node ended the pod.</summary>
/// <remarks><see cref="End"/> and <see cref="Again"/> may be called from any thread, all else from the pod's worker.</remarks>
internal sealed class PodReporter
{
    private readonly PodContext _context;
    private readonly PodStatusBuilder _builder;
    private readonly Dictionary<string, DateTimeOffset> _recentEvents = new(StringComparer.Ordinal);
    private JsonObject? _sent;
    private string _sentText = "";
    private PodEnd? _ordered;
    private PodEnd? _end;
    private string _endedAt;
    private bool _isOwn; // this node said it, not the object
    private bool _endDue;
    private bool _again;

    /// <param name="last">The status that this node said last of the pod; null when it said none that it remembers.</param>
    public PodReporter(PodContext context, PodDescription pod, JsonObject? last)
    {
        _context = context;
        _sent = last ?? pod.Json["status"] as JsonObject;
        _isOwn = last is not null;
        _end = PodEnd.Of(_sent);
        _endedAt = _sent.Items("conditions").FirstOrDefault(condition => condition.Text("type") == "DisruptionTarget").Text("lastTransitionTime");
        HasEnded = _sent.Text("phase") is "Succeeded" or "Failed";
        _builder = new PodStatusBuilder(_sent, context.Time.GetUtcNow());
    }

    /// <summary>True once the pod has Succeeded or Failed.</summary>
    public bool HasEnded { get; private set; }

    /// <summary>When this node took the pod.</summary>
    public DateTimeOffset StartTime => _builder.StartTime;

    /// <summary>The status that was said last; null before the first.</summary>
    public JsonObject? Last => _sent;

    /// <summary>Orders the pod's end as Failed; the first end counts.</summary>
    public void End(PodEnd end) => Interlocked.CompareExchange(ref _ordered, end, null);

    /// <summary>The next status is sent, though it may be the one sent last.</summary>
    public void Again() => Volatile.Write(ref _again, true);

    /// <summary>The pod as it is wanted, with the end that it has come to here.</summary>
    public async Task<PodDescription> EndedAsync(PodDescription pod, CancellationToken cancellationToken)
    {
        // How it ended, this node knows best: the object may be from before, and is not sent again for its status.
        if (pod.EndedPhase.Length == 0 && _sent.Text("phase") is "Succeeded" or "Failed")
            pod = pod with { EndedPhase = _sent.Text("phase") };
        if (Volatile.Read(ref _again))
        {
            Volatile.Write(ref _again, false);
            _sentText = "";
        }

        if (Volatile.Read(ref _ordered) is { } ordered && _end is null && pod.EndedPhase.Length == 0)
        {
            (_end, _endDue, _endedAt) = (ordered, true, KubeObject.Time(_context.Time.GetUtcNow()));
            await EventAsync(pod, true, ordered.Reason, ordered.EventMessage, "", cancellationToken);
        }

        return _end is null ? pod : pod with { EndedPhase = "Failed", Grace = pod.Grace < _end.Grace ? pod.Grace : _end.Grace, IsDiscarded = _end.IsEviction };
    }

    /// <summary>Says the pod's status when it differs from the one said last.</summary>
    /// <returns>False when it could not be stored, and is to be tried again: a full disk stops no container from being restarted.</returns>
    public async Task<bool> PublishAsync(PodDescription pod, bool removed, PodSnapshot snapshot, PodCore core, ProbeVerdicts verdicts, CancellationToken cancellationToken)
    {
        // Without its containers a pod that goes, or went before, would look as if it had never run.
        var isPast = !_endDue && (pod.EndedPhase.Length > 0 ? HasLost(snapshot) : pod.IsDeleting && snapshot.Containers.Count == 0);
        if (removed || isPast && (_sent is null || !_isOwn || _sentText.Length > 0))
            return true;
        var status = isPast ? _sent! : _builder.Build(pod, snapshot, core, verdicts, _context.HostIp, _context.Time.GetUtcNow());
        if (!isPast)
            _end?.Apply(status, _endedAt);
        var text = status.ToJsonString();
        if (text == _sentText)
            return true;
        var patch = PodStatusBuilder.Patch(StaticPodFile.IsStatic(pod.Json) ? "" : pod.Uid, _sent, status);
        var entry = new UplinkEntry(
            $"podstatus/{pod.Namespace}/{pod.Name}/{pod.Uid}", UplinkPriority.PodStatus, UplinkRule.Newest, Sources.Edged, Groups.Meta, Operations.Patch,
            $"{pod.Namespace}/{ResourceTypes.PodPatch}/{pod.Name}", MessageCodec.JsonString(patch.ToJsonString()));
        try
        {
            // Together, so that they share a commit.
            await Task.WhenAll(
                _context.Uplink.PostAsync(entry, cancellationToken).AsTask(),
                PodRows.Statuses.PutAsync(_context.Meta, pod.Uid, status, cancellationToken).AsTask());
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException)
        {
            EdgedLog.NotKept(_context.Log, "the status", $"{pod.Namespace}/{pod.Name}", e.Message);
            return false;
        }

        _sentText = text;
        _sent = status;
        _isOwn = true;
        _endDue = false;
        HasEnded = status.Text("phase") is "Succeeded" or "Failed";
        return true;
    }

    // Whether containers that the last status tells of are gone, or all are.
    private bool HasLost(PodSnapshot snapshot)
        => snapshot.Containers.Count == 0 || ((string[])["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"]).SelectMany(list => _sent.Items(list))
            .Any(told => told.Text("containerID").Length > 0 && snapshot.Newest(told.Text("name")) is null);

    /// <summary>Records an Event of the pod, unless it said the same a moment ago.</summary>
    public ValueTask EventAsync(PodDescription pod, bool warning, string reason, string message, string fieldPath, CancellationToken cancellationToken)
        => _context.Events.RecordAsync(pod, _recentEvents, warning, reason, message, fieldPath, cancellationToken);
}
