namespace Edge.Testing;

/// <summary>What code allocates on the calling thread.</summary>
public static class Allocation
{
    private const int Rounds = 5;

    /// <summary>Bytes that a round of <paramref name="work"/> allocates once it is warm: the least of five, since the runtime itself allocates now and then on whatever thread runs (its table of
    /// casts grows).</summary>
    /// <param name="warmUp">Rounds before.</param>
    public static long Of(Action work, int warmUp = 50)
    {
        for (var i = 0; i < warmUp; i++)
            work();
        var least = long.MaxValue;
        for (var i = 0; i < Rounds; i++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            work();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        return least;
    }
}
