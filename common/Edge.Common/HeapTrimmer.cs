namespace Edge.Common;

/// <summary>Says when a program has come to rest, by what it allocates (pure).</summary>
/// <param name="quietBytes">As much is allocated between two looks at most while it rests.</param>
internal sealed class RestCore(long quietBytes)
{
    private bool _isBusy = true; // its start
    private long _before;

    /// <param name="allocated">Bytes allocated since the start of the program.</param>
    /// <returns>True at the first quiet look after busy ones.</returns>
    public bool HasComeToRest(long allocated)
    {
        var wasBusy = _isBusy;
        _isBusy = allocated - _before > quietBytes;
        _before = allocated;
        return wasBusy && !_isBusy;
    }
}

/// <summary>Lets a program that has come to rest give back the memory of busier times: of its start first, and of storms later. Neither the collector nor the C library does that by itself
/// while nothing is allocated.</summary>
public static class HeapTrimmer
{
    private static readonly TimeSpan s_period = TimeSpan.FromSeconds(10);

    /// <summary>Looks every 10 s, and trims at the first quiet look after busy ones, until cancelled. A collection stops the program for some 10 ms with a small heap, 100 ms with ten
    /// thousand nodes' sessions.</summary>
    /// <param name="quietBytes">What a resting program allocates in 10 s at most.</param>
    public static async Task RunAsync(long quietBytes, TimeProvider time, CancellationToken cancellationToken)
    {
        var rest = new RestCore(quietBytes);
        while (true)
        {
            await Task.Delay(s_period, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (cancellationToken.IsCancellationRequested)
                return;
            if (rest.HasComeToRest(GC.GetTotalAllocatedBytes()))
                Trim();
        }
    }

    /// <summary>Collects all garbage, compacts, and gives the free memory of both heaps to the system.</summary>
    public static void Trim()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        NativeHeap.Trim();
    }
}
