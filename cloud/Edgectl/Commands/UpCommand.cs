using System.CommandLine;
using System.Runtime.InteropServices;
using Edge.Ctl.Up;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Containerd;
using Edge.Local.Images;
using Edge.Local.Processes;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl up</c>, and the hidden <c>edgectl up-janitor</c> that it starts.</summary>
internal static class UpCommand
{
    public static Command Create()
    {
        var dataDirectory = new Option<string?>("--data-dir") { Description = "Where everything is kept. Default: ~/.edge; with --check a temporary directory." };
        var check = new Option<bool>("--check") { Description = "Prove the main job on free ports, print how long each step took, stop, and exit 0, or 1 when a step failed." };
        var nodes = new Option<int>("--nodes") { Description = "How many EdgeCores to start; edge-1 runs the pods.", DefaultValueFactory = _ => 1 };
        var noPods = new Option<bool>("--no-pods") { Description = "No containerd and no pods; the mapper runs as a process. Needs no root." };
        var dns = new Option<bool>("--dns") { Description = "CloudCore answers DNS for the zone of docs/examples/gslb (127.0.0.1:5300), and each node resolves names (127.0.0.1:10053 and on)." };
        var command = new Command(
            "up",
            """
            Starts a whole Edge on this machine: CloudCore with its Kubernetes API, EdgeCores, containerd, the Modbus simulator and mapper; applies docs/examples
            and shows nodes, pods and devices until Ctrl-C, then stops all of it.

            Examples:
              edgectl up                        start, and show what happens
              edgectl up --check                prove that everything works, then stop
              edgectl up --no-pods --nodes 3    three nodes without containers, as any user
              edgectl up --dns                  with DNS that sends each client to the nearest endpoint
            """)
        {
            dataDirectory, check, nodes, noPods, dns,
        };
        nodes.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1 or > 50)
                result.AddError("--nodes: must be from 1 to 50");
        });
        command.SetAction((parsed, cancellationToken) => RunAsync(
            parsed.GetValue(dataDirectory), parsed.GetValue(check), parsed.GetValue(nodes), !parsed.GetValue(noPods), parsed.GetValue(dns), cancellationToken));
        return command;
    }

    public static Command CreateJanitor()
    {
        var directory = new Argument<string>("directory");
        var remove = new Option<bool>("--remove");
        var command = new Command(Janitor.Command, "Cleans up after 'edgectl up' when that dies. Started by it.") { directory, remove };
        command.Hidden = true;
        command.SetAction(async parsed =>
        {
            // Only the end of the owner ends the janitor.
            using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, context => context.Cancel = true);
            await Janitor.RunAsync(parsed.GetRequiredValue(directory), parsed.GetValue(remove), Console.In, TimeProvider.System);
            return 0;
        });
        return command;
    }

    private static async Task<int> RunAsync(string? dataDirectory, bool check, int nodes, bool pods, bool dns, CancellationToken cancellationToken)
    {
        // System.CommandLine turns SIGINT and SIGTERM into the token; a closed terminal must end it as cleanly.
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, context =>
        {
            context.Cancel = true;
            stop.Cancel();
        });
        var options = new LocalEdgeOptions
        {
            Directory = dataDirectory ?? (check ? Directory.CreateTempSubdirectory("edge-").FullName : DefaultDirectory()),
            Nodes = nodes,
            Pods = pods,
            Dns = dns,
            RemoveDirectory = check,
            WellKnownPorts = !check,
        };
        try
        {
            return check ? await new UpCheck(options).RunAsync(stop.Token) : await UpRun.RunAsync(options, stop.Token);
        }
        catch (Exception e) when (e is LocalEdgeException or ContainerdException or ImageException or ToolException or KubeException or TimeoutException or IOException or UnauthorizedAccessException)
        {
            await Console.Error.WriteLineAsync($"edgectl up: {e.Message}");
            return 1;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            await Console.Error.WriteLineAsync("stopped");
            return 130;
        }
    }

    private static string DefaultDirectory()
        => Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) is { Length: > 0 } home ? home : Directory.GetCurrentDirectory(), ".edge");
}
