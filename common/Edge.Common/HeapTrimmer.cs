namespace Edge.Common;

/// <summary>Says when a program has come to rest, by what it allocates (pure).</summary>
internal sealed class RestCore
{
    // Quiet looks after which memory is given back once more: what comes just after the first, such as methods that are compiled for what a program does each half minute, stays else.
    private const int Again = 4;

    private int _quiet; // looks since it was busy; it is at its start
    private long _before;

    /// <param name="allocated">Bytes allocated since the start of the program.</param>
    /// <param name="quietBytes">As much is allocated between two looks at most while it rests.</param>
    /// <returns>True at the first quiet look after busy ones, and at the fourth.</returns>
    public bool HasComeToRest(long allocated, long quietBytes)
    {
        _quiet = allocated - _before > quietBytes ? 0 : Math.Min(_quiet + 1, Again + 1);
        _before = allocated;
        return _quiet is 1 or Again;
    }
}

/// <summary>Lets a program that has come to rest give back the memory of busier times: of its start first, and of storms later. Neither the collector nor the C library does that by itself
/// while nothing is allocated.</summary>
public static class HeapTrimmer
{
    private static readonly TimeSpan s_period = TimeSpan.FromSeconds(10);

    /// <summary>Looks every 10 s, and trims at the first quiet look after busy ones and half a minute later, until cancelled. A collection stops the program for some 10 ms with a small heap, 100 ms with ten
    /// thousand nodes' sessions.</summary>
    /// <param name="quietBytes">What a resting program allocates in 10 s at most, as it is then; asked at each look.</param>
    public static async Task RunAsync(Func<long> quietBytes, TimeProvider time, CancellationToken cancellationToken)
    {
        var rest = new RestCore();
        while (true)
        {
            await Task.Delay(s_period, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (cancellationToken.IsCancellationRequested)
                return;
            if (rest.HasComeToRest(GC.GetTotalAllocatedBytes(), quietBytes()))
                Trim();
        }
    }

    /// <summary>Collects all garbage, compacts, and gives the free memory of both heaps, and the files that are mapped but not needed, to the system.</summary>
    public static void Trim()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        NativeHeap.Trim();
        MappedFiles.Release(); // what ran until now is compiled
    }
}
