using Edge.Kubernetes;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

[Trait("Category", "Interop")]
[Collection(nameof(EdgeCollection))]
public sealed class TestEdgeTests
{
    [Fact]
    public async Task Edge_of_two_nodes_starts_in_one_line_and_leaves_nothing()
    {
        string directory;
        await using (var edge = await TestEdge.StartAsync(new TestEdgeOptions { Nodes = 2 }))
        {
            directory = edge.Local.Directory;
            Assert.Equal(["edge-1", "edge-2"], (await edge.Client.ListAsync(ResourceKind.Node, null, new ListOptions(), CancellationToken.None)).Items.Select(node => node.Name()).Order());
            Assert.Equal(3, ProcessTable.OfDirectory(directory).Count);
            Assert.Empty(edge.Local.Deaths);
        }

        Assert.False(Directory.Exists(directory));
        Assert.Empty(Leftovers.Find(directory));
    }
}
