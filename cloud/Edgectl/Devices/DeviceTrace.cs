using System.Text;
using System.Text.Json;
using Edge.Kubernetes;

namespace Edge.Ctl.Devices;

/// <summary><c>edgectl device trace</c>: a line for each change of a device, and figures at the end.</summary>
/// <param name="kube">The API.</param>
/// <param name="name">The device.</param>
/// <param name="only">Its properties to follow; empty for all.</param>
/// <param name="json">A JSON document a line instead of text.</param>
/// <param name="time">Clock of the times seen.</param>
internal sealed class DeviceTrace(IKubeClient kube, DeviceName name, IReadOnlyList<string> only, bool json, TimeProvider time)
{
    /// <param name="length">How long; null for until <paramref name="stop"/>.</param>
    /// <param name="stop">Ctrl-C: the regular end.</param>
    public async Task<int> RunAsync(TimeSpan? length, CancellationToken stop)
    {
        var device = await DeviceApi.GetAsync(kube, name, stop);
        var model = await DeviceApi.TryGetModelAsync(kube, device, stop);
        var known = device.Items("spec", "properties").Concat(model.Items("spec", "properties")).Select(one => one.Text("name")).Where(one => one.Length > 0).Distinct().ToList();
        if (only.FirstOrDefault(one => !known.Contains(one)) is { } unknown)
        {
            var meant = DesiredCheck.Meant(unknown, known);
            await Console.Error.WriteLineAsync($"edgectl device trace: device '{name}' has no property '{unknown}'; {(meant is null ? $"it has: {string.Join(", ", known)}" : $"did you mean '{meant}'?")}");
            return 1;
        }

        var units = model.Items("spec", "properties").GroupBy(one => one.Text("name")).ToDictionary(group => group.Key, group => group.First().Text("unit"));
        var width = Math.Max("(device)".Length, (only.Count > 0 ? only : known).Select(one => one.Length).DefaultIfEmpty(0).Max());
        var core = new TraceCore(model, only);
        using var deadline = new CancellationTokenSource(length ?? Timeout.InfiniteTimeSpan, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, stop);
        try
        {
            await using var watch = new ApiWatch(kube, everyChange: true, time);
            await watch.FollowAsync(ResourceKind.Device, name.Namespace, name.Name, either.Token);
            var statuses = await watch.FollowAsync(ResourceKind.DeviceStatus, name.Namespace, name.Name, either.Token);
            var lines = new List<TraceLine>();

            // Where there is no status to begin with, the first that comes is news.
            if (statuses.List().Count == 0)
                core.Status(null, time.GetUtcNow(), lines);
            while (true)
            {
                var change = await NextAsync(watch, either.Token);
                var now = change.Type == ChangeType.Deleted ? null : change.Object;
                if (change.Kind == ResourceKind.Device)
                    core.Device(now, change.Seen, lines);
                else
                    core.Status(now, change.Seen, lines);
                foreach (var line in lines)
                    await Console.Out.WriteLineAsync(json ? Json(writer => TraceText.WriteJson(writer, name, line)) : TraceText.Line(line, units.GetValueOrDefault(line.Property, ""), TimeZoneInfo.Local, width));
                lines.Clear();
            }
        }
        catch (OperationCanceledException) when (either.IsCancellationRequested)
        {
            // The regular end.
        }

        if (json)
        {
            await Console.Out.WriteLineAsync(Json(writer => TraceText.WriteJson(writer, name, core.Figures)));
        }
        else
        {
            await Console.Out.WriteLineAsync();
            await Console.Out.WriteAsync(TraceText.Summary(core.Figures));
        }

        return 0;
    }

    // Tells, once, while it waits, why there may be nothing.
    private async Task<SeenChange> NextAsync(ApiWatch watch, CancellationToken cancellationToken)
    {
        var told = "";
        while (true)
        {
            if (watch.Changes.TryRead(out var change))
                return change;
            using var tick = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var wait = Task.Delay(TimeSpan.FromSeconds(1), time, tick.Token);
            await Task.WhenAny(wait, watch.Changes.WaitToReadAsync(tick.Token).AsTask());
            await tick.CancelAsync();
            cancellationToken.ThrowIfCancellationRequested();
            if (watch.Trouble is { } trouble && trouble != told)
            {
                told = trouble;
                await Console.Error.WriteLineAsync($"edgectl device trace: {trouble}");
            }
        }
    }

    private static string Json(Action<Utf8JsonWriter> write)
    {
        using var bytes = new MemoryStream();
        using (var writer = new Utf8JsonWriter(bytes))
            write(writer);
        return Encoding.UTF8.GetString(bytes.ToArray());
    }
}
