using System.Diagnostics;

namespace Edge.Benchmarks.Fuzz;

/// <summary>What went wrong, and how to see it again.</summary>
internal sealed record FuzzFailure(string Target, int Seed, long Number, string Text)
{
    public override string ToString() => $"target {Target}, seed {Seed}, input {Number}: {Text}\nsee it again: ./bench.sh fuzz --seed {Seed} --target {Target} --number {Number}";
}

/// <summary>Counts of a run.</summary>
internal sealed record FuzzOutcome(long Inputs, long AllocatedMax, string AllocatedMaxWhere, FuzzFailure? Failure);

/// <summary>Runs the targets: no exception, no broken rule, and memory that is bounded by the input's length.</summary>
internal static class FuzzBench
{
    // Objects, strings and one parsed tree of an input; a hundred of its size and a fixed sum is ample, and far from "grows without bound".
    private const long AllocatedBase = 256 * 1024;
    private const long AllocatedPerByte = 400;

    // Of the codec and of the session each.
    private const double InputsAsked = 1_000_000;

    public static int Run(long inputs, int seed, string only, long? number)
    {
        if (only.Length > 0 && FuzzTargets.All.All(target => target.Name != only))
        {
            Console.Error.WriteLine($"fuzz: there is no target '{only}'; there are: {string.Join(", ", FuzzTargets.All.Select(target => target.Name))}");
            return 1;
        }

        if (number is { } one)
        {
            if (only.Length == 0)
            {
                Console.Error.WriteLine("fuzz: --number needs --target");
                return 1;
            }

            FuzzTargets.All.Single(target => target.Name == only).Run(RandomOf(seed, only, one)); // throws what it threw
            Console.WriteLine($"target {only}, seed {seed}, input {one}: nothing wrong");
            return 0;
        }

        var report = new Report("fuzz");
        var clock = Stopwatch.StartNew();
        var total = 0L;
        var shares = FuzzTargets.All.Sum(target => target.Share);
        foreach (var target in FuzzTargets.All.Where(target => only.Length == 0 || target.Name == only))
        {
            var outcome = RunTarget(target, seed, only.Length > 0 ? inputs : (inputs * target.Share / shares) + 1);
            if (outcome.Failure is { } failure)
            {
                Console.Error.WriteLine($"fuzz: {failure}");
                return 1;
            }

            total += outcome.Inputs;
            report.AtLeast($"{target.Name}: inputs without a crash", "inputs", outcome.Inputs, only.Length == 0 && target.Name is ("codec" or "session") ? InputsAsked : null);
            report.Plain($"{target.Name}: most allocated for one input", "bytes", outcome.AllocatedMax);
        }

        report.AtLeast("mutated inputs, no crash, no broken rule, memory bounded", "inputs", total, only.Length > 0 ? null : InputsAsked);
        report.Plain("inputs a second", "inputs/s", total / clock.Elapsed.TotalSeconds);
        report.Write();
        return 0;
    }

    /// <summary>Runs one target until it took so many inputs, or failed.</summary>
    public static FuzzOutcome RunTarget(FuzzTarget target, int seed, long inputs)
    {
        long done = 0;
        long most = 0;
        var where = "";
        for (var number = 0L; done < inputs; number++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            int count, bytes;
            try
            {
                (count, bytes) = target.Run(RandomOf(seed, target.Name, number));
            }
            catch (Exception e) // whatever it is, it is the finding
            {
                return new FuzzOutcome(done, most, where, new FuzzFailure(target.Name, seed, number, e is FuzzException ? e.Message : e.ToString()));
            }

            var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            if (allocated > most)
                (most, where) = (allocated, $"input {number} of {bytes} bytes");
            if (allocated > AllocatedBase + (AllocatedPerByte * bytes))
                return new FuzzOutcome(done, most, where, new FuzzFailure(target.Name, seed, number, $"{allocated} bytes allocated for an input of {bytes}"));
            done += count;
        }

        return new FuzzOutcome(done, most, where, null);
    }

    // Each input has its own numbers, so that any one is made again without those before it. Not string.GetHashCode, which differs by process.
    private static Random RandomOf(int seed, string target, long number)
        => new(target.Aggregate(unchecked((seed * 31) + (int)(number ^ (number >> 32))), (hash, letter) => unchecked((hash * 16777619) ^ letter)));
}
