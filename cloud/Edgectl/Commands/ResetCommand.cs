using System.CommandLine;
using Edge.Ctl.Joining;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl reset</c>: a node becomes a plain machine again.</summary>
internal static class ResetCommand
{
    public static Command Create()
    {
        var config = new Option<string>("--config") { Description = "The config that join wrote.", DefaultValueFactory = _ => "/etc/kubeedge/config/edgecore.yaml" };
        var force = new Option<bool>("--force", "-f") { Description = "Does not ask." };
        var keep = new Option<bool>("--keep-pods") { Description = "Leaves containers and volumes as they are." };
        var command = new Command("reset", """
            Removes from this machine what 'edgectl join' made and edgecore filled since: the service, the pods of this node, certificates and store.
            Shows what goes, and asks before. The Node object stays in the cluster: 'kubectl delete node NAME' there.

            Examples:
              edgectl reset
              edgectl reset --force --config /srv/edge1/edgecore.yaml
            """)
        {
            config, force, keep,
        };
        command.SetAction(async (parse, cancellationToken) =>
        {
            try
            {
                var path = Path.GetFullPath(parse.GetValue(config)!);
                if (NodeRecord.Read(path) is not { } record)
                    throw new JoinException($"{NodeRecord.PathOf(path)} is not there, so 'edgectl join' did not set up this node with --config {path}; nothing is removed");
                var reset = new NodeReset(record, Console.Out.WriteLine) { KeepsPods = parse.GetValue(keep) };
                foreach (var line in reset.Plan())
                    Console.Out.WriteLine($"  {line}");
                if (!parse.GetValue(force))
                {
                    Console.Out.Write("Go on? [y/N] ");
                    if (Console.In.ReadLine()?.Trim() is not ("y" or "Y" or "yes"))
                    {
                        Console.Out.WriteLine("nothing was removed");
                        return 1;
                    }
                }

                await reset.RunAsync(cancellationToken);
                Console.Out.WriteLine("this machine is no node any more");
                return 0;
            }
            catch (Exception e) when (e is JoinException or IOException or UnauthorizedAccessException)
            {
                Console.Error.WriteLine($"edgectl reset: {e.Message}");
                return 1;
            }
        });
        return command;
    }
}
