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

    public UpgradeOptions Upgrade { get; init; } = new();

    internal static TaskManagerOptions Read(ConfigSection section)
    {
        var absent = new TaskManagerOptions();
        return new TaskManagerOptions
        {
            Enable = section.Bool("enable", absent.Enable),
            CheckPercentMax = section.Int("checkPercentMax", absent.CheckPercentMax, 1, 100),
            ConnectWithinSeconds = section.Int("connectWithin", absent.ConnectWithinSeconds, 1, 3_600),
            Upgrade = UpgradeOptions.Read(section.Section("upgrade")),
        };
    }
}

/// <summary>Section <c>modules.taskManager.upgrade</c>: NodeUpgradeJobs. Without source and publicKey this node refuses them.</summary>
public sealed record UpgradeOptions
{
    /// <summary>Where packages come from, <c>https://…</c> or <c>file:///…</c>; the job's version and <c>edgecore-ARCH.tar.gz</c> are put behind it.</summary>
    public string Source { get; init; } = "";

    /// <summary>File of the ECDSA P-256 public key (PEM) of who signs packages. It must not be writable for whoever may not change this node.</summary>
    public string PublicKey { get; init; } = "";

    /// <summary>File with the CA certificates (PEM) that alone are trusted for an https <see cref="Source"/>; empty for the system's.</summary>
    public string CaFile { get; init; } = "";

    /// <summary>edgectl, by path or on PATH.</summary>
    public string Edgectl { get; init; } = "edgectl";

    /// <summary>edgecore's own program, where it is not the one that runs (a framework-dependent build).</summary>
    public string Program { get; init; } = "";

    /// <summary>Where edgectl keeps backups and its journal.</summary>
    public string BackupDirectory { get; init; } = "/var/lib/edge/backups";

    /// <summary>A program that stops edgecore, in place of systemd; with <see cref="StartWith"/> or not at all.</summary>
    public string StopWith { get; init; } = "";

    public string StartWith { get; init; } = "";

    /// <summary>Seconds that an upgraded edgecore may take until it is ready, and connected where it was before; then the former one comes back. Too small: a slow node undoes good upgrades.</summary>
    public int ReadyWithinSeconds { get; init; } = 120;

    internal static UpgradeOptions Read(ConfigSection section)
    {
        var absent = new UpgradeOptions();
        var options = new UpgradeOptions
        {
            Source = section.Text("source", absent.Source),
            PublicKey = section.Text("publicKey", absent.PublicKey),
            CaFile = section.Text("caFile", absent.CaFile),
            Edgectl = section.Text("edgectl", absent.Edgectl),
            Program = section.Text("program", absent.Program),
            BackupDirectory = section.Text("backupDirectory", absent.BackupDirectory),
            StopWith = section.Text("stopWith", absent.StopWith),
            StartWith = section.Text("startWith", absent.StartWith),
            ReadyWithinSeconds = section.Int("readyWithin", absent.ReadyWithinSeconds, 1, 300),
        };
        if (options.Source.Length > 0 && !(Uri.TryCreate(options.Source, UriKind.Absolute, out var uri) && (uri.Scheme == Uri.UriSchemeHttps || uri.IsFile)))
            section.Problem("source", $"is '{options.Source}', must begin with https:// or file:///");
        return options;
    }
}

/// <summary>Where the options came from, so that a changed file can be checked as it would be read.</summary>
/// <param name="Path">The config file.</param>
/// <param name="Overrides">The <c>key.path=value</c> texts laid over it.</param>
public sealed record ConfigOrigin(string Path, IReadOnlyList<string> Overrides, string? DataDirectory, string HostName);
