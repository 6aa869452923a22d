namespace Edge.Devices;

/// <summary>Counts of one device, since its worker began. Read from any thread.</summary>
internal sealed class DeviceFigures
{
    private long _values;
    private long _errors;
    private long _writes;
    private long _writeErrors;
    private long _losses;
    private long _reports;
    private long _reportFailures;
    private long _samplesLost;

    /// <summary>Values that were read.</summary>
    public long Values => Interlocked.Read(ref _values);

    /// <summary>Reads of a property that the device refused.</summary>
    public long Errors => Interlocked.Read(ref _errors);

    public long Writes => Interlocked.Read(ref _writes);

    /// <summary>Desired values that the device or the model refused.</summary>
    public long WriteErrors => Interlocked.Read(ref _writeErrors);

    /// <summary>How often the device was not reached, or was lost.</summary>
    public long Losses => Interlocked.Read(ref _losses);

    /// <summary>Reports that EdgeCore took.</summary>
    public long Reports => Interlocked.Read(ref _reports);

    /// <summary>Reports that it did not take; they are made again with newer values.</summary>
    public long ReportFailures => Interlocked.Read(ref _reportFailures);

    /// <summary>Samples of histories that had no room.</summary>
    public long LostSamples => Interlocked.Read(ref _samplesLost);

    /// <summary>Polls: each reads all that is due at one time.</summary>
    public LatencyCounts Polls { get; } = new();

    internal void Collected(int values, int errors, TimeSpan took)
    {
        Interlocked.Add(ref _values, values);
        Interlocked.Add(ref _errors, errors);
        Polls.Add(took);
    }

    internal void Written() => Interlocked.Increment(ref _writes);

    internal void WriteRefused() => Interlocked.Increment(ref _writeErrors);

    internal void SamplesLost(int count) => Interlocked.Add(ref _samplesLost, count);

    internal void Lost() => Interlocked.Increment(ref _losses);

    internal void Reported(bool taken)
    {
        if (taken)
            Interlocked.Increment(ref _reports);
        else
            Interlocked.Increment(ref _reportFailures);
    }
}
