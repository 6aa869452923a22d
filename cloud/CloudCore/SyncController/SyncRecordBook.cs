namespace Edge.Cloud.SyncController;

/// <summary>One write that is due. <paramref name="Target"/> null asks for the delete.</summary>
/// <param name="Target">The record as it should be.</param>
/// <param name="Seen">The record as it was last seen, or null.</param>
/// <param name="SeenVersion">The record's own resourceVersion then; empty when it is not known to exist.</param>
/// <param name="Namespace">Where the record is.</param>
/// <param name="IsForced">Write even over a higher version.</param>
internal sealed record RecordWrite(RecordKey Key, SyncRecord? Target, SyncRecord? Seen, string SeenVersion, string Namespace, bool IsForced);

/// <summary>How a write went.</summary>
internal abstract record RecordOutcome
{
    /// <summary>This is there now, by us or by another CloudCore.</summary>
    public sealed record Written(SyncRecord Record, string RecordVersion) : RecordOutcome;

    /// <summary>There is no such record.</summary>
    public sealed record Gone : RecordOutcome;

    /// <summary>The API could not be reached or was busy; it is tried again.</summary>
    public sealed record Failed : RecordOutcome;

    /// <summary>The API will never take it.</summary>
    public sealed record Refused : RecordOutcome;
}

/// <summary>The records of what stock edges have acknowledged: as the API shows them, and what is still to be written. Pure, one caller at a time.</summary>
/// <remarks>
/// <para>The newest wish of a record replaces one that waits, so a record that changes often is written once in a while, and a slow API delays no ack. Of two versions of
/// an acknowledgement the higher counts, whoever wrote it.</para>
/// <para>An object that is sent for the first time gets a record with version 0 (<see cref="Sent"/>): if the edge stores it and the answer is lost, its later delete is
/// still owed. It is mostly overtaken by the ack before it is written.</para>
/// </remarks>
/// <param name="newRowsMax">Records to be made that may wait. Beyond, they are dropped and counted by the caller: the object is sent again on the next connect.</param>
internal sealed class SyncRecordBook(int newRowsMax)
{
    private readonly Dictionary<string, Dictionary<string, Row>> _byNode = [];
    private readonly Queue<Row> _due = [];
    private int _newRows;

    /// <summary>Records that wait to be written.</summary>
    public int Waiting { get; private set; }

    /// <summary>Nodes that have records.</summary>
    public IReadOnlyCollection<string> Nodes => _byNode.Keys;

    /// <summary>What the node has acknowledged, what is not yet written included.</summary>
    public List<SyncRecord> Of(string node)
    {
        var records = new List<SyncRecord>();
        if (_byNode.TryGetValue(node, out var rows))
        {
            foreach (var row in rows.Values)
            {
                if (row.Current is { } record)
                    records.Add(record);
            }
        }

        return records;
    }

    /// <summary>The API has this record.</summary>
    /// <param name="record">As read.</param>
    /// <param name="recordVersion">The record's own resourceVersion.</param>
    public void Observe(SyncRecord record, string recordVersion)
    {
        var row = RowOf(record.Key);
        // The echo of our own writes comes after our own delete.
        if (IsOlder(recordVersion, row.SeenVersion) || (row.GoneVersion.Length > 0 && !IsOlder(row.GoneVersion, recordVersion)))
            return;
        row.GoneVersion = "";
        See(row, record, recordVersion);
        // Another CloudCore may have written what we were about to, or more.
        if (!row.IsForced && row.Want is { } want && Includes(record, want))
            Wish(row, null);
    }

    /// <summary>The API has no such record any more.</summary>
    public void ObserveGone(RecordKey key, string recordVersion)
    {
        if (!TryGet(key, out var row))
            return;
        row.GoneVersion = "";
        if (row.Seen is not null && IsOlder(recordVersion, row.SeenVersion))
            return;
        See(row, null, "");
        row.WantsGone &= row.IsInFlight;
        DropIfEmpty(row);
    }

    /// <summary>The object goes to the node for the first time as far as is known. False when there is no room.</summary>
    public bool Sent(SyncRecord record)
    {
        if (TryGet(record.Key, out var row) && row.Current is not null)
            return true;
        return Ask(record with { Version = 0, Fingerprint = 0 });
    }

    /// <summary>The node has acknowledged this state. False when there is no room.</summary>
    public bool Acked(SyncRecord record)
    {
        if (TryGet(record.Key, out var row) && row.Current is { } current && Includes(current, record))
            return true;
        return Ask(record);
    }

    /// <summary>The node no longer has the object, or is gone.</summary>
    public void Removed(RecordKey key)
    {
        if (!TryGet(key, out var row))
            return;
        Wish(row, null);
        row.WantsGone = row.Seen is not null || row.IsInFlight;
        if (row.WantsGone)
            Enqueue(row);
        else
            DropIfEmpty(row);
    }

    /// <summary>All records of the node go.</summary>
    public void RemoveNode(string node)
    {
        if (!_byNode.TryGetValue(node, out var rows))
            return;
        foreach (var uid in rows.Keys.ToList())
            Removed(new RecordKey(node, uid));
    }

    /// <summary>The next write, or null. <see cref="Done"/> must follow.</summary>
    public RecordWrite? Take()
    {
        while (_due.TryDequeue(out var row))
        {
            row.IsQueued = false;
            Waiting--;
            if (row.Want is null && !row.WantsGone)
            {
                DropIfEmpty(row);
                continue;
            }

            row.IsInFlight = true;
            return new RecordWrite(row.Key, row.Want, row.Seen, row.SeenVersion, row.Namespace, row.IsForced);
        }

        return null;
    }

    public void Done(RecordWrite write, RecordOutcome outcome)
    {
        if (!TryGet(write.Key, out var row))
            return;
        row.IsInFlight = false;
        switch (outcome)
        {
            case RecordOutcome.Written written:
                if (!IsOlder(written.RecordVersion, row.SeenVersion))
                    See(row, written.Record, written.RecordVersion);
                if (row.Want is { } want && (want == write.Target || (!row.IsForced && Includes(written.Record, want))))
                    Wish(row, null);
                break;
            case RecordOutcome.Gone:
                if (row.Seen is not null)
                    row.GoneVersion = row.SeenVersion;
                See(row, null, "");
                row.WantsGone = false;
                break;
            case RecordOutcome.Refused:
                if (row.Want == write.Target)
                    Wish(row, null);
                if (write.Target is null)
                    row.WantsGone = false;
                break;
        }

        if (row.Want is not null || row.WantsGone)
            Enqueue(row);
        else
            DropIfEmpty(row);
    }

    // True when what is recorded makes the other needless: it is newer, or says the same.
    private static bool Includes(SyncRecord there, SyncRecord other)
        => there.Version > other.Version || (there.Version == other.Version && (there.Fingerprint == other.Fingerprint || other.Fingerprint == 0));

    // Versions of the records themselves; Kubernetes lets them be compared only for being equal, its servers count up all the same.
    private static bool IsOlder(string version, string seen)
        => long.TryParse(version, out var a) && long.TryParse(seen, out var b) && a < b;

    private bool Ask(SyncRecord record)
    {
        var isThere = TryGet(record.Key, out var row);
        if (_newRows >= newRowsMax && (!isThere || (row!.Seen is null && row.Want is null)))
            return false;
        row ??= RowOf(record.Key);
        // The node has confirmed that it no longer had the object: what was recorded before counts for nothing, whatever its version.
        row.IsForced |= row.WantsGone;
        row.WantsGone = false;
        Wish(row, record);
        Enqueue(row);
        return true;
    }

    private void See(Row row, SyncRecord? record, string version)
    {
        row.Seen = record;
        row.SeenVersion = version;
        if (record is not null)
            row.Namespace = record.Namespace;
        Count(row);
    }

    private void Wish(Row row, SyncRecord? want)
    {
        row.Want = want;
        row.IsForced &= want is not null;
        if (want is not null)
            row.Namespace = want.Namespace;
        Count(row);
    }

    private void Count(Row row)
    {
        var isNew = row.Seen is null && row.Want is not null;
        if (isNew == row.IsNew)
            return;
        row.IsNew = isNew;
        _newRows += isNew ? 1 : -1;
    }

    private void Enqueue(Row row)
    {
        if (row.IsQueued || row.IsInFlight)
            return;
        row.IsQueued = true;
        _due.Enqueue(row);
        Waiting++;
    }

    private bool TryGet(RecordKey key, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Row? row)
    {
        row = null;
        return _byNode.TryGetValue(key.Node, out var rows) && rows.TryGetValue(key.Uid, out row);
    }

    private Row RowOf(RecordKey key)
    {
        if (!_byNode.TryGetValue(key.Node, out var rows))
            _byNode[key.Node] = rows = [];
        if (!rows.TryGetValue(key.Uid, out var row))
            rows[key.Uid] = row = new Row(key);
        return row;
    }

    private void DropIfEmpty(Row row)
    {
        if (row.Seen is not null || row.Want is not null || row.WantsGone || row.IsInFlight || row.IsQueued || row.GoneVersion.Length > 0)
            return;
        if (_byNode.TryGetValue(row.Key.Node, out var rows) && rows.Remove(row.Key.Uid) && rows.Count == 0)
            _byNode.Remove(row.Key.Node);
    }

    private sealed class Row(RecordKey key)
    {
        public RecordKey Key { get; } = key;

        public SyncRecord? Seen { get; set; }

        public string SeenVersion { get; set; } = "";

        /// <summary>We deleted the record when it had this version, and the watch has not shown it yet; empty otherwise.</summary>
        public string GoneVersion { get; set; } = "";

        public SyncRecord? Want { get; set; }

        public bool WantsGone { get; set; }

        public string Namespace { get; set; } = "";

        public bool IsQueued { get; set; }

        public bool IsInFlight { get; set; }

        /// <summary>It is to be made and waits for that.</summary>
        public bool IsNew { get; set; }

        /// <summary><see cref="Want"/> is written even over a higher version.</summary>
        public bool IsForced { get; set; }

        public SyncRecord? Current => Want ?? (WantsGone ? null : Seen);
    }
}
