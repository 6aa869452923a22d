using System.CommandLine;
using System.Globalization;
using Edge.Ctl.Batch;
using Spectre.Console;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl batch</c>: join, reset and the like on many nodes at once.</summary>
internal static class BatchCommand
{
    public static Command Create()
    {
        var file = new Option<string>("--config", "-c") { Description = "The file with the nodes.", Required = true };
        var seconds = new Option<int>("--timeout") { Description = "Seconds that one node may take.", DefaultValueFactory = _ => 300 };
        var dryRun = new Option<bool>("--dry-run") { Description = "Says what would run where, without the commands' arguments." };
        var command = new Command("batch", """
            Runs edgectl on many nodes over ssh, some at a time, and says what became of each. edgectl must be there already (the Debian package
            has it), and ssh must reach the nodes with a key. Ends with 1 when one node failed; the others go on.

            Examples:
              edgectl batch -c nodes.yaml
              edgectl batch -c nodes.yaml --dry-run
            """)
        {
            file, seconds, dryRun,
        };
        command.SetAction(async (parse, cancellationToken) =>
        {
            var path = parse.GetValue(file)!;
            try
            {
                var plan = BatchPlan.Parse(await File.ReadAllTextAsync(path, cancellationToken));
                if (parse.GetValue(dryRun))
                {
                    foreach (var node in plan.Nodes)
                        Console.Out.WriteLine($"{node.Name}: ssh {node.User}@{node.Host}:{node.Port}, edgectl {node.Command.Split(' ')[0]}");
                    return 0;
                }

                return await RunAsync(plan, TimeSpan.FromSeconds(Math.Max(1, parse.GetValue(seconds))), cancellationToken);
            }
            catch (OperationCanceledException)
            {
                Console.Error.WriteLine("edgectl batch: stopped; nodes that had begun may be half done");
            }
            catch (Exception e) when (e is BatchException or IOException or UnauthorizedAccessException)
            {
                Console.Error.WriteLine($"edgectl batch: {path}: {e.Message}");
            }

            return 1;
        });
        return command;
    }

    private static async Task<int> RunAsync(BatchPlan plan, TimeSpan within, CancellationToken cancellationToken)
    {
        var run = new BatchRun(TimeProvider.System, within);
        IReadOnlyList<BatchOutcome> outcomes = [];
        var done = 0;
        string Line(BatchOutcome one)
            => string.Create(CultureInfo.InvariantCulture, $"[{++done}/{plan.Nodes.Count}] {one.Node.Name} {(one.Problem.Length == 0 ? "done" : "FAILED")} in {one.Took.TotalSeconds:0.0} s{(one.Problem.Length == 0 ? "" : ": " + one.Problem)}");
        if (Console.IsOutputRedirected)
        {
            outcomes = await run.RunAsync(plan, one => Console.Out.WriteLine(Line(one)), cancellationToken);
        }
        else
        {
            await AnsiConsole.Progress().StartAsync(async progress =>
            {
                var bar = progress.AddTask("nodes", maxValue: plan.Nodes.Count);
                outcomes = await run.RunAsync(
                    plan,
                    one =>
                    {
                        bar.Increment(1);
                        AnsiConsole.WriteLine(Line(one));
                    },
                    cancellationToken);
            });
        }

        var failed = outcomes.Where(one => one.Problem.Length > 0).Select(one => one.Node.Name).Order(StringComparer.Ordinal).ToList();
        Console.Out.WriteLine($"{plan.Nodes.Count - failed.Count} of {plan.Nodes.Count} nodes done");
        if (failed.Count > 0)
            Console.Error.WriteLine($"edgectl batch: failed: {string.Join(", ", failed)}");
        return failed.Count == 0 ? 0 : 1;
    }
}
