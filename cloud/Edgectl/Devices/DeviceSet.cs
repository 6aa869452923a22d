using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Devices;

/// <summary><c>edgectl device set</c>: checks, patches, and follows the values to the device.</summary>
internal sealed class DeviceSet(IKubeClient kube, DeviceName name, IReadOnlyList<Wanted> wanted, TimeProvider time)
{
    private const int TriesMax = 10;

    // Clocks differ, and CloudCore may have told of this just before.
    private static readonly TimeSpan s_eventGrace = TimeSpan.FromSeconds(5);

    // For a last look when the time is up.
    private static readonly TimeSpan s_lastLook = TimeSpan.FromSeconds(10);

    /// <param name="wait">How long the values may take to the device and back; null not to wait.</param>
    /// <param name="cancellationToken">Ends the wait; what has been set stays.</param>
    /// <returns>The exit code.</returns>
    public async Task<int> RunAsync(TimeSpan? wait, CancellationToken cancellationToken)
    {
        var device = await DeviceApi.GetAsync(kube, name, cancellationToken);
        if (await DeviceApi.TryGetModelAsync(kube, device, cancellationToken) is not { } model)
        {
            var named = device.Text("spec", "deviceModelRef", "name");
            return Fail([$"device '{name}' has no model to check against: {(named.Length > 0 ? $"there is no DeviceModel '{named}' in namespace {name.Namespace}; apply it first" : "spec.deviceModelRef is not set")}"]);
        }

        if (DesiredCheck.Check(model, wanted) is { Count: > 0 } problems)
            return Fail(problems);
        var status = await kube.TryGetAsync(ResourceKind.DeviceStatus, name.Namespace, name.Name, cancellationToken);
        var (began, beganAt) = (time.GetTimestamp(), time.GetUtcNow());
        var before = await PatchAsync(device, beganAt, cancellationToken);
        foreach (var one in wanted)
        {
            var old = Desired(before, one.Property);
            var unit = Definition(model, one.Property).Text("unit") is { Length: > 0 } said ? $" {said}" : "";
            Console.Out.WriteLine(FittedTable.Clean($"{name} {one.Property}: {(old == one.Value ? $"is {old}{unit} already" : $"{(old.Length > 0 ? old : "(not set)")} → {one.Value}{unit}")}"));
            if (before.Items("spec", "properties").All(property => property.Text("name") != one.Property) && Definition(model, one.Property).At("visitors") is null)
                Console.Error.WriteLine($"edgectl device set: neither the device nor its model has visitors for '{one.Property}', so most mappers cannot write it");
        }

        return wait is null ? 0 : await FollowAsync(new FollowCore(before, model, status, wanted), model, wait.Value, began, beganAt, cancellationToken);
    }

    // Reads again and tries again when somebody else was faster. Answers the Device as it was just before the values went in.
    private async Task<JsonObject> PatchAsync(JsonObject device, DateTimeOffset setAt, CancellationToken cancellationToken)
    {
        for (var tries = 1; ; tries++)
        {
            if (DesiredPatch.Build(device, wanted, setAt) is not { } patch)
                return device;
            try
            {
                await kube.PatchAsync(ResourceKind.Device, name.Namespace, name.Name, PatchKind.Json, Encoding.UTF8.GetBytes(patch.ToJsonString()), null, cancellationToken);
                return device;
            }
            catch (KubeException e) when (e.Code is 409 or 422 && tries < TriesMax)
            {
                // 422 is a test that failed, or a value that the API refuses; then the Device is as it was.
                var now = await DeviceApi.GetAsync(kube, name, cancellationToken);
                if (now.Uid() != device.Uid())
                    throw new KubeException(e.Code, e.Reason, $"device '{name}' was deleted and made anew meanwhile; look at it and try again", inner: e);
                if (e.Code == 422 && now.ResourceVersion() == device.ResourceVersion())
                    throw;
                device = now;
            }
        }
    }

    private async Task<int> FollowAsync(FollowCore core, JsonObject model, TimeSpan wait, long began, DateTimeOffset beganAt, CancellationToken cancellationToken)
    {
        foreach (var one in wanted)
            Print(began, one.Property, "desired", one.Value, "stored at the API");
        using var deadline = new CancellationTokenSource(wait, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            await using var watch = new ApiWatch(kube, everyChange: true, time);
            await watch.FollowAsync(ResourceKind.DeviceStatus, name.Namespace, name.Name, either.Token);
            var steps = new List<FollowStep>();
            while (!core.IsDone)
            {
                var change = await watch.Changes.ReadAsync(either.Token);
                if (change.Type != ChangeType.Deleted)
                    core.Step(change.Object, steps);
                foreach (var step in steps)
                {
                    Print(began, step.Property, Word(step.Stage), step.Value, step.Stage switch
                    {
                        FollowStage.Observed => "the mapper wrote it",
                        FollowStage.Reported => "the device has it",
                        _ => "",
                    });
                }

                steps.Clear();
            }

            return 0;
        }
        catch (OperationCanceledException) when (either.IsCancellationRequested)
        {
            // Said below, with what is known.
        }

        if (cancellationToken.IsCancellationRequested)
            return Fail([$"stopped waiting; what was set stays: {string.Join(", ", FollowReport.Missing(core))}"]);
        using var last = new CancellationTokenSource(s_lastLook, time);
        return Fail([.. FollowReport.Missing(core).Select(text => $"{text} within {Ages.Precise(wait)}"), .. await KnownAsync(model, beganAt, last.Token),
            "what was set stays: the device gets it as soon as it can"]);
    }

    private async Task<IEnumerable<string>> KnownAsync(JsonObject model, DateTimeOffset beganAt, CancellationToken cancellationToken)
    {
        try
        {
            var device = await DeviceApi.GetAsync(kube, name, cancellationToken);
            var status = await kube.TryGetAsync(ResourceKind.DeviceStatus, name.Namespace, name.Name, cancellationToken);
            var nodes = await DeviceApi.TryListNodesAsync(kube, cancellationToken);
            var node = nodes?.FirstOrDefault(one => one.Name() == device.Text("spec", "nodeName"));
            var about = new ListOptions(FieldSelector: $"involvedObject.kind=Device,involvedObject.name={name.Name}");
            var events = (await kube.ListAsync(ResourceKind.Event, name.Namespace, about, cancellationToken)).Items;
            return FollowReport.Known(device, model, status, node, events, [.. wanted.Select(one => one.Property)], beganAt - s_eventGrace, time.GetUtcNow()).Select(line => $"  {line}");
        }
        catch (Exception e) when (e is KubeException or OperationCanceledException)
        {
            return [$"  the API does not say more: {e.Message}"];
        }
    }

    private void Print(long began, string property, string stage, string value, string what)
        => Console.Out.WriteLine(FittedTable.Clean($"{Ages.Precise(time.GetElapsedTime(began)),9}  {property}  {stage,-8}  {value}{(what.Length > 0 ? $"  {what}" : "")}"));

    private static string Word(FollowStage stage) => stage switch
    {
        FollowStage.Observed => "observed",
        FollowStage.Reported => "reported",
        _ => "problem",
    };

    private static JsonObject? Definition(JsonObject model, string property) => model.Items("spec", "properties").FirstOrDefault(one => one.Text("name") == property);

    private static string Desired(JsonObject device, string property)
        => device.Items("spec", "properties").FirstOrDefault(one => one.Text("name") == property).Text("desired", "value");

    private static int Fail(IReadOnlyList<string> lines)
    {
        foreach (var line in lines)
            Console.Error.WriteLine(line.StartsWith(' ') ? line : $"edgectl device set: {line}");
        return 1;
    }
}
