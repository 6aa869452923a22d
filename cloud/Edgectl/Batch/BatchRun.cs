using Edge.Local.Processes;

namespace Edge.Ctl.Batch;

/// <summary>What became of one node.</summary>
/// <param name="Problem">Empty when it went well.</param>
internal sealed record BatchOutcome(BatchNode Node, TimeSpan Took, string Problem);

/// <summary>Runs edgectl on many nodes over the system's ssh, so many at once.</summary>
internal sealed class BatchRun(TimeProvider time, TimeSpan within)
{
    private const int ConnectSeconds = 15;
    private const int ProblemMax = 500;

    /// <summary>Runs all; tells of each as it ends. A node that fails does not stop the others.</summary>
    public async Task<IReadOnlyList<BatchOutcome>> RunAsync(BatchPlan plan, Action<BatchOutcome> ended, CancellationToken cancellationToken)
    {
        var outcomes = new List<BatchOutcome>();
        var gate = new Lock();
        await Parallel.ForEachAsync(plan.Nodes, new ParallelOptions { MaxDegreeOfParallelism = plan.AtOnce, CancellationToken = cancellationToken }, async (node, token) =>
        {
            var since = time.GetTimestamp();
            var outcome = new BatchOutcome(node, default, await OneAsync(node, token)) with { Took = time.GetElapsedTime(since) };
            lock (gate)
            {
                outcomes.Add(outcome);
                ended(outcome);
            }
        });
        return outcomes;
    }

    private async Task<string> OneAsync(BatchNode node, CancellationToken cancellationToken)
    {
        try
        {
            var result = await Tool.TryRunAsync(
                "ssh", node.SshArguments(ConnectSeconds), new ToolOptions(time) { Deadline = within, Input = $"exec edgectl {node.Command}\n" }, cancellationToken);
            if (result.ExitCode == 0)
                return "";
            var said = (result.Error.Trim().Length > 0 ? result.Error : result.Output).Trim();
            said = said.Length > ProblemMax ? "…" + said[^ProblemMax..] : said;
            // ssh itself ends with 255.
            return result.ExitCode == 255 ? $"ssh: {said}" : $"ended with {result.ExitCode}: {said}";
        }
        catch (ToolException e)
        {
            return e.Message;
        }
    }
}
