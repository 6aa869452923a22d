namespace Edge.Protocol.Modbus;

/// <summary>What a master's line has done so far. Read from any thread.</summary>
public sealed class ModbusLineCounters
{
    private long _requests;
    private long _answers;
    private long _exceptions;
    private long _silences;
    private long _garbage;
    private long _opens;
    private long _held;
    private int _waiting;

    /// <summary>Requests put on the line, retries among them.</summary>
    public long Requests => Interlocked.Read(ref _requests);

    /// <summary>Good answers, exceptions among them.</summary>
    public long Answers => Interlocked.Read(ref _answers);

    public long Exceptions => Interlocked.Read(ref _exceptions);

    /// <summary>Requests without any answer within the time-out.</summary>
    public long Silences => Interlocked.Read(ref _silences);

    /// <summary>Frames or bytes that were no answer to what was asked.</summary>
    public long Garbage => Interlocked.Read(ref _garbage);

    /// <summary>Times the line was opened.</summary>
    public long Opens => Interlocked.Read(ref _opens);

    /// <summary>Requests that were not sent (<see cref="ModbusLinkFault.Held"/>).</summary>
    public long Held => Interlocked.Read(ref _held);

    /// <summary>Requests that wait for the line now.</summary>
    public int Waiting => Volatile.Read(ref _waiting);

    internal void Request() => Interlocked.Increment(ref _requests);

    internal void Answer() => Interlocked.Increment(ref _answers);

    internal void Exception() => Interlocked.Increment(ref _exceptions);

    internal void Silence() => Interlocked.Increment(ref _silences);

    internal void Rubbish() => Interlocked.Increment(ref _garbage);

    internal void Open() => Interlocked.Increment(ref _opens);

    internal void Hold() => Interlocked.Increment(ref _held);

    internal int Enter() => Interlocked.Increment(ref _waiting);

    internal void Leave() => Interlocked.Decrement(ref _waiting);
}
