using System.CommandLine;
using Edge.Ctl.Devices;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl device set|trace</c>: sets desired values; shows what happens to a device, in time.</summary>
internal static class DeviceCommand
{
    private const string WaitDefault = "30s";

    public static Command Create() => new("device", """
        Sets values of devices, and shows how they arrive. (To look at devices: 'edgectl get devices'.)

        Examples:
          edgectl device set default/thermostat-1 setpoint=23.5 --wait
          edgectl device trace default/thermostat-1 setpoint
        """)
    {
        CreateSet(),
        CreateTrace(),
    };

    private static Command CreateSet()
    {
        var cluster = new KubeAccess();
        var @namespace = GetCommand.CreateNamespaceOption();
        var device = CreateDevice();
        var values = new Argument<string[]>("PROPERTY=VALUE") { Description = "What to set; several are set together or not at all.", Arity = ArgumentArity.OneOrMore };
        var wait = new Option<string?>("--wait")
        {
            Description = $"Show how the values reach the device, for at most this long ({WaitDefault} without a time); exit with 1 when they do not.",
            HelpName = "TIME",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var command = new Command("set", """
            Sets desired values of a device. They are checked against its DeviceModel first; nothing else of the device is changed.

            Examples:
              edgectl device set default/thermostat-1 setpoint=23.5
              edgectl device set thermostat-1 setpoint=23.5 fan=true --wait
              edgectl device set thermostat-1 setpoint=19 --wait=2m || echo "it is not there yet"
            """)
        {
            device, values, wait, @namespace, cluster.Kubeconfig, cluster.Context,
        };
        command.SetAction((result, cancellationToken) => cluster.RunAsync("device set", result, async kube =>
        {
            var problems = new List<string>();
            var name = DeviceName.TryRead(result.GetValue(device)!, result.GetValue(@namespace) ?? kube.Options.DefaultNamespace, out var error);
            if (name is null)
                problems.Add(error);
            var wanted = DesiredCheck.Read(result.GetValue(values)!, problems);
            var span = ReadSpan("--wait", result.GetResult(wait) is null ? null : result.GetValue(wait) ?? WaitDefault, problems);
            return problems.Count > 0 ? Fail("set", problems) : await new DeviceSet(kube, name!, wanted, TimeProvider.System).RunAsync(span, cancellationToken);
        }));
        return command;
    }

    private static Command CreateTrace()
    {
        var cluster = new KubeAccess();
        var output = Output.CreateOption();
        output.Description = "table for lines of text, or json: a document a line, the last one the summary.";
        var @namespace = GetCommand.CreateNamespaceOption();
        var device = CreateDevice();
        var properties = new Argument<string[]>("PROPERTY") { Description = "Only these properties.", Arity = ArgumentArity.ZeroOrMore };
        var length = new Option<string?>("--for") { Description = "End after this time, e.g. 30s, 5m; without it on Ctrl-C.", HelpName = "TIME" };
        var command = new Command("trace", """
            Shows each change of a device's desired, observed and reported values, errors and state, with the mapper's own time and the time seen here;
            at the end, for each property, how often and how fresh its reports were. The mapper's time is by its machine's clock: where that differs
            from this one's, the ages do too.

            Examples:
              edgectl device trace default/thermostat-1
              edgectl device trace thermostat-1 setpoint temperature --for 1m
              edgectl device trace thermostat-1 --for 10m -o json > trace.jsonl
            """)
        {
            device, properties, length, @namespace, output, cluster.Kubeconfig, cluster.Context,
        };
        command.SetAction((result, cancellationToken) => cluster.RunAsync("device trace", result, async kube =>
        {
            var problems = new List<string>();
            var name = DeviceName.TryRead(result.GetValue(device)!, result.GetValue(@namespace) ?? kube.Options.DefaultNamespace, out var error);
            if (name is null)
                problems.Add(error);
            var span = ReadSpan("--for", result.GetValue(length), problems);
            return problems.Count > 0 ? Fail("trace", problems)
                : await new DeviceTrace(kube, name!, result.GetValue(properties)!, result.GetValue(output) == "json", TimeProvider.System).RunAsync(span, cancellationToken);
        }));
        return command;
    }

    private static Argument<string> CreateDevice() => new("DEVICE") { Description = "The device, NAMESPACE/NAME or NAME." };

    private static TimeSpan? ReadSpan(string option, string? text, List<string> problems)
    {
        if (text is null)
            return null;
        var span = Ages.TryRead(text);
        if (span is null || span > TimeSpan.FromDays(40))
            problems.Add($"{option} '{text}' must be a time from 1ms to 40d, e.g. 30s, 5m, 1h30m");
        return span;
    }

    private static int Fail(string verb, IEnumerable<string> problems)
    {
        foreach (var problem in problems)
            Console.Error.WriteLine($"edgectl device {verb}: {problem}");
        return 1;
    }
}
