using Edge.Core.Configuration;

namespace Edge.Core.Edged.Eviction;

/// <summary>Decides whether the node is under pressure and for which resource room must be made. Pure: readings and time come in.</summary>
/// <remarks>Kubelet's rules (Kubernetes documentation, "Node-pressure Eviction"): a condition is True as soon as its threshold is not met, and stays so for the transition period
/// after; a soft threshold evicts when it was not met for its grace period; once pods go for a threshold they go on until the minimum reclaim is free too; memory first.</remarks>
internal sealed class EvictionCore(ResourceOptions options)
{
    public const string MemoryPressure = "MemoryPressure";
    public const string DiskPressure = "DiskPressure";
    public const string PidPressure = "PIDPressure";

    private readonly Dictionary<EvictionThreshold, DateTimeOffset> _since = [];
    private readonly Dictionary<string, DateTimeOffset> _lastSeen = new(StringComparer.Ordinal);
    private HashSet<EvictionThreshold> _reclaiming = [];

    /// <summary>One look; <paramref name="readings"/> are of now.</summary>
    public EvictionDecision Step(NodeReadings readings, DateTimeOffset now)
    {
        var met = Met(readings);
        foreach (var gone in _since.Keys.Except(met.Select(one => one.Threshold)).ToList())
            _since.Remove(gone);
        foreach (var one in met)
        {
            _since.TryAdd(one.Threshold, now);
            _lastSeen[Pressure(one.Threshold.Signal)] = now;
        }

        var pressures = _lastSeen.Where(pair => now - pair.Value < options.PressureTransition || pair.Value == now).Select(pair => pair.Key).ToHashSet(StringComparer.Ordinal);
        var due = met.Where(one => now - _since[one.Threshold] >= one.Threshold.Grace).ToList();
        _reclaiming = [.. due.Select(one => one.Threshold)];
        return new EvictionDecision(pressures, due.OrderBy(one => one.Threshold.Signal == EvictionSignals.Memory ? 0 : 1).ThenBy(one => one.Threshold.IsHard ? 0 : 1).FirstOrDefault());
    }

    /// <summary>The pressures that one look shows, without memory of earlier ones.</summary>
    public static IReadOnlySet<string> PressuresOf(NodeReadings readings, ResourceOptions options)
        => new EvictionCore(options).Step(readings, DateTimeOffset.UnixEpoch).Pressures;

    /// <summary>Whether the threshold, with its minimum reclaim, is met again.</summary>
    public static bool IsResolved(EvictionThreshold threshold, NodeReadings readings) => !IsMet(threshold, readings, withReclaim: true, out _);

    /// <summary>The condition that stands for a signal.</summary>
    public static string Pressure(string signal) => signal switch
    {
        EvictionSignals.Memory => MemoryPressure,
        EvictionSignals.Pid => PidPressure,
        _ => DiskPressure,
    };

    private List<MetThreshold> Met(NodeReadings readings)
    {
        var met = new List<MetThreshold>();
        foreach (var threshold in options.Thresholds)
        {
            if (IsMet(threshold, readings, _reclaiming.Contains(threshold), out var reading))
                met.Add(new MetThreshold(threshold, reading));
        }

        return met;
    }

    private static bool IsMet(EvictionThreshold threshold, NodeReadings readings, bool withReclaim, out SignalReading reading)
    {
        if (!readings.Signals.TryGetValue(threshold.Signal, out reading))
            return false;
        var wanted = threshold.Amount.Of(reading.Capacity) + (withReclaim ? threshold.Reclaim.Of(reading.Capacity) : 0);
        return reading.Available < wanted;
    }
}
