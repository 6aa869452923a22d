namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>Topology spread (kube-scheduler's plug-in PodTopologySpread, with its words) of one pod to place. Pure.</summary>
internal sealed class TopologySpread
{
    private readonly PodInfo _pod;
    private readonly List<SpreadConstraint> _hard;
    private readonly Dictionary<string, int>[] _counts; // by constraint: pods of each place
    private readonly int?[] _least; // by constraint; null: to be worked out again

    public TopologySpread(PodInfo pod, ClusterView cluster)
    {
        _pod = pod;
        _hard = [.. pod.Spread.Where(constraint => constraint.IsHard)];
        _counts = [.. _hard.Select(_ => new Dictionary<string, int>(StringComparer.Ordinal))];
        _least = new int?[_hard.Count];
        if (_hard.Count == 0)
            return;
        foreach (var node in cluster.Nodes)
            Count(node, node.Pods, 1);
    }

    private TopologySpread(TopologySpread other)
    {
        (_pod, _hard) = (other._pod, other._hard);
        _counts = [.. other._counts.Select(counts => new Dictionary<string, int>(counts, StringComparer.Ordinal))];
        _least = [.. other._least];
    }

    /// <summary>One to try changes on.</summary>
    public TopologySpread Copy() => new(this);

    /// <summary>Counts a pod of the node, or (<paramref name="change"/> -1) no longer.</summary>
    public void Update(NodeInfo node, PodInfo existing, int change) => Count(node, [existing], change);

    /// <summary>Why the node does not do, and whether that is final; null when it does.</summary>
    public Refusal? Filter(NodeInfo node)
    {
        for (var i = 0; i < _hard.Count; i++)
        {
            var constraint = _hard[i];
            if (!node.Labels.TryGetValue(constraint.TopologyKey, out var place))
                return new Refusal("node(s) didn't match pod topology spread constraints (missing required label)", true);
            var own = constraint.Counts(_pod, _pod) ? 1 : 0;
            if (_counts[i].GetValueOrDefault(place) + own - Least(i) > constraint.MaxSkew)
                return new Refusal("node(s) didn't match pod topology spread constraints", false);
        }

        return null;
    }

    /// <summary>How few pods of the kind each node's places have, for the constraints that only wish: 0 to 100. A pod of a workload without constraints has
    /// Kubernetes' default ones.</summary>
    public static long[] Score(PodInfo pod, ClusterView cluster, List<NodeInfo> nodes)
    {
        var own = pod.Spread.Count > 0;
        var soft = own ? pod.Spread.Where(constraint => !constraint.IsHard).ToList() : SpreadConstraint.Defaults(pod);
        if (soft.Count == 0)
            return new long[nodes.Count];
        var ignored = nodes.ConvertAll(node => own && soft.Any(constraint => !node.Labels.ContainsKey(constraint.TopologyKey)));
        var costs = new double[nodes.Count];
        foreach (var constraint in soft)
        {
            var counts = new Dictionary<string, int>(StringComparer.Ordinal);
            for (var i = 0; i < nodes.Count; i++)
            {
                if (!ignored[i] && nodes[i].Labels.TryGetValue(constraint.TopologyKey, out var place))
                    counts[place] = 0;
            }

            foreach (var node in cluster.Nodes)
            {
                if (node.Pods.Count > 0 && node.Labels.TryGetValue(constraint.TopologyKey, out var place) && counts.TryGetValue(place, out var count) && constraint.Includes(pod, node))
                    counts[place] = count + Matching(constraint, pod, node.Pods);
            }

            // Many places make each pod weigh more, as in Kubernetes: skew over two zones and over a hundred nodes is comparable so.
            var weight = Math.Log(counts.Count + 2);
            for (var i = 0; i < nodes.Count; i++)
            {
                if (nodes[i].Labels.TryGetValue(constraint.TopologyKey, out var place) && counts.TryGetValue(place, out var count))
                    costs[i] += (count * weight) + (constraint.MaxSkew - 1);
            }
        }

        var known = Enumerable.Range(0, nodes.Count).Where(i => !ignored[i]).Select(i => (long)Math.Round(costs[i])).ToList();
        var (min, max) = known.Count == 0 ? (0, 0) : (known.Min(), known.Max());
        return [.. Enumerable.Range(0, nodes.Count).Select(i => ignored[i] ? 0 : max == 0 ? 100 : 100 * (max + min - (long)Math.Round(costs[i])) / max)];
    }

    private static int Matching(SpreadConstraint constraint, PodInfo pod, IReadOnlyCollection<PodInfo> pods)
    {
        var count = 0;
        foreach (var existing in pods)
        {
            if (constraint.Counts(pod, existing))
                count++;
        }

        return count;
    }

    private void Count(NodeInfo node, IReadOnlyCollection<PodInfo> pods, int change)
    {
        foreach (var constraint in _hard)
        {
            if (!node.Labels.ContainsKey(constraint.TopologyKey))
                return;
        }

        for (var i = 0; i < _hard.Count; i++)
        {
            if (!_hard[i].Includes(_pod, node))
                continue;
            // A place without pods is one, too: the least of all is counted over it.
            var place = node.Labels[_hard[i].TopologyKey];
            _counts[i][place] = _counts[i].GetValueOrDefault(place) + (change * Matching(_hard[i], _pod, pods));
            _least[i] = null;
        }
    }

    // Fewer places than minDomains: as if there was an empty one.
    private int Least(int i)
        => _least[i] ??= _counts[i].Count < _hard[i].MinDomains ? 0 : _counts[i].Count == 0 ? int.MaxValue : _counts[i].Values.Min();
}
