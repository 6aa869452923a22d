using System.CommandLine;
using Edge.Local.Processes;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl config</c>: the configs of both programs, printed and checked by the programs themselves.</summary>
internal static class ConfigCommand
{
    public static Command Create()
    {
        var command = new Command("config", "Prints a default config of cloudcore or edgecore, or checks a file.");
        var program = new Argument<string>("program") { Description = "cloudcore or edgecore." };
        program.AcceptOnlyFromAmong("cloudcore", "edgecore");
        var minimal = new Option<bool>("--minimal") { Description = "Only the settings that are usually changed." };
        var print = new Command("print", """
            Prints all settings with their defaults as YAML.

            Examples:
              edgectl config print edgecore --minimal > edgecore.yaml
              edgectl config print cloudcore
            """)
        {
            program, minimal,
        };
        print.SetAction((parse, cancellationToken) => RunAsync(parse.GetValue(program)!, [parse.GetValue(minimal) ? "--minconfig" : "--defaultconfig"], cancellationToken));

        var file = new Argument<string>("file") { Description = "cloudcore.yaml or edgecore.yaml." };
        var check = new Command("check", """
            Reads a config as the program would, and names every key that is wrong. Starts nothing.

            Examples:
              edgectl config check /etc/kubeedge/config/edgecore.yaml
            """)
        {
            file,
        };
        check.SetAction(async (parse, cancellationToken) =>
        {
            var path = parse.GetValue(file)!;
            if (!File.Exists(path))
            {
                Console.Error.WriteLine($"edgectl config check: {path}: there is no such file");
                return 1;
            }

            var kind = File.ReadLines(path).Select(line => line.Trim()).FirstOrDefault(line => line.StartsWith("kind:", StringComparison.Ordinal))?["kind:".Length..].Split('#')[0].Trim(' ', '"', '\'');
            if (kind is not ("CloudCore" or "EdgeCore"))
            {
                Console.Error.WriteLine($"edgectl config check: {path}: kind is '{kind}', must be CloudCore or EdgeCore");
                return 1;
            }

            return await RunAsync(kind.ToLowerInvariant(), ["--check", "--config", path], cancellationToken);
        });
        command.Add(print);
        command.Add(check);
        return command;
    }

    private static async Task<int> RunAsync(string program, string[] arguments, CancellationToken cancellationToken)
    {
        try
        {
            var result = await Tool.TryRunAsync(Programs.Find(program), arguments, new ToolOptions(TimeProvider.System), cancellationToken);
            Console.Out.Write(result.Output);
            Console.Error.Write(result.Error);
            return result.ExitCode;
        }
        catch (Exception e) when (e is JoinException or ToolException)
        {
            Console.Error.WriteLine($"edgectl config: {e.Message}");
            return 1;
        }
    }
}
