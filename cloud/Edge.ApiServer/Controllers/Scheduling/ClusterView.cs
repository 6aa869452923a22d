namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>What one pass of the scheduler sees: the nodes with their pods, which it changes as it places more, and the labels of namespaces.</summary>
internal sealed class ClusterView(IReadOnlyList<NodeInfo> nodes, Func<string, IReadOnlyDictionary<string, string>>? namespaceLabels = null)
{
    private readonly Dictionary<string, NodeInfo> _byName = new(nodes.Select(node => KeyValuePair.Create(node.Name, node)).DistinctBy(pair => pair.Key), StringComparer.Ordinal);

    public static IReadOnlyDictionary<string, string> NoLabels { get; } = new Dictionary<string, string>();

    /// <summary>Sorted as they are to be looked at.</summary>
    public IReadOnlyList<NodeInfo> Nodes => nodes;

    public NodeInfo? Find(string name) => _byName.GetValueOrDefault(name);

    public IReadOnlyDictionary<string, string> NamespaceLabels(string @namespace) => namespaceLabels?.Invoke(@namespace) ?? NoLabels;
}
