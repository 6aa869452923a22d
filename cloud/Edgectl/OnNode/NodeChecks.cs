using System.Globalization;
using Edge.Kubernetes;

namespace Edge.Ctl.OnNode;

/// <summary>What was seen of a node; null stands for what could not be looked at because something before it is missing.</summary>
internal sealed record NodeObservations
{
    /// <summary>Why the config cannot be used; empty when it can.</summary>
    public string ConfigProblem { get; init; } = "";

    /// <summary>HOST:PORT of the hub.</summary>
    public string CloudAddress { get; init; } = "";

    /// <summary>Why the hub's name has no address; empty when it has.</summary>
    public string NameProblem { get; init; } = "";

    /// <summary>Why no TCP connection to the hub could be made; empty when it could.</summary>
    public string? ConnectProblem { get; init; }

    /// <summary>This machine's clock less the cloud's (its Date header).</summary>
    public TimeSpan? ClockAhead { get; init; }

    public bool RunsPods { get; init; }

    public string RuntimeSocket { get; init; } = "";

    /// <summary>Why the runtime does not answer; empty when it does.</summary>
    public string RuntimeProblem { get; init; } = "";

    public string RuntimeVersion { get; init; } = "";

    public string CertificateFile { get; init; } = "";

    /// <summary>When the node's certificate ends; null when there is none.</summary>
    public DateTimeOffset? CertificateEnds { get; init; }

    public string CertificateProblem { get; init; } = "";

    public bool HasToken { get; init; }

    public string DataDirectory { get; init; } = "";

    /// <summary>Bytes of the data directory's disk.</summary>
    public (long Free, long All)? Disk { get; init; }

    public (long Available, long All)? Memory { get; init; }

    /// <summary>What SQLite's quick_check says: <c>ok</c>, or what is wrong; null when there is no database.</summary>
    public string? Database { get; init; }

    /// <summary>Whether an edgecore answers on the metrics port that its ports file names.</summary>
    public bool IsRunning { get; init; }

    /// <summary>Ports of the config that another process holds, while edgecore does not run.</summary>
    public IReadOnlyList<string> TakenPorts { get; init; } = [];
}

/// <summary>One line of <c>edgectl debug check</c>.</summary>
/// <param name="Fix">What to do; empty when all is well.</param>
internal sealed record NodeFinding(string Check, bool IsGood, string Found, string Fix);

/// <summary>Judges what was seen of a node. Pure.</summary>
internal static class NodeChecks
{
    private static readonly TimeSpan s_clockMax = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_certificateSoon = TimeSpan.FromDays(7);
    private const double DiskShareMin = 0.10;
    private const long MemoryMin = 128L << 20;

    public static IReadOnlyList<NodeFinding> Judge(NodeObservations seen, DateTimeOffset now)
    {
        var findings = new List<NodeFinding>();
        void Add(string check, bool isGood, string found, string fix) => findings.Add(new NodeFinding(check, isGood, found, isGood ? "" : fix));

        Add("config", seen.ConfigProblem.Length == 0, seen.ConfigProblem.Length == 0 ? "readable" : seen.ConfigProblem, "name the file with --config, or write one with 'edgectl join'");
        if (seen.ConfigProblem.Length > 0)
            return findings;
        Add("dns", seen.NameProblem.Length == 0, seen.NameProblem.Length == 0 ? $"{seen.CloudAddress} has an address" : seen.NameProblem, "correct modules.edgeHub.websocket.server, or /etc/resolv.conf");
        if (seen.ConnectProblem is { } connect)
            Add("network", connect.Length == 0, connect.Length == 0 ? $"{seen.CloudAddress} takes connections" : $"{seen.CloudAddress}: {connect}", "see that cloudcore runs there, and that firewalls and NAT let the port through");
        if (seen.ClockAhead is { } ahead)
        {
            var apart = ahead.Duration();
            Add("clock", apart <= s_clockMax, string.Create(CultureInfo.InvariantCulture, $"{apart.TotalSeconds:0} s {(ahead < TimeSpan.Zero ? "behind" : "ahead of")} the cloud"), "set the clock, e.g. by chrony or systemd-timesyncd: certificates and tokens are judged by it");
        }

        if (seen.RunsPods)
        {
            Add("runtime", seen.RuntimeProblem.Length == 0, seen.RuntimeProblem.Length == 0 ? $"{seen.RuntimeVersion} on {seen.RuntimeSocket}" : $"{seen.RuntimeSocket}: {seen.RuntimeProblem}",
                "start the container runtime ('systemctl start containerd'), or name its socket in tailoredKubeletConfig.containerRuntimeEndpoint");
        }

        Add("certificate", seen.CertificateProblem.Length == 0 && seen.CertificateEnds is { } ends ? ends - now > s_certificateSoon : seen.CertificateProblem.Length == 0 && seen.HasToken,
            seen.CertificateProblem.Length > 0 ? seen.CertificateProblem
                : seen.CertificateEnds is { } end ? $"{(end <= now ? "ended" : "good until")} {KubeObject.Time(end)}" : seen.HasToken ? "none yet; the token gets one" : $"{seen.CertificateFile} is not there, and there is no token",
            "put a token from 'edgectl gettoken' into modules.edgeHub.token and restart edgecore; it enrols again");
        if (seen.Disk is var (free, all) && all > 0)
            Add("disk", (double)free / all >= DiskShareMin, string.Create(CultureInfo.InvariantCulture, $"{free >> 20} MiB of {all >> 20} MiB free at {seen.DataDirectory}"), "free space: unused images ('crictl rmi --prune'), logs; below 10 % pods are evicted");
        if (seen.Memory is var (available, total) && total > 0)
            Add("memory", available >= MemoryMin, string.Create(CultureInfo.InvariantCulture, $"{available >> 20} MiB of {total >> 20} MiB available"), "stop what takes memory, or give pods limits");
        if (seen.Database is { } database)
            Add("database", database == "ok", database == "ok" ? "SQLite finds it whole" : database, "stop edgecore and start it again: it keeps a corrupt file aside and fills a new one from the cloud; then look at the disk (dmesg)");
        Add("edgecore", seen.IsRunning, seen.IsRunning ? "answers" : "does not answer", "start it ('systemctl start edgecore'), and look at its log");
        if (!seen.IsRunning)
            Add("ports", seen.TakenPorts.Count == 0, seen.TakenPorts.Count == 0 ? "free" : $"taken by other processes: {string.Join(", ", seen.TakenPorts)}", "stop what holds them ('ss -ltnp'), or choose other ports in edgecore.yaml");
        return findings;
    }
}
