using Edge.Ctl.Upgrading;

namespace Edge.Ctl.Tests.Upgrading;

/// <summary>The order of an upgrade's steps, and what each failure leads to.</summary>
[Trait("Category", "Unit")]
public sealed class UpgradeCoreTests
{
    [Theory]
    [InlineData("", "Verify BackUp Unpack Try Stop Swap Start AwaitReady Succeeded")]
    [InlineData("Verify", "Verify Refused")]
    [InlineData("BackUp", "Verify BackUp Refused")]
    [InlineData("Unpack", "Verify BackUp Unpack Refused")]
    [InlineData("Try", "Verify BackUp Unpack Try Refused")]
    [InlineData("Stop", "Verify BackUp Unpack Try Stop StartFormer AwaitFormer RolledBack")]
    [InlineData("Swap", "Verify BackUp Unpack Try Stop Swap StopAgain PutBack StartFormer AwaitFormer RolledBack")]
    [InlineData("Start", "Verify BackUp Unpack Try Stop Swap Start StopAgain PutBack StartFormer AwaitFormer RolledBack")]
    [InlineData("AwaitReady", "Verify BackUp Unpack Try Stop Swap Start AwaitReady StopAgain PutBack StartFormer AwaitFormer RolledBack")]
    public void Each_failure_ends_as_it_should(string failing, string steps)
    {
        var (path, end) = Walk(UpgradeState.First, [failing]);
        Assert.Equal(steps, path);
        Assert.Equal(failing.Length == 0 ? "" : $"{failing} is broken", end.Problem);
        Assert.Equal("", end.RollBackProblem);
    }

    [Fact]
    public void Whatever_fails_a_changed_node_is_rolled_back_or_stuck_and_never_passes_for_untouched()
    {
        var all = Enum.GetValues<UpgradeStep>().Where(step => step < UpgradeStep.Succeeded).Select(step => step.ToString()).ToArray();
        for (var mask = 0; mask < 1 << all.Length; mask++)
        {
            var failing = all.Where((_, i) => (mask >> i & 1) == 1).ToArray();
            var (path, end) = Walk(UpgradeState.First, failing);
            var steps = path.Split(' ');
            Assert.Equal(end.Step == UpgradeStep.Refused, !steps.Contains("Stop"));
            Assert.Equal(end.Step == UpgradeStep.Succeeded, end.Problem.Length == 0);
            Assert.Equal(end.Step == UpgradeStep.Stuck, end.RollBackProblem.Length > 0);
            // What was swapped is put back unless it serves, and edgecore is started whenever it was stopped.
            Assert.Equal(steps.Contains("Swap") && end.Step != UpgradeStep.Succeeded, steps.Contains("PutBack"));
            Assert.Equal(steps.Contains("Stop") && end.Step != UpgradeStep.Succeeded, steps.Contains("StartFormer"));
            Assert.Equal(end.Step == UpgradeStep.Stuck, end.IsTouched);
        }
    }

    [Fact]
    public void Roll_back_goes_on_after_what_fails_and_tells_all_of_it()
    {
        var (path, end) = Walk(UpgradeState.FirstOfRollBack, ["StopAgain", "AwaitFormer"]);
        Assert.Equal("StopAgain PutBack StartFormer AwaitFormer Stuck", path);
        Assert.Equal("StopAgain is broken; AwaitFormer is broken", end.RollBackProblem);
        Assert.Equal(UpgradeStep.RolledBack, Walk(UpgradeState.FirstOfRollBack, []).End.Step);
    }

    private static (string Path, UpgradeState End) Walk(UpgradeState state, string[] failing)
    {
        var path = new List<string> { state.Step.ToString() };
        while (!state.IsEnd)
        {
            state = state.Next(failing.Contains(state.Step.ToString()) ? $"{state.Step} is broken" : "");
            path.Add(state.Step.ToString());
        }

        return (string.Join(' ', path), state);
    }
}
