using System.CommandLine;
using Edge.Ctl.Devices;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl get devices</c>: what devices are to do and do, a line per property.</summary>
internal static class GetCommand
{
    public static Command Create()
    {
        var command = new Command("get", """
            Shows devices with their values as the cluster has them; on a node, any objects as its MetaServer has them, with and without the cloud.

            Examples:
              edgectl get devices
              edgectl get devices -A -w
              edgectl get pods -o wide                      on a node
              edgectl get configmap settings -n shop -o yaml
            """)
        {
            CreateDevices(),
        };
        NodeCommands.AddGet(command);
        return command;
    }

    /// <summary><c>-n</c>; without it the namespace of the kubeconfig's context.</summary>
    internal static Option<string?> CreateNamespaceOption() => new("--namespace", "-n") { Description = "The namespace; without it the one of the kubeconfig's context, mostly default.", HelpName = "NS" };

    private static Command CreateDevices()
    {
        var cluster = new KubeAccess();
        var output = Output.CreateOption();
        var @namespace = CreateNamespaceOption();
        var all = new Option<bool>("--all-namespaces", "-A") { Description = "The devices of all namespaces." };
        var watch = new Option<bool>("--watch", "-w") { Description = "Go on until Ctrl-C: a live table on a terminal, else a line for each change." };
        var names = new Argument<string[]>("NAME") { Description = "Only these devices, each NAME or NAMESPACE/NAME.", Arity = ArgumentArity.ZeroOrMore };
        var command = new Command("devices", """
            Shows devices, a line per property: what is desired, what the device reports with the model's unit, how old that is, the device's state,
            and what is wrong. OBSERVED is what the mapper says it wrote, where it is not what is desired. AGE is by the clock of the mapper's machine.

            Examples:
              edgectl get devices
              edgectl get devices thermostat-1 -w
              edgectl get devices -A -o json | jq -r '.items[] | select(.problems != []) | .name'
            """)
        {
            names, @namespace, all, watch, output, cluster.Kubeconfig, cluster.Context,
        };
        command.Aliases.Add("device");
        command.SetAction((result, cancellationToken) => cluster.RunAsync("get devices", result, async kube =>
        {
            var given = result.GetValue(@namespace);
            if (result.GetValue(all) && (given is not null || result.GetValue(names)!.Length > 0))
            {
                await Console.Error.WriteLineAsync("edgectl get devices: -A shows all devices of all namespaces; leave it out to name a namespace or a device");
                return 1;
            }

            var space = given ?? kube.Options.DefaultNamespace;
            var wanted = new List<DeviceName>();
            foreach (var text in result.GetValue(names)!)
            {
                if (DeviceName.TryRead(text, space, out var error) is not { } name)
                {
                    await Console.Error.WriteLineAsync($"edgectl get devices: {error}");
                    return 1;
                }

                wanted.Add(name);
            }

            var list = new DeviceList(kube, result.GetValue(all) ? null : space, wanted, result.GetValue(output) == "json", TimeProvider.System);
            return await (result.GetValue(watch) ? list.WatchAsync(cancellationToken) : list.ShowAsync(cancellationToken));
        }));
        return command;
    }
}
