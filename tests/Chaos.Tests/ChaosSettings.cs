using System.Globalization;
using Xunit;

// One run of real processes at a time: each alone keeps two cores busy.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Edge.Chaos.Tests;

/// <summary>What a run is made of, from the environment (docs/chaos.md).</summary>
/// <param name="Seed">Every choice of the run comes from it; the interleaving of the processes does not.</param>
/// <param name="Kills">SIGKILLs altogether, half of them on each side.</param>
/// <param name="Changes">Acknowledged changes each way that the run takes at least.</param>
internal sealed record ChaosSettings(int Seed, int Kills, int Changes)
{
    private const int DefaultSeed = 1;
    private const int DefaultKills = 100;
    private const int DefaultChanges = 10_000;

    /// <exception cref="FormatException">A variable is no number, or out of range; the message names it.</exception>
    public static ChaosSettings Read()
        => new(Number("EDGE_CHAOS_SEED", DefaultSeed, int.MinValue), Number("EDGE_CHAOS_KILLS", DefaultKills, 2), Number("EDGE_CHAOS_CHANGES", DefaultChanges, 1));

    /// <summary>How the run is started again.</summary>
    public string Again(string test) => $"EDGE_CHAOS_SEED={Seed} ./test.sh \"FullyQualifiedName~{test}\"";

    private static int Number(string variable, int absent, int least)
    {
        if (Environment.GetEnvironmentVariable(variable) is not { Length: > 0 } text)
            return absent;
        return int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) && number >= least
            ? number
            : throw new FormatException($"{variable} is '{text}', must be a whole number from {least}");
    }
}
