namespace Edge.Devices;

/// <summary>Counts of one device, since its worker began. Read from any thread.</summary>
internal sealed class DeviceFigures
{
    private long _values;
    private long _errors;
    private long _writes;

    /// <summary>Values that were read.</summary>
    public long Values => Interlocked.Read(ref _values);

    /// <summary>Reads of a property that the device refused.</summary>
    public long Errors => Interlocked.Read(ref _errors);

    public long Writes => Interlocked.Read(ref _writes);

    internal void Collected(int values, int errors)
    {
        Interlocked.Add(ref _values, values);
        Interlocked.Add(ref _errors, errors);
    }

    internal void Written() => Interlocked.Increment(ref _writes);
}
