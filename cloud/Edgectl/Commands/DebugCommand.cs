using System.CommandLine;
using System.Globalization;
using Edge.Ctl.Joining;
using Edge.Ctl.OnNode;
using Edge.Local.Processes;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl debug</c>: what is wrong with this node, and what to do about it.</summary>
internal static class DebugCommand
{
    private const string LogLinesMax = "20000";

    public static Command Create() => new("debug", """
        On a node: looks for what is wrong and says the fix. It changes nothing and needs neither edgecore nor the cloud.

        Examples:
          edgectl debug check
          edgectl debug diagnose
          edgectl debug collect --to debug.tar.gz
        """)
    {
        CreateCheck("check", "Looks at config, name resolution, network, clock, runtime, certificate, disk, memory, database and ports, and prints a line for each. Ends with 1 when something is wrong.", all: true),
        CreateCheck("diagnose", "As check, but prints only what is wrong, with its fix.", all: false),
        CreateCollect(),
    };

    private static Option<string> Config() => new("--config") { Description = "edgecore's config file.", DefaultValueFactory = _ => "/etc/kubeedge/config/edgecore.yaml", HelpName = "FILE" };

    private static Command CreateCheck(string name, string description, bool all)
    {
        var (config, data) = (Config(), NodeAccess.CreateOption());
        var command = new Command(name, $"""
            {description}

            Examples:
              edgectl debug {name}
              edgectl debug {name} --config edgecore.yaml --data-dir ./edge1
            """)
        {
            config, data,
        };
        command.SetAction(async (result, cancellationToken) =>
        {
            var findings = await LookAsync(result.GetValue(config)!, result.GetValue(data)!, cancellationToken);
            Console.Out.Write(Report(findings, all));
            return findings.All(finding => finding.IsGood) ? 0 : 1;
        });
        return command;
    }

    private static Command CreateCollect()
    {
        var (config, data) = (Config(), NodeAccess.CreateOption());
        var to = new Option<string?>("--to") { Description = "The archive to write; without it edge-debug-TIME.tar.gz here.", HelpName = "FILE" };
        var log = new Option<string?>("--log") { Description = "The file with edgecore's log; without it systemd's journal of edgecore.service.", HelpName = "FILE" };
        var command = new Command("collect", """
            Packs what somebody needs to find out what is wrong: the checks, the config, edgecore's log, ports, metrics, limits and the kernel's version. Tokens, passwords and keys are left out,
            and the whole config where it cannot be parsed.

            Examples:
              edgectl debug collect --to debug.tar.gz
              edgectl debug collect --log /var/log/edgecore.log
            """)
        {
            config, data, to, log,
        };
        command.SetAction(async (result, cancellationToken) =>
        {
            var now = TimeProvider.System.GetUtcNow();
            var directory = result.GetValue(data)!;
            var findings = await LookAsync(result.GetValue(config)!, directory, cancellationToken);
            var texts = new List<(string, string)> { ("check.txt", Report(findings, all: true)) };
            var secrets = new List<string>();
            var text = Text(result.GetValue(config)!, out var isThere);
            texts.Add(("edgecore.yaml", isThere ? NodeBundle.Config(text, secrets) : text));
            texts.Add(("edgecore.log", result.GetValue(log) is { } file ? Text(file, out _) : await JournalAsync(cancellationToken)));
            foreach (var (name, path) in (ReadOnlySpan<(string, string)>)
                [
                    ("edgecore.ports.json", Path.Combine(directory, "edgecore.ports.json")), ("proc-version.txt", "/proc/version"), ("meminfo.txt", "/proc/meminfo"),
                    ("mounts.txt", "/proc/mounts"), ("net-dev.txt", "/proc/net/dev"), ("route.txt", "/proc/net/route"), ("resolv.conf", "/etc/resolv.conf"), ("os-release.txt", "/etc/os-release"),
                ])
                texts.Add((name, Text(path, out _)));
            texts.Add(("metrics.txt", await MetricsAsync(directory, cancellationToken)));
            var archive = result.GetValue(to) ?? $"edge-debug-{now.UtcDateTime.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture)}.tar.gz";
            try
            {
                NodeBundle.Write(archive, texts.Select(one => (one.Item1, NodeBundle.WithoutSecrets(one.Item2, secrets))), now);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                await Console.Error.WriteLineAsync($"edgectl debug collect: {archive} cannot be written: {e.Message}");
                return 1;
            }

            Console.WriteLine($"{archive} has {texts.Count} files; tokens, passwords and keys are left out");
            return 0;
        });
        return command;
    }

    internal static string Report(IReadOnlyList<NodeFinding> findings, bool all)
    {
        var shown = all ? findings : [.. findings.Where(finding => !finding.IsGood)];
        return shown.Count == 0 ? "nothing is wrong\n" : Output.Table(["CHECK", "RESULT", "FOUND", "FIX"], shown.Select(finding => (IReadOnlyList<string>)[finding.Check, finding.IsGood ? "ok" : "WRONG", finding.Found, finding.Fix]));
    }

    private static async Task<IReadOnlyList<NodeFinding>> LookAsync(string config, string directory, CancellationToken cancellationToken)
        => NodeChecks.Judge(await new NodeObserver(config, directory, TimeProvider.System).LookAsync(cancellationToken), TimeProvider.System.GetUtcNow());

    private static string Text(string file, out bool isThere)
    {
        try
        {
            isThere = true;
            return File.ReadAllText(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            isThere = false;
            return $"{file}: {e.Message}\n";
        }
    }

    private static async Task<string> JournalAsync(CancellationToken cancellationToken)
    {
        try
        {
            var result = await Tool.TryRunAsync(
                "journalctl", ["--unit", SystemdUnit.Name, "--no-pager", "--output", "short-iso", "--lines", LogLinesMax], new ToolOptions(TimeProvider.System), cancellationToken);
            return result.ExitCode == 0 ? result.Output : $"journalctl ended with {result.ExitCode}: {result.Error}";
        }
        catch (ToolException e)
        {
            return $"no log: {e.Message}; name edgecore's log with --log FILE\n";
        }
    }

    private static async Task<string> MetricsAsync(string directory, CancellationToken cancellationToken)
    {
        try
        {
            var ports = System.Text.Json.Nodes.JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(directory, "edgecore.ports.json"), cancellationToken));
            using var http = new HttpClient { Timeout = TimeSpan.FromSeconds(5) };
            return await http.GetStringAsync($"http://127.0.0.1:{(int?)ports?["metrics"] ?? 0}/metrics", cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or HttpRequestException or System.Text.Json.JsonException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
        {
            return $"no metrics: {e.Message}\n";
        }
    }
}
