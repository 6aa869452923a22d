namespace Edge.Ctl.Upgrading;

/// <summary>What an upgrade of edgecore does next, or how it ended.</summary>
/// <remarks>
/// <code>
/// Verify → BackUp → Unpack → Try → Stop → Swap → Start → AwaitReady → Succeeded
///    └────────┴───────┴───────┴→ Refused: nothing was touched
/// Swap, Start or AwaitReady fails → StopAgain → PutBack → StartFormer → AwaitFormer → RolledBack
/// Stop fails                                              ┘ since nothing was changed yet
/// and where one of those fails too, the others are tried all the same                → Stuck
/// </code>
/// </remarks>
internal enum UpgradeStep
{
    Verify,
    BackUp,
    Unpack,
    Try,
    Stop,
    Swap,
    Start,
    AwaitReady,
    StopAgain,
    PutBack,
    StartFormer,
    AwaitFormer,
    Succeeded,
    Refused,
    RolledBack,
    Stuck,
}

/// <summary>Where an upgrade is. It decides alone; whoever runs it does the step and tells what came of it.</summary>
/// <param name="Step">What is to be done next, or the end.</param>
/// <param name="Problem">Why the upgrade failed; empty while it did not.</param>
/// <param name="RollBackProblem">What of the roll-back failed.</param>
internal sealed record UpgradeState(UpgradeStep Step, string Problem = "", string RollBackProblem = "")
{
    public static readonly UpgradeState First = new(UpgradeStep.Verify);

    /// <summary>A roll-back that an operator asked for.</summary>
    public static readonly UpgradeState FirstOfRollBack = new(UpgradeStep.StopAgain);

    public bool IsEnd => Step >= UpgradeStep.Succeeded;

    /// <summary>Whether edgecore may be stopped or changed: a crash here leaves work for 'edgectl rollback edge'.</summary>
    public bool IsTouched => Step is >= UpgradeStep.Stop and <= UpgradeStep.AwaitFormer or UpgradeStep.Stuck;

    /// <summary>Whether the step undoes; such a step is not to be interrupted.</summary>
    public bool IsRollBack => Step is >= UpgradeStep.StopAgain and <= UpgradeStep.AwaitFormer;

    /// <param name="problem">Why the step failed; empty when it was done.</param>
    public UpgradeState Next(string problem)
    {
        if (IsEnd)
            throw new System.Diagnostics.UnreachableException($"an upgrade goes on after {Step}");
        if (IsRollBack)
        {
            var all = problem.Length == 0 ? RollBackProblem : RollBackProblem.Length == 0 ? problem : $"{RollBackProblem}; {problem}";
            return Step == UpgradeStep.AwaitFormer ? this with { Step = all.Length == 0 ? UpgradeStep.RolledBack : UpgradeStep.Stuck, RollBackProblem = all } : this with { Step = Step + 1, RollBackProblem = all };
        }

        if (problem.Length == 0)
            return this with { Step = Step == UpgradeStep.AwaitReady ? UpgradeStep.Succeeded : Step + 1 };
        return this with { Step = Step < UpgradeStep.Stop ? UpgradeStep.Refused : Step == UpgradeStep.Stop ? UpgradeStep.StartFormer : UpgradeStep.StopAgain, Problem = problem };
    }
}
