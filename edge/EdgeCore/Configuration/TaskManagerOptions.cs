using Edge.Common.Configuration;

namespace Edge.Core.Configuration;

/// <summary>Section <c>modules.taskManager</c>: jobs of the cloud for this node (operations.kubeedge.io). Off by default, as in KubeEdge: who may make such jobs may change this node.</summary>
public sealed record TaskManagerOptions
{
    public bool Enable { get; init; }

    /// <summary>Percent of CPU, memory or disk in use above which a job's check of it fails. Lower refuses more; 100 refuses never.</summary>
    public int CheckPercentMax { get; init; } = 80;

    /// <summary>Seconds that a changed config has to connect to the cloud; then the former one comes back. Too small: a slow link undoes good changes.</summary>
    public int ConnectWithinSeconds { get; init; } = 120;

    internal static TaskManagerOptions Read(ConfigSection section)
    {
        var absent = new TaskManagerOptions();
        return new TaskManagerOptions
        {
            Enable = section.Bool("enable", absent.Enable),
            CheckPercentMax = section.Int("checkPercentMax", absent.CheckPercentMax, 1, 100),
            ConnectWithinSeconds = section.Int("connectWithin", absent.ConnectWithinSeconds, 1, 3_600),
        };
    }
}

/// <summary>Where the options came from, so that a changed file can be checked as it would be read.</summary>
/// <param name="Path">The config file.</param>
/// <param name="Overrides">The <c>key.path=value</c> texts laid over it.</param>
public sealed record ConfigOrigin(string Path, IReadOnlyList<string> Overrides, string? DataDirectory, string HostName);
