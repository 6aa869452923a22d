namespace Edge.Cloud.DeviceController;

/// <summary>What one write says of a device.</summary>
/// <param name="Twins">Newest entries by property.</param>
/// <param name="History">Samples by property, oldest first.</param>
/// <param name="CloudProblems">What is wrong as CloudCore sees it; null when that is as it was.</param>
/// <param name="EdgeProblems">What is wrong as the node sees it; null when that is as it was.</param>
/// <param name="Answers">Called once it is written.</param>
internal sealed record DeviceBatch(
    Dictionary<string, TwinEntry> Twins, Dictionary<string, List<DeviceSample>> History, string State, string LastOnlineTime, IReadOnlyList<string>? CloudProblems,
    IReadOnlyList<string>? EdgeProblems, Queue<Action> Answers)
{
    /// <summary>Where the newest report was made: a node's versions say nothing about another's.</summary>
    public string Node { get; init; } = "";

    /// <summary>Of the newest report that <see cref="Twins"/> and <see cref="EdgeProblems"/> are from; 0 when its edge tells none.</summary>
    public long TwinVersion { get; init; }

    /// <summary>Of the newest report that <see cref="State"/> and <see cref="LastOnlineTime"/> are from; 0 when its edge tells none.</summary>
    public long StateVersion { get; init; }
}

/// <summary>What waits to be written of one device. Guarded by its writer's lock, but for <see cref="Status"/> and <see cref="NotBefore"/>.</summary>
internal sealed class DeviceLane(DeviceFacts device, Task loop)
{
    // Answers that may wait for one write. Beyond, the oldest report goes unanswered and its edge sends it again.
    private const int AnswersMax = 1000;

    // Null while nothing waits, as of most devices most of the time: what a thousand lanes hold from one report to the next, the collector moves again and again.
    private Dictionary<string, TwinEntry>? _twins;
    private Dictionary<string, List<DeviceSample>>? _history;
    private Queue<Action>? _answers;
    private string _node = "";
    private long _twinVersion;
    private long _stateVersion;
    private string _state = "";
    private string _lastOnlineTime = "";
    private IReadOnlyList<string>? _cloudProblems;
    private IReadOnlyList<string>? _edgeProblems;
    private IReadOnlyList<string>? _writtenCloudProblems;
    private IReadOnlyList<string>? _writtenEdgeProblems;

    public string Uid { get; } = device.Uid;

    /// <summary>The device as it is now.</summary>
    public DeviceFacts Device { get; set; } = device;

    public Task Loop { get; set; } = loop;

    public bool IsRunning { get; set; }

    /// <summary>The device is gone; the lane goes when it has nothing left to write.</summary>
    public bool IsForgotten { get; set; }

    /// <summary>The place in a trace of the newest report that waits; null where it is in none.</summary>
    public string? Trace { get; set; }

    /// <summary>The DeviceStatus as last seen, as its JSON: a tree of it takes four times as much. Empty asks for a fresh look. Only the writer touches it.</summary>
    public ReadOnlyMemory<byte> Status { get; set; }

    /// <summary>When the next write may be. Only the writer touches it.</summary>
    public DateTimeOffset NotBefore { get; set; }

    /// <summary>Nothing waits.</summary>
    public bool IsIdle
        => _twins is null && _history is null && _state.Length == 0 && _lastOnlineTime.Length == 0 && _cloudProblems is null && _edgeProblems is null && _answers is null;

    public void Add(DeviceReport report, IReadOnlyList<string> problems, Action confirm)
    {
        // The device has moved meanwhile: what waits of the node before is older than what this one says.
        if (_node != report.Node)
            (_node, _twinVersion, _stateVersion) = (report.Node, 0, 0);

        // Each report of an Edge peer says all of the device's twins, or its state. One that the API had to be asked about may come after a later one.
        var isLate = report.Version > 0 && report.Version < (report.State.Length > 0 ? _stateVersion : _twinVersion);
        if (isLate)
            report = report with { Twins = [], Problems = null, State = "", LastOnlineTime = "" };
        foreach (var (property, twin) in report.Twins)
        {
            _twins ??= new Dictionary<string, TwinEntry>(report.Twins.Count);
            _twins[property] = _twins.TryGetValue(property, out var older) ? older.Under(twin) : twin;
        }

        if (report.Twins.Count > 0 || report.Problems is not null)
            _twinVersion = report.Version;
        if (report.State.Length > 0 || report.LastOnlineTime.Length > 0)
            _stateVersion = report.Version;
        foreach (var (property, samples) in report.History)
        {
            _history ??= [];
            if (!_history.TryGetValue(property, out var list))
                _history[property] = list = [];
            list.AddRange(samples);
        }

        if (report.State.Length > 0)
            _state = report.State;
        if (report.LastOnlineTime.Length > 0)
            _lastOnlineTime = report.LastOnlineTime;
        Add(problems);
        if (report.Problems is { } own && (_edgeProblems ?? _writtenEdgeProblems)?.SequenceEqual(own) != true)
            _edgeProblems = own;
        _answers ??= [];
        _answers.Enqueue(confirm);
        if (_answers.Count > AnswersMax)
            _answers.Dequeue();
    }

    /// <summary>What is wrong with the device, as far as it shows here.</summary>
    public void Add(IReadOnlyList<string> problems)
    {
        if ((_cloudProblems ?? _writtenCloudProblems)?.SequenceEqual(problems) != true)
            _cloudProblems = problems;
    }

    public DeviceBatch Take()
    {
        // It has moved: what its former node said of it now no longer holds, its samples do.
        if (_node.Length > 0 && _node != Device.Node)
            (_twins, _state, _lastOnlineTime, _edgeProblems, _twinVersion, _stateVersion) = (null, "", "", null, 0, 0);
        var batch = new DeviceBatch(_twins ?? [], _history ?? [], _state, _lastOnlineTime, _cloudProblems, _edgeProblems, _answers ?? [])
        {
            Node = _node,
            TwinVersion = _twinVersion,
            StateVersion = _stateVersion,
        };
        (_twins, _history, _state, _lastOnlineTime, _answers) = (null, null, "", "", null);
        (_twinVersion, _stateVersion) = (0, 0);
        (_writtenCloudProblems, _writtenEdgeProblems) = (_cloudProblems ?? _writtenCloudProblems, _edgeProblems ?? _writtenEdgeProblems);
        (_cloudProblems, _edgeProblems) = (null, null);
        return batch;
    }

    /// <summary>The API took something else than the problems that are known here: the next report says them again.</summary>
    public void ForgetProblems() => _writtenCloudProblems = null;

    /// <summary>Returns what could not be written; what came meanwhile is newer.</summary>
    public void PutBack(DeviceBatch batch)
    {
        foreach (var (property, newer) in _twins ?? [])
            batch.Twins[property] = batch.Twins.TryGetValue(property, out var older) ? older.Under(newer) : newer;

        foreach (var (property, newer) in _history ?? [])
        {
            if (batch.History.TryGetValue(property, out var older))
                older.AddRange(newer);
            else
                batch.History[property] = newer;
        }

        _twins = batch.Twins.Count > 0 ? batch.Twins : null;
        _history = batch.History.Count > 0 ? batch.History : null;
        _state = _state.Length > 0 ? _state : batch.State;
        _lastOnlineTime = _lastOnlineTime.Length > 0 ? _lastOnlineTime : batch.LastOnlineTime;
        if (_node == batch.Node)
            (_twinVersion, _stateVersion) = (Math.Max(_twinVersion, batch.TwinVersion), Math.Max(_stateVersion, batch.StateVersion));
        _cloudProblems ??= batch.CloudProblems;
        _edgeProblems ??= batch.EdgeProblems;
        foreach (var answer in _answers ?? [])
            batch.Answers.Enqueue(answer);
        _answers = batch.Answers.Count > 0 ? batch.Answers : null;
    }
}
