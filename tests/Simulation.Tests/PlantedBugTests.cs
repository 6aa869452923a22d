using Xunit.Abstractions;

namespace Edge.Simulation.Tests;

/// <summary>A simulation that finds nothing proves nothing: each defect planted here breaks the promise it is about, and that is seen within few seeds.</summary>
[Trait("Category", "Simulation")]
public sealed class PlantedBugTests(ITestOutputHelper output)
{
    private const int SeedsMax = 600;

    public static TheoryData<string, string> Bugs => new()
    {
        { nameof(PlantedBug.AckBeforeCommit), Checker.AckedIsOnDisk },
        { nameof(PlantedBug.CoalescingDropsDelete), Checker.Converges },
        { nameof(PlantedBug.LateAckClearsNewer), Checker.AckedIsOnDisk },
        { nameof(PlantedBug.StaleVersionOverwrites), Checker.VersionsNeverGoBack },
        { nameof(PlantedBug.TombstoneIgnored), Checker.DeletesStayDeleted },
        { nameof(PlantedBug.UplinkForgottenWhenSent), Checker.ForgottenWasApplied },
        { nameof(PlantedBug.OldEndClearsNewSession), Checker.Converges },
        { nameof(PlantedBug.GuardMissing), Checker.AppliedOnce },
        { nameof(PlantedBug.GuardNotesTooEarly), Checker.ForgottenWasApplied },
        { nameof(PlantedBug.UplinkVersionsStartAgain), Checker.ForgottenWasApplied },
        { nameof(PlantedBug.SurplusIsKept), Checker.Converges },
        { nameof(PlantedBug.RefusedBlocksAll), Checker.RefusedDelaysOnlyItself },
        { nameof(PlantedBug.WindowIgnored), Checker.BoundsHold },
        { nameof(PlantedBug.SecretOutlivesPods), Checker.Converges },
        { nameof(PlantedBug.InventorySkipsSecrets), Checker.Converges },
        { nameof(PlantedBug.DoubtNotAsked), Checker.Converges },
        { nameof(PlantedBug.OnlyPodsAreDoubted), Checker.Converges },
        { nameof(PlantedBug.SecretToNeighbours), Checker.SecretsStayHome },
        { nameof(PlantedBug.LateStatusLands), Checker.VersionsNeverGoBack },
        { nameof(PlantedBug.MembershipOnce), Checker.AckedIsMember },
    };

    [Theory]
    [MemberData(nameof(Bugs))]
    public void A_planted_bug_is_caught_by_the_promise_it_breaks(string bug, string invariant)
    {
        var others = new List<string>();
        for (var seed = 0; seed < SeedsMax; seed++)
        {
            try
            {
                Simulator.Run(seed, Enum.Parse<PlantedBug>(bug));
            }
            catch (SimulationException e) when (e.Invariant == invariant)
            {
                output.WriteLine($"{bug} is caught by seed {seed}");
                return;
            }
            catch (SimulationException e)
            {
                others.Add($"seed {seed}: {e.Invariant}");
            }
        }

        Assert.Fail($"none of {SeedsMax} seeds broke \"{invariant}\"; others: {string.Join(", ", others)}");
    }

    [Fact]
    public void Every_bug_has_its_test() => Assert.Equal(
        Enum.GetNames<PlantedBug>().Where(name => name != nameof(PlantedBug.None)).Order(), Bugs.Select(row => (string)row[0]).Order());
}
