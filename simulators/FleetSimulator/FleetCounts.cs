using System.Collections.Concurrent;
using Edge.Core.MetaManager;

namespace Edge.Fleet;

/// <summary>Counters of the whole fleet. Safe for concurrent calls.</summary>
internal sealed class FleetCounts
{
    private const int KeptMax = 100;
    private readonly Lock _gate = new();
    private readonly List<string> _violations = [];
    private readonly Dictionary<string, int> _reasons = [];
    private readonly ConcurrentDictionary<string, long> _storedByType = [];
    private long _violationCount;
    private long _syncs;
    private long _handshakeBytes;
    private long _syncBytesIn;
    private long _syncBytesOut;
    private long _stored;
    private long _storedBytes;
    private long _removed;
    private long _ignored;
    private long _upAcked;
    private long _leases;
    private long _missing;
    private long _reconnects;
    private long _failedDials;

    public long Stored => Interlocked.Read(ref _stored);

    public long StoredBytes => Interlocked.Read(ref _storedBytes);

    public long Removed => Interlocked.Read(ref _removed);

    public long Ignored => Interlocked.Read(ref _ignored);

    /// <summary>Queued entries that the cloud answered.</summary>
    public long UpAcked => Interlocked.Read(ref _upAcked);

    public long Leases => Interlocked.Read(ref _leases);

    /// <summary>Requests that got no answer though their link stayed up.</summary>
    public long MissingAnswers => Interlocked.Read(ref _missing);

    public long Reconnects => Interlocked.Read(ref _reconnects);

    public long FailedDials => Interlocked.Read(ref _failedDials);

    public long ViolationCount => Interlocked.Read(ref _violationCount);

    public List<string> Violations
    {
        get
        {
            lock (_gate)
                return [.. _violations];
        }
    }

    /// <summary>Why links ended and dials failed, the most frequent first.</summary>
    public List<(string Reason, int Count)> Reasons
    {
        get
        {
            lock (_gate)
                return [.. _reasons.OrderByDescending(pair => pair.Value).Select(pair => (pair.Key, pair.Value))];
        }
    }

    /// <summary>Objects of one type (<c>pod</c>, <c>configmap</c> …) that were stored.</summary>
    public long StoredOf(string type) => _storedByType.GetValueOrDefault(type);

    public void Decided(MetaDecision decision, string type, int bytes)
    {
        switch (decision)
        {
            case MetaDecision.Stored:
                Interlocked.Add(ref _storedBytes, bytes);
                _storedByType.AddOrUpdate(type, 1, static (_, count) => count + 1);
                Interlocked.Increment(ref _stored);
                break;
            case MetaDecision.Removed:
                Interlocked.Increment(ref _removed);
                break;
            default:
                Interlocked.Increment(ref _ignored);
                break;
        }
    }

    /// <summary>Connections whose inventory was answered.</summary>
    public long Syncs => Interlocked.Read(ref _syncs);

    /// <summary>Bytes both ways of their TCP connections until the WebSocket stood: TLS and upgrade.</summary>
    public long HandshakeBytes => Interlocked.Read(ref _handshakeBytes);

    /// <summary>Bytes from there until the inventory was answered.</summary>
    public (long In, long Out) SyncBytes => (Interlocked.Read(ref _syncBytesIn), Interlocked.Read(ref _syncBytesOut));

    public void Synced(long handshake, long bytesIn, long bytesOut)
    {
        Interlocked.Add(ref _handshakeBytes, handshake);
        Interlocked.Add(ref _syncBytesIn, bytesIn);
        Interlocked.Add(ref _syncBytesOut, bytesOut);
        Interlocked.Increment(ref _syncs);
    }

    public void UpDone(int rows) => Interlocked.Add(ref _upAcked, rows);

    public void LeaseRenewed() => Interlocked.Increment(ref _leases);

    public void AnswerMissing() => Interlocked.Increment(ref _missing);

    public void Reconnected() => Interlocked.Increment(ref _reconnects);

    public void DialFailed() => Interlocked.Increment(ref _failedDials);

    public void Ended(string reason)
    {
        lock (_gate)
        {
            if (_reasons.Count < KeptMax || _reasons.ContainsKey(reason))
                _reasons[reason] = _reasons.GetValueOrDefault(reason) + 1;
        }
    }

    public void Violate(string what)
    {
        Interlocked.Increment(ref _violationCount);
        lock (_gate)
        {
            if (_violations.Count < KeptMax)
                _violations.Add(what);
        }
    }
}
