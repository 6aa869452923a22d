namespace Edge.Common;

/// <summary>Lets a program that has come to rest give back the memory of busier times: of its start first, and of storms later. Neither the collector nor the C library does that by itself
/// while nothing is allocated.</summary>
public static class HeapTrimmer
{
    private static readonly TimeSpan s_first = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan s_period = TimeSpan.FromMinutes(10);

    /// <summary>Trims 20 s from now and every ten minutes after that, until cancelled. A collection stops the program for some 10 ms with a small heap, 100 ms with ten thousand nodes' sessions.</summary>
    public static async Task RunAsync(TimeProvider time, CancellationToken cancellationToken)
    {
        for (var wait = s_first; ; wait = s_period)
        {
            await Task.Delay(wait, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (cancellationToken.IsCancellationRequested)
                return;
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
