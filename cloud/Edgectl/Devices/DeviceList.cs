using System.Text;
using System.Text.Json;
using Edge.Ctl.Commands;
using Edge.Kubernetes;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Edge.Ctl.Devices;

/// <summary><c>edgectl get devices</c>: once, as a live table, or as lines of changes.</summary>
/// <param name="kube">The API.</param>
/// <param name="namespace">Null for all.</param>
/// <param name="names">The devices to show; empty for all of the namespace.</param>
/// <param name="json">JSON instead of a table.</param>
/// <param name="time">Clock of ages and redraws.</param>
internal sealed class DeviceList(IKubeClient kube, string? @namespace, IReadOnlyList<DeviceName> names, bool json, TimeProvider time)
{
    private static readonly TimeSpan s_redraw = TimeSpan.FromSeconds(1);

    // A busy fleet changes all the time; nobody reads faster.
    private static readonly TimeSpan s_redrawMin = TimeSpan.FromMilliseconds(200);

    // How long a line about the API's trouble holds before it is said again.
    private static readonly TimeSpan s_troubleAgain = TimeSpan.FromSeconds(30);

    private static bool IsTerminal => !Console.IsOutputRedirected && AnsiConsole.Profile.Capabilities.Ansi;

    // Names may be of several namespaces.
    private string? Scope => names.Count == 0 ? @namespace : names.Select(one => one.Namespace).Distinct().Count() == 1 ? names[0].Namespace : null;

    /// <summary>Prints what there is; throws <see cref="KubeException"/> when a named device is not there.</summary>
    public async Task<int> ShowAsync(CancellationToken cancellationToken)
    {
        var devices = await DeviceApi.ListAsync(kube, ResourceKind.Device, Scope, cancellationToken);
        foreach (var name in names)
        {
            if (!devices.Any(one => one.Namespace() == name.Namespace && one.Name() == name.Name))
                throw DeviceApi.Missing(name, await DeviceApi.ListAsync(kube, ResourceKind.Device, null, cancellationToken));
        }

        var rows = Rows(
            new DeviceObjects(
                devices,
                await DeviceApi.ListAsync(kube, ResourceKind.DeviceModel, Scope, cancellationToken),
                await DeviceApi.ListAsync(kube, ResourceKind.DeviceStatus, Scope, cancellationToken),
                await DeviceApi.TryListNodesAsync(kube, cancellationToken)));
        var now = time.GetUtcNow();
        if (json)
        {
            Console.Out.Write(Output.Json(writer =>
            {
                writer.WriteStartObject();
                writer.WriteStartArray("items");
                foreach (var row in rows)
                    DeviceTable.WriteJson(writer, row, now);
                writer.WriteEndArray();
                writer.WriteEndObject();
            }));
        }
        else if (rows.Count == 0)
        {
            Console.Error.WriteLine(@namespace is null ? "there are no devices" : $"there are no devices in namespace {@namespace}; -A shows those of all");
        }
        else if (IsTerminal)
        {
            foreach (var line in DeviceTable.Markup(rows, now, AnsiConsole.Profile.Width))
                AnsiConsole.MarkupLine(line);
        }
        else
        {
            Console.Out.Write(DeviceTable.Plain(rows, now));
        }

        return 0;
    }

    /// <summary>Shows what changes until it is asked to stop.</summary>
    public async Task<int> WatchAsync(CancellationToken stop)
    {
        try
        {
            // What cannot work is said before the wait begins.
            await DeviceApi.ListAsync(kube, ResourceKind.Device, Scope, stop);
            var mayReadNodes = await DeviceApi.TryListNodesAsync(kube, stop) is not null;
            await using var watch = new ApiWatch(kube, everyChange: false, time);
            var one = names.Count == 1 ? names[0].Name : null;
            var models = await watch.FollowAsync(ResourceKind.DeviceModel, Scope, null, stop);
            var nodes = mayReadNodes ? await watch.FollowAsync(ResourceKind.Node, null, null, stop) : null;
            var statuses = await watch.FollowAsync(ResourceKind.DeviceStatus, Scope, one, stop);
            var devices = await watch.FollowAsync(ResourceKind.Device, Scope, one, stop);
            IReadOnlyList<PropertyRow> Current() => Rows(new DeviceObjects(devices.List(), models.List(), statuses.List(), nodes?.List()));
            if (IsTerminal && !json)
                await DrawAsync(watch, Current, stop);
            else
                await PrintAsync(watch, Current, stop);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // Ctrl-C is how a watch ends.
        }

        return 0;
    }

    private Task DrawAsync(ApiWatch watch, Func<IReadOnlyList<PropertyRow>> current, CancellationToken stop)
        => AnsiConsole.Live(new Text("")).StartAsync(async live =>
        {
            while (true)
            {
                live.UpdateTarget(Render(current(), watch.Trouble));
                live.Refresh();
                await NextAsync(watch, stop);
            }
        });

    private Rows Render(IReadOnlyList<PropertyRow> rows, string? trouble)
    {
        var now = time.GetUtcNow();
        var (width, height) = (AnsiConsole.Profile.Width, AnsiConsole.Profile.Height);
        var lines = new List<IRenderable>();
        if (rows.Count == 0)
            lines.Add(new Markup("[grey]no devices yet[/]"));
        else
            lines.AddRange(DeviceTable.Markup(rows, now, width, Math.Max(3, height - 3)).Select(line => new Markup(line)));
        if (trouble is not null)
            lines.Add(new Text(FittedTable.Cell(trouble, width).TrimEnd(), new Style(Color.Red)));
        lines.Add(new Text(FittedTable.Cell($"{now.ToLocalTime():HH:mm:ss}  Ctrl-C ends", width).TrimEnd(), new Style(Color.Grey)));
        return new Rows(lines);
    }

    private async Task PrintAsync(ApiWatch watch, Func<IReadOnlyList<PropertyRow>> current, CancellationToken stop)
    {
        var last = new Dictionary<(string, string), PropertyRow>();
        (string Text, long At)? told = null;
        while (true)
        {
            var now = time.GetUtcNow();
            var rows = current();
            foreach (var row in rows)
            {
                if (!last.TryGetValue((row.Id, row.Property), out var before) || !row.LooksLike(before))
                    await Console.Out.WriteLineAsync(json ? JsonLine(row, now) : $"{KubeObject.Time(now)} {DeviceTable.Sentence(row, now)}");
                last[(row.Id, row.Property)] = row;
            }

            foreach (var gone in last.Keys.Except(rows.Select(row => (row.Id, row.Property))).ToList())
            {
                if (!json)
                    await Console.Out.WriteLineAsync($"{KubeObject.Time(now)} {gone.Item1} {gone.Item2} is gone");
                last.Remove(gone);
            }

            await Console.Out.FlushAsync(stop);
            if (watch.Trouble is { } trouble && (told is null || told.Value.Text != trouble || time.GetElapsedTime(told.Value.At) > s_troubleAgain))
            {
                told = (trouble, time.GetTimestamp());
                await Console.Error.WriteLineAsync($"edgectl get: {trouble}");
            }

            await NextAsync(watch, stop);
        }
    }

    // Until something changed, or ages have.
    private async Task NextAsync(ApiWatch watch, CancellationToken stop)
    {
        await Task.Delay(s_redrawMin, time, stop);
        using var tick = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var wait = Task.Delay(s_redraw - s_redrawMin, time, tick.Token);
        await Task.WhenAny(wait, watch.Changes.WaitToReadAsync(tick.Token).AsTask());
        await tick.CancelAsync();
        stop.ThrowIfCancellationRequested();
        while (watch.Changes.TryRead(out _))
        {
            // The informers have them; the queue only wakes.
        }
    }

    private IReadOnlyList<PropertyRow> Rows(DeviceObjects objects)
        => DeviceRows.From(
            names.Count == 0 ? objects : objects with { Devices = [.. objects.Devices.Where(device => names.Any(one => one.Namespace == device.Namespace() && one.Name == device.Name()))] },
            time.GetUtcNow());

    private static string JsonLine(PropertyRow row, DateTimeOffset now)
    {
        using var bytes = new MemoryStream();
        using (var writer = new Utf8JsonWriter(bytes))
            DeviceTable.WriteJson(writer, row, now);
        return Encoding.UTF8.GetString(bytes.ToArray());
    }
}
