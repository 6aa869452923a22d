using System.Globalization;
using Edge.Kubernetes;
using Edge.Local;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Edge.Ctl.Up;

/// <summary><c>edgectl up</c>: starts everything, shows it until it is asked to stop, stops everything.</summary>
internal static class UpRun
{
    private static readonly TimeSpan s_refresh = TimeSpan.FromSeconds(1);

    // How often a value that moves all the time is printed where there is no terminal.
    private static readonly TimeSpan s_valueLine = TimeSpan.FromSeconds(10);

    public static async Task<int> RunAsync(LocalEdgeOptions options, CancellationToken stop)
    {
        var started = options.Time.GetTimestamp();
        Console.WriteLine($"Starting Edge in {Path.GetFullPath(options.Directory)}");
        await using var edge = await LocalEdge.StartAsync(options, new StepPrinter(Console.Out), stop);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Edge is up after {options.Time.GetElapsedTime(started).TotalSeconds:0.0} s; logs in {edge.LogsDirectory}"));
        Console.WriteLine();
        Console.WriteLine($"  export KUBECONFIG={edge.Kubeconfig}");
        Console.WriteLine("  kubectl get nodes,pods,devices -o wide");
        if (edge.Ports.Dns > 0)
        {
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  dig @127.0.0.1 -p {edge.Ports.Dns} shop.edge.example +subnet=198.51.100.7/32 +short"));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  dig @127.0.0.1 -p {edge.Nodes[0].DnsPort} www.edge.example +short    # as programs on {edge.Nodes[0].Name} see it, also without the cloud"));
        }

        Console.WriteLine();
        try
        {
            if (Console.IsOutputRedirected)
                await PrintLinesAsync(edge, options.Time, stop);
            else
                await ShowTableAsync(edge, options.Time, stop);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // Asked to stop; the disposal below does it, with progress.
            Console.WriteLine("Stopping");
        }

        return 0;
    }

    private static Task ShowTableAsync(LocalEdge edge, TimeProvider time, CancellationToken stop)
        => AnsiConsole.Live(new Text("")).StartAsync(async live =>
        {
            while (true)
            {
                live.UpdateTarget(await RenderAsync(edge, time, stop));
                live.Refresh();
                await Task.Delay(s_refresh, time, stop);
            }
        });

    private static async Task<IRenderable> RenderAsync(LocalEdge edge, TimeProvider time, CancellationToken stop)
    {
        var parts = new List<IRenderable>();
        try
        {
            var view = await EdgeView.ReadAsync(edge.Client, time.GetUtcNow(), stop);
            parts.Add(Table("Nodes", ["name", "status", "lease age"], view.Nodes.Select(row => (string[])[row.Name, row.Status, Age(row.LeaseAge)])));
            parts.Add(Table(
                "Pods",
                ["name", "node", "ready", "status", "restarts", "ip", "age"],
                view.Pods.Select(row => (string[])[row.Name, row.Node, row.Ready, row.Status, Number(row.Restarts), row.Ip, Age(row.Age)])));
            parts.Add(Table(
                "Devices",
                ["device", "property", "reported", "desired", "report age"],
                view.Properties.Select(row => (string[])[row.Device, row.Property, row.Reported, row.Desired, Age(row.Age)])));
        }
        catch (KubeException e)
        {
            parts.Add(new Text($"the API does not answer: {e.Message}", new Style(Color.Red)));
        }

        parts.AddRange(edge.Deaths.Select(death => new Text(death, new Style(Color.Red))));
        parts.Add(new Text($"KUBECONFIG={edge.Kubeconfig}   Ctrl-C stops everything", new Style(Color.Grey)));
        return new Rows(parts);
    }

    private static Table Table(string title, string[] columns, IEnumerable<string[]> rows)
    {
        var table = new Table().Title(title).Border(TableBorder.Rounded).Expand();
        foreach (var column in columns)
            table.AddColumn(column);
        foreach (var row in rows)
            table.AddRow(row.Select(cell => new Text(cell, new Style(Colour(cell)))));
        return table;
    }

    private static Color? Colour(string cell) => cell switch
    {
        "Ready" or "Running" or "Completed" => Color.Green,
        "NotReady" or "Unknown" or "Failed" or "Error" or "CrashLoopBackOff" => Color.Red,
        "Pending" or "ContainerCreating" or "Terminating" => Color.Yellow,
        _ => null,
    };

    private static async Task PrintLinesAsync(LocalEdge edge, TimeProvider time, CancellationToken stop)
    {
        var last = new Dictionary<string, (string Text, long At)>();
        while (true)
        {
            try
            {
                var view = await EdgeView.ReadAsync(edge.Client, time.GetUtcNow(), stop);
                foreach (var row in view.Nodes)
                    Print($"node {row.Name}", row.Status, TimeSpan.Zero);
                foreach (var row in view.Pods)
                    Print($"pod {row.Namespace}/{row.Name}", $"{row.Status} ready {row.Ready} restarts {Number(row.Restarts)} on {row.Node} {row.Ip}".TrimEnd(), TimeSpan.Zero);
                foreach (var row in view.Properties)
                    Print($"device {row.Device} {row.Property}", $"reported {row.Reported}{(row.Desired.Length > 0 ? $", desired {row.Desired}" : "")}", s_valueLine);
                foreach (var gone in last.Keys.Where(key => key.StartsWith("pod ", StringComparison.Ordinal) && !view.Pods.Any(row => key == $"pod {row.Namespace}/{row.Name}")).ToList())
                {
                    last.Remove(gone);
                    Console.WriteLine($"{gone}: gone");
                }
            }
            catch (KubeException e)
            {
                Print("API", $"does not answer: {e.Message}", TimeSpan.Zero);
            }

            await Task.Delay(s_refresh, time, stop);
        }

        void Print(string what, string text, TimeSpan pause)
        {
            if (last.TryGetValue(what, out var before) && (before.Text == text || time.GetElapsedTime(before.At) < pause))
                return;
            last[what] = (text, time.GetTimestamp());
            Console.WriteLine($"{what}: {text}");
        }
    }

    private static string Age(TimeSpan? age) => age switch
    {
        null => "",
        { TotalSeconds: < 0 } => "0s",
        { TotalSeconds: < 10 } => age.Value.TotalSeconds.ToString("0.0", CultureInfo.InvariantCulture) + "s",
        { TotalMinutes: < 2 } => Number((long)age.Value.TotalSeconds) + "s",
        { TotalHours: < 2 } => Number((long)age.Value.TotalMinutes) + "m",
        { TotalDays: < 2 } => Number((long)age.Value.TotalHours) + "h",
        _ => Number((long)age.Value.TotalDays) + "d",
    };

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
