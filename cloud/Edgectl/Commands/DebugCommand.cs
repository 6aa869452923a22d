using System.CommandLine;
using System.Globalization;
using Edge.Ctl.OnNode;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl debug</c>: what is wrong with this node, and what to do about it.</summary>
internal static class DebugCommand
{
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
        var command = new Command("collect", """
            Packs what somebody needs to find out what is wrong: the checks, the config, ports, metrics, limits and the kernel's version. Tokens, passwords and keys are left out.

            Examples:
              edgectl debug collect --to debug.tar.gz
            """)
        {
            config, data, to,
        };
        command.SetAction(async (result, cancellationToken) =>
        {
            var now = TimeProvider.System.GetUtcNow();
            var directory = result.GetValue(data)!;
            var findings = await LookAsync(result.GetValue(config)!, directory, cancellationToken);
            var texts = new List<(string, string)> { ("check.txt", Report(findings, all: true)) };
            foreach (var (name, file) in (ReadOnlySpan<(string, string)>)
                [
                    ("edgecore.yaml", result.GetValue(config)!), ("edgecore.ports.json", Path.Combine(directory, "edgecore.ports.json")), ("proc-version.txt", "/proc/version"), ("meminfo.txt", "/proc/meminfo"),
                    ("mounts.txt", "/proc/mounts"), ("net-dev.txt", "/proc/net/dev"), ("route.txt", "/proc/net/route"), ("resolv.conf", "/etc/resolv.conf"), ("os-release.txt", "/etc/os-release"),
                ])
                texts.Add((name, Text(file)));
            texts.Add(("metrics.txt", await MetricsAsync(directory, cancellationToken)));
            var path = result.GetValue(to) ?? $"edge-debug-{now.UtcDateTime.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture)}.tar.gz";
            try
            {
                NodeBundle.Write(path, texts.Select(text => (text.Item1, NodeBundle.WithoutSecrets(text.Item2))), now);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                await Console.Error.WriteLineAsync($"edgectl debug collect: {path} cannot be written: {e.Message}");
                return 1;
            }

            Console.WriteLine($"{path} has {texts.Count} files; tokens, passwords and keys are left out");
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

    private static string Text(string file)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"{file}: {e.Message}\n";
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
