namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>Affinity and anti-affinity between pods (kube-scheduler's plug-in InterPodAffinity, with its words) of one pod to place. Counts, for each place that a
/// topology key makes of the nodes, the pods that matter, once for all nodes. Pure.</summary>
internal sealed class PodAffinity
{
    // How much a required affinity of a pod that runs counts for the one to place, beside the weights 1 to 100 of preferred ones.
    private const long HardWeight = 1;

    private readonly PodInfo _pod;
    private readonly ClusterView _cluster;
    private readonly Dictionary<(string Key, string Value), int> _affinity;
    private readonly Dictionary<(string Key, string Value), int> _anti;
    private readonly Dictionary<(string Key, string Value), int> _existingAnti;

    public PodAffinity(PodInfo pod, ClusterView cluster)
    {
        (_pod, _cluster) = (pod, cluster);
        (_affinity, _anti, _existingAnti) = ([], [], []);
        var asks = pod.RequiredAffinity.Count + pod.RequiredAntiAffinity.Count > 0;
        foreach (var node in cluster.Nodes)
        {
            foreach (var existing in asks ? node.Pods : node.PodsWithAffinity)
                Update(node, existing, 1);
        }
    }

    private PodAffinity(PodAffinity other)
    {
        (_pod, _cluster) = (other._pod, other._cluster);
        (_affinity, _anti, _existingAnti) = (new(other._affinity), new(other._anti), new(other._existingAnti));
    }

    /// <summary>One to try changes on.</summary>
    public PodAffinity Copy() => new(this);

    /// <summary>Counts a pod of the node, or (<paramref name="change"/> -1) no longer.</summary>
    public void Update(NodeInfo node, PodInfo existing, int change)
    {
        foreach (var term in existing.RequiredAntiAffinity)
        {
            if (term.Matches(_pod, _cluster))
                Count(_existingAnti, node, term, change);
        }

        if (_pod.RequiredAffinity.Count > 0 && MatchesAll(existing))
        {
            foreach (var term in _pod.RequiredAffinity)
                Count(_affinity, node, term, change);
        }

        foreach (var term in _pod.RequiredAntiAffinity)
        {
            if (term.Matches(existing, _cluster))
                Count(_anti, node, term, change);
        }
    }

    /// <summary>Why the node does not do, and whether that is final; null when it does.</summary>
    public Refusal? Filter(NodeInfo node)
    {
        if (!HasCompany(node))
            return new Refusal("node(s) didn't match pod affinity rules", true);
        foreach (var term in _pod.RequiredAntiAffinity)
        {
            if (node.Labels.TryGetValue(term.TopologyKey, out var value) && _anti.ContainsKey((term.TopologyKey, value)))
                return new Refusal("node(s) didn't match pod anti-affinity rules", false);
        }

        if (_existingAnti.Count > 0)
        {
            foreach (var (key, value) in node.Labels)
            {
                if (_existingAnti.ContainsKey((key, value)))
                    return new Refusal("node(s) didn't satisfy existing pods anti-affinity rules", false);
            }
        }

        return null;
    }

    /// <summary>How well each node suits the preferences, the pod's own and those of the pods that run: 0 to 100.</summary>
    public static long[] Score(PodInfo pod, ClusterView cluster, List<NodeInfo> nodes)
    {
        var points = new Dictionary<(string Key, string Value), long>();
        var asks = pod.PreferredAffinity.Count + pod.PreferredAntiAffinity.Count > 0;
        foreach (var node in cluster.Nodes)
        {
            foreach (var existing in asks ? node.Pods : node.PodsWithAffinity)
            {
                foreach (var term in pod.PreferredAffinity)
                    Weigh(points, node, term, existing, cluster, term.Weight);
                foreach (var term in pod.PreferredAntiAffinity)
                    Weigh(points, node, term, existing, cluster, -term.Weight);
                foreach (var term in existing.RequiredAffinity)
                    Weigh(points, node, term, pod, cluster, HardWeight);
                foreach (var term in existing.PreferredAffinity)
                    Weigh(points, node, term, pod, cluster, term.Weight);
                foreach (var term in existing.PreferredAntiAffinity)
                    Weigh(points, node, term, pod, cluster, -term.Weight);
            }
        }

        if (points.Count == 0)
            return new long[nodes.Count];
        var sums = nodes.ConvertAll(node => node.Labels.Sum(label => points.GetValueOrDefault((label.Key, label.Value))));
        var (min, max) = (sums.Min(), sums.Max());
        return [.. sums.Select(sum => max == min ? 0 : 100 * (sum - min) / (max - min))];
    }

    private static void Weigh(Dictionary<(string Key, string Value), long> points, NodeInfo node, AffinityTerm term, PodInfo target, ClusterView cluster, long weight)
    {
        if (node.Labels.TryGetValue(term.TopologyKey, out var value) && term.Matches(target, cluster))
            points[(term.TopologyKey, value)] = points.GetValueOrDefault((term.TopologyKey, value)) + weight;
    }

    // The first pod of a group that wants to be together would wait for itself: where nobody matches, its own labels do.
    private bool HasCompany(NodeInfo node)
    {
        var all = true;
        foreach (var term in _pod.RequiredAffinity)
        {
            if (!node.Labels.TryGetValue(term.TopologyKey, out var value))
                return false;
            all &= _affinity.ContainsKey((term.TopologyKey, value));
        }

        return all || (_affinity.Count == 0 && MatchesAll(_pod));
    }

    private bool MatchesAll(PodInfo other)
    {
        foreach (var term in _pod.RequiredAffinity)
        {
            if (!term.Matches(other, _cluster))
                return false;
        }

        return true;
    }

    // A count that comes to nothing is removed: what is there counts.
    private static void Count(Dictionary<(string Key, string Value), int> counts, NodeInfo node, AffinityTerm term, int change)
    {
        if (!node.Labels.TryGetValue(term.TopologyKey, out var value))
            return;
        var key = (term.TopologyKey, value);
        var count = counts.GetValueOrDefault(key) + change;
        if (count == 0)
            counts.Remove(key);
        else
            counts[key] = count;
    }
}
