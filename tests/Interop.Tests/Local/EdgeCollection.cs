using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary>Tests that start a whole Edge run one after another; most share one.</summary>
[CollectionDefinition(nameof(EdgeCollection))]
public sealed class EdgeCollection : ICollectionFixture<SharedEdge>;

/// <summary>One Edge with pods, simulator and mapper, started when the first test asks for it.</summary>
public sealed class SharedEdge : IAsyncLifetime
{
    private TestEdge? _edge;

    /// <summary>The edge; skips the test where the machine lacks what it takes.</summary>
    public async Task<TestEdge> GetAsync()
    {
        Requires.Containerd();
        Requires.Kubectl();
        Requires.Mbpoll();
        return _edge ??= await TestEdge.StartAsync(new TestEdgeOptions { Pods = true, Simulator = true });
    }

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        if (_edge is not null)
            await _edge.DisposeAsync();
    }
}
