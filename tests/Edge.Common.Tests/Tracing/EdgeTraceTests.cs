using System.Diagnostics;
using Edge.Common.Tracing;
using Edge.Testing;

namespace Edge.Common.Tests.Tracing;

[Trait("Category", "Unit")]
public sealed class EdgeTraceTests
{
    private const string Place = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    [Fact]
    public void Without_a_listener_nothing_is_allocated_and_with_one_a_peers_place_is_the_parent()
    {
        static void Work()
        {
            using var first = EdgeTrace.Begin("a");
            using var second = EdgeTrace.Continue("b", ActivityKind.Consumer, Place);
            second?.SetTag("x", 1);
            using var third = EdgeTrace.Continue("c", ActivityKind.Consumer, null);
            if (EdgeTrace.Current is not null)
                throw new InvalidOperationException("nobody listens");
        }

        Assert.Equal(0, Allocation.Of(Work, warmUp: 1000));

        using var listener = new ActivityListener { ShouldListenTo = source => source.Name == EdgeTrace.SourceName, Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData };
        ActivitySource.AddActivityListener(listener);
        using (var span = EdgeTrace.Continue("b", ActivityKind.Consumer, Place))
        {
            Assert.Equal("0af7651916cd43dd8448eb211c80319c", span!.TraceId.ToHexString());
            Assert.Equal("b7ad6b7169203331", span.ParentSpanId.ToHexString());
            Assert.Equal(span.Id, EdgeTrace.Current);
        }

        foreach (var bad in (string[])["", "00-", "00-zz", Place + Place, "trace"])
            Assert.Null(EdgeTrace.Continue("b", ActivityKind.Consumer, bad));
        using (var begun = EdgeTrace.Begin("a"))
            Assert.Equal(default, begun!.ParentSpanId);
    }
}
