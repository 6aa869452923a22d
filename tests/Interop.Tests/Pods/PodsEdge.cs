using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Pods;

/// <summary>One Edge with pods for the tests of a class, started when the first asks for it.</summary>
public sealed class PodsEdge : IAsyncLifetime
{
    private TestEdge? _edge;

    /// <summary>The edge; skips the test where the machine lacks what it takes.</summary>
    public async Task<TestEdge> GetAsync()
    {
        Requires.Containerd();
        Requires.Kubectl();
        return _edge ??= await TestEdge.StartAsync(new TestEdgeOptions { Pods = true });
    }

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        if (_edge is not null)
            await _edge.DisposeAsync();
    }
}
