using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.SyncController;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Cloud.Tests.Support;

/// <summary>A session without a wire and the edge behind it, with a real store's rules: a version of the same uid that is not newer is not taken unless it is a repair, a delete
/// of another uid changes nothing.</summary>
internal sealed class TestSession(string node, bool isEdgeWire = true, Dictionary<string, TestSession.Row>? store = null) : ISyncSession
{
    private readonly List<DownObject> _waiting = [];
    private bool _isOpen;

    public sealed record Row(string Uid, long Version, ulong Fingerprint);

    public string Node { get; } = node;

    public bool IsEdgeWire { get; } = isEdgeWire;

    public (int Objects, int Messages) Depth => (_waiting.Count, 0);

    public int InFlight => 0;

    public IReadOnlyList<Edge.Cloud.Dashboard.QueuedObject> Queued(int max) => [];

    /// <summary>Whether the digest asks for Services, EndpointSlices, GlobalServices and Zones.</summary>
    public bool WantsServices { get; init; }

    /// <summary>What the edge has, by path.</summary>
    public Dictionary<string, Row> Store { get; } = store ?? [];

    /// <summary>Uids that the edge has tombstones of: what is not a repair does not bring them back.</summary>
    public HashSet<string> Buried { get; } = [];

    /// <summary>Everything that reached the edge: <c>operation path version</c>, and <c>has path</c> for a device that it has already.</summary>
    public List<string> Told { get; } = [];

    /// <summary>The objects among these.</summary>
    public List<DownObject> Objects { get; } = [];

    public List<string> KnownUids { get; } = [];

    /// <summary>Uids of which a state waits to be sent.</summary>
    public HashSet<string> ToSend { get; } = [];

    public bool IsOpen => _isOpen;

    public SessionEndReason EndReason { get; private set; }

    public InventoryDigest Digest(int? buckets = null)
    {
        var digest = new InventoryDigest(buckets ?? InventoryDigest.BucketsFor(Store.Count));
        foreach (var (key, row) in Store)
            digest.Add(key, row.Uid, row.Fingerprint);
        return digest;
    }

    public InventoryPart Part(int of, IReadOnlyList<int> buckets)
        => new(of, buckets, [.. Store.Where(pair => buckets.Contains(InventoryDigest.BucketOf(pair.Key, of)))
            .Select(pair => new InventoryItem(pair.Key, pair.Value.Uid, pair.Value.Version, pair.Value.Fingerprint))]);

    /// <summary>Connects as an Edge peer does: digest, and the part that is asked for. True when the digest was enough.</summary>
    public Task<bool> ConnectAsync(NodeSync sync, int? buckets = null, Action? between = null)
    {
        Assert.True(sync.TryRegister(this, 10));
        return CompareAsync(sync, buckets, between);
    }

    /// <summary>Tells the digest, as it also does amid a session, and the part that is asked for. True when the digest was enough.</summary>
    public async Task<bool> CompareAsync(NodeSync sync, int? buckets = null, Action? between = null)
    {
        var digest = Digest(buckets);
        var answer = sync.AnswerDigest(this, digest, WantsServices);
        var asked = InventoryMessages.ReadAsk(answer, digest.Buckets, out var error);
        Assert.True(asked is not null, error);
        if (asked!.Count == 0)
            return true;
        var part = Part(digest.Buckets, asked);
        between?.Invoke();
        await sync.ApplyPartAsync(this, part, CancellationToken.None);
        return false;
    }

    public void Deliver(DownObject obj)
    {
        _waiting.Add(obj);
        Flow();
    }

    public void Known(string uid, long version) => KnownUids.Add(uid);

    public bool WillSend(string uid) => ToSend.Contains(uid);

    public void Send(Message message, bool isUrgent = false) => Told.Add(message.Resource);

    public void Members(IReadOnlyList<string> present) => Told.AddRange(present.Select(device => $"has {device}"));

    public bool Open()
    {
        if (_isOpen)
            return false;
        _isOpen = true;
        Flow();
        return true;
    }

    public void End(SessionEndReason reason)
    {
        if (EndReason == SessionEndReason.None)
            EndReason = reason;
    }

    private void Flow()
    {
        if (!_isOpen)
            return;
        foreach (var obj in _waiting)
        {
            Told.Add($"{obj.Operation} {obj.Resource} {obj.Version}{(obj.IsRepair ? " repair" : "")}");
            var row = Store.GetValueOrDefault(obj.Resource);
            if (obj.IsDelete)
            {
                if (row?.Uid == obj.Uid)
                    Store.Remove(obj.Resource);
            }
            else if (obj.IsRepair || (!Buried.Contains(obj.Uid) && (row is null || row.Uid != obj.Uid || obj.Version > row.Version)))
            {
                Store[obj.Resource] = new Row(obj.Uid, obj.Version, obj.Body.Fingerprint);
            }

            Objects.Add(obj); // last: who waits for it on another thread finds the rest done
        }

        _waiting.Clear();
    }
}
