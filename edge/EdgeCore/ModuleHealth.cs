namespace Edge.Core;

/// <summary>Which modules have failed: from a failure on until the module has run for <see cref="SteadyAfter"/> again. Safe for concurrent calls.</summary>
internal sealed class ModuleHealth(TimeProvider time)
{
    /// <summary>A module that fails again and again within this time never counts as well.</summary>
    public static readonly TimeSpan SteadyAfter = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, (string Why, long? StartedAt)> _failed = [];

    /// <summary>The module has stopped, with an error or without.</summary>
    public void Failed(string module, string why)
    {
        lock (_gate)
        {
            _failed[module] = (why, null);
        }
    }

    /// <summary>The module runs, perhaps again.</summary>
    public void Started(string module)
    {
        lock (_gate)
        {
            if (_failed.TryGetValue(module, out var failed))
                _failed[module] = failed with { StartedAt = time.GetTimestamp() };
        }
    }

    /// <summary>The modules that are not well, and why; null when all are.</summary>
    public string? Problem()
    {
        lock (_gate)
        {
            foreach (var (module, failed) in _failed.ToList())
            {
                if (failed.StartedAt is { } at && time.GetElapsedTime(at) >= SteadyAfter)
                    _failed.Remove(module);
            }

            return _failed.Count == 0 ? null
                : string.Join("; ", _failed.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"module {pair.Key} {(pair.Value.StartedAt is null ? "has stopped" : "was started again")}: {pair.Value.Why}"));
        }
    }
}
