using System.CommandLine;
using Edge.Ctl.OnNode;

namespace Edge.Ctl.Commands;

/// <summary>keadm ctl's words on the node itself: describe, logs, exec; and the half of get that reads MetaServer.</summary>
internal static class NodeCommands
{
    /// <summary>Adds <c>get RESOURCE [NAME]</c> to the command that has <c>get devices</c>.</summary>
    public static void AddGet(Command get)
    {
        var resource = new Argument<string>("RESOURCE") { Description = "pods, configmaps, nodes, deployments, RESOURCE.GROUP …" };
        var name = new Argument<string?>("NAME") { Description = "One object.", Arity = ArgumentArity.ZeroOrOne };
        var (space, all, data) = (Namespace(), new Option<bool>("--all-namespaces", "-A") { Description = "All namespaces." }, NodeAccess.CreateOption());
        var selector = new Option<string>("--selector", "-l") { Description = "A label selector.", DefaultValueFactory = _ => "", HelpName = "SELECTOR" };
        var output = new Option<string>("--output", "-o") { Description = "table, wide, json, yaml or name.", DefaultValueFactory = _ => "table" };
        output.AcceptOnlyFromAmong("table", "wide", "json", "yaml", "name");
        get.Arguments.Add(resource);
        get.Arguments.Add(name);
        foreach (var option in (Option[])[space, all, selector, output, data])
            get.Options.Add(option);
        get.SetAction((result, cancellationToken) => NodeAccess.RunAsync("get", result.GetValue(data)!, async node =>
        {
            using var api = node.MetaServer();
            return await new NodeGet(api, Console.Out, Console.Error).ShowAsync(
                result.GetValue(resource)!, result.GetValue(name), result.GetValue(all) ? null : result.GetValue(space)!, result.GetValue(selector)!, result.GetValue(output)!, cancellationToken);
        }));
    }

    public static Command CreateDescribe()
    {
        var resource = new Argument<string>("RESOURCE") { Description = "As in get." };
        var name = new Argument<string>("NAME") { Description = "The object." };
        var (space, data) = (Namespace(), NodeAccess.CreateOption());
        var command = new Command("describe", """
            On a node: shows one object as its MetaServer has it, with and without the cloud. Values of Secrets are left out.

            Examples:
              edgectl describe pod web
              edgectl describe configmap settings -n shop
            """)
        {
            resource, name, space, data,
        };
        command.SetAction((result, cancellationToken) => NodeAccess.RunAsync("describe", result.GetValue(data)!, async node =>
        {
            using var api = node.MetaServer();
            return await new NodeGet(api, Console.Out, Console.Error).DescribeAsync(result.GetValue(resource)!, result.GetValue(name)!, result.GetValue(space)!, cancellationToken);
        }));
        return command;
    }

    public static Command CreateLogs()
    {
        var pod = new Argument<string>("POD") { Description = "A pod on this node." };
        var (space, container, data) = (Namespace(), Container(), NodeAccess.CreateOption());
        var follow = new Option<bool>("--follow", "-f") { Description = "Go on until the container ends or Ctrl-C." };
        var previous = new Option<bool>("--previous", "-p") { Description = "The container's run before this one." };
        var tail = new Option<int?>("--tail") { Description = "Only the last lines.", HelpName = "LINES" };
        var since = new Option<int?>("--since-seconds") { Description = "Only what is newer.", HelpName = "SECONDS" };
        var command = new Command("logs", """
            On a node: prints a container's log from the node's local API, with and without the cloud.

            Examples:
              edgectl logs web --tail 20
              edgectl logs web -c main -f
            """)
        {
            pod, space, container, follow, previous, tail, since, data,
        };
        command.SetAction((result, cancellationToken) => NodeAccess.RunAsync("logs", result.GetValue(data)!, async node =>
        {
            using var http = node.LocalApi();
            var query = new List<string>();
            if (result.GetValue(follow))
                query.Add("follow=true");
            if (result.GetValue(previous))
                query.Add("previous=true");
            if (result.GetValue(tail) is { } lines)
                query.Add($"tailLines={lines}");
            if (result.GetValue(since) is { } seconds)
                query.Add($"sinceSeconds={seconds}");
            return await NodePods.LogsAsync(http, result.GetValue(space)!, result.GetValue(pod)!, result.GetValue(container), string.Join('&', query), Console.OpenStandardOutput(), cancellationToken);
        }));
        return command;
    }

    public static Command CreateExec()
    {
        var pod = new Argument<string>("POD") { Description = "A pod on this node." };
        var words = new Argument<string[]>("COMMAND") { Description = "The command and its arguments, after --.", Arity = ArgumentArity.OneOrMore };
        var (space, container, data) = (Namespace(), Container(), NodeAccess.CreateOption());
        var command = new Command("exec", """
            On a node: runs a command in a container through the node's local API and ends with its exit code. It has no input and no terminal; for those use kubectl at the cloud.

            Examples:
              edgectl exec web -- cat /etc/hostname
            """)
        {
            pod, words, space, container, data,
        };
        command.SetAction((result, cancellationToken) => NodeAccess.RunAsync("exec", result.GetValue(data)!, async node =>
        {
            using var http = node.LocalApi();
            return await NodePods.ExecAsync(
                node, http, result.GetValue(space)!, result.GetValue(pod)!, result.GetValue(container), result.GetValue(words)!, Console.OpenStandardOutput(), Console.OpenStandardError(), cancellationToken);
        }));
        return command;
    }

    private static Option<string> Namespace() => new("--namespace", "-n") { Description = "The namespace.", DefaultValueFactory = _ => "default", HelpName = "NS" };

    private static Option<string?> Container() => new("--container", "-c") { Description = "The container; without it the pod's first.", HelpName = "NAME" };
}
