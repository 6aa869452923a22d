using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary>cloudcore, edgecore, mapper and simulator as processes, and somebody who takes their traces.</summary>
[Trait("Category", "Interop")]
public sealed class TracingTests
{
    [SkippableFact]
    public async Task Desired_value_patched_with_kubectl_is_one_trace_to_the_mapper_and_back_with_spans_of_both_processes()
    {
        Requires.Kubectl();
        await using var receiver = await OtlpReceiver.StartAsync();
        var setting = $"commonConfig.tracing.endpoint={receiver.Endpoint}";
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Simulator = true, CloudCoreSettings = [setting], EdgeCoreSettings = [setting] });
        string[] steps = ["watch", "deliver", "store object", "change twin", "tell mapper", "report", "report received", "write DeviceStatus"];
        List<ReceivedSpan>? whole = null;
        var value = 20;
        await edge.WaitForAsync("a trace with every step", async () =>
        {
            // Another value each time: a patch that changes nothing is no change.
            await edge.KubectlAsync(["patch", "device", "thermostat-1", "--type=json", "-p", $$"""[{"op":"replace","path":"/spec/properties/1/desired/value","value":"{{20 + (value++ % 8)}}"}]"""]);
            await receiver.NextExportAsync();
            whole = receiver.Spans.GroupBy(span => span.TraceId).Select(trace => trace.ToList()).FirstOrDefault(trace => steps.All(step => trace.Any(span => span.Name == step)));
            return whole is not null;
        }, TimeSpan.FromSeconds(90));
        Assert.Equal(["cloudcore", "edgecore"], whole!.Select(span => span.Service).Distinct().Order(StringComparer.Ordinal));
        string Service(string name) => whole!.First(span => span.Name == name).Service;
        Assert.All((string[])["watch", "deliver", "report received", "write DeviceStatus"], step => Assert.Equal("cloudcore", Service(step)));
        Assert.All((string[])["store object", "change twin", "tell mapper", "report"], step => Assert.Equal("edgecore", Service(step)));

        // Each but the first has its parent in the trace, and the first has none.
        var ids = whole!.Select(span => span.SpanId).ToHashSet();
        Assert.All(whole!.Where(span => span.Name != "watch"), span => Assert.Contains(span.ParentId, ids));
        Assert.Equal("", whole!.Single(span => span.Name == "watch").ParentId);
    }
}
