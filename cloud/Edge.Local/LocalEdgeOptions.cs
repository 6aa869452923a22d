namespace Edge.Local;

/// <summary>What a local Edge consists of.</summary>
public sealed record LocalEdgeOptions
{
    /// <summary>Where everything is kept: <c>cloud/</c>, <c>edge-N/</c>, <c>containerd-N/</c>, <c>images/</c>, <c>logs/</c>. Keep it short: unix sockets
    /// live below it and their paths end at 107 bytes. Only one local Edge at a time can use a directory.</summary>
    public required string Directory { get; init; }

    /// <summary>How many EdgeCores, named edge-1, edge-2, … Default 1.</summary>
    public int Nodes { get; init; } = 1;

    /// <summary>Whether the nodes connect to a cloudcore without an API, beside the one whose embedded API it uses by its kubeconfig, as beside a cluster. Default false: there is one.</summary>
    public bool OwnHub { get; init; }

    /// <summary>Whether edge-1 runs pods on a containerd of its own. Without root or containerd it goes on without, with a note. Default true.</summary>
    public bool Pods { get; init; } = true;

    /// <summary>Whether the other nodes run pods as well, each on a containerd of its own (about 60 MB and 2 s each). Default false.</summary>
    public bool PodsOnEveryNode { get; init; }

    /// <summary>Names under which each containerd serves runc besides its own, for RuntimeClasses. Default none.</summary>
    public IReadOnlyList<string> RuntimeHandlers { get; init; } = [];

    /// <summary>Whether the Modbus simulator runs. Default true.</summary>
    public bool Simulator { get; init; } = true;

    /// <summary>Whether the Modbus mapper runs beside edge-1: as a pod when edge-1 runs pods and a self-contained build of it is there, else as a
    /// process. Default true.</summary>
    public bool Mapper { get; init; } = true;

    /// <summary>Whether the device of docs/examples is applied. Default true.</summary>
    public bool Examples { get; init; } = true;

    /// <summary>Whether pod web of docs/examples is applied as well, where pods run. Default true.</summary>
    public bool ExamplePods { get; init; } = true;

    /// <summary>Whether cloudcore answers DNS (modules.gslb) on 127.0.0.1, and each node has its resolver (modules.edgeDns) on 127.0.0.1 and, where it runs pods and ports are the well-known
    /// ones, for these at 169.254.30.10; the zone, locations and GlobalServices of docs/examples/gslb are applied. Default false.</summary>
    public bool Dns { get; init; }

    /// <summary>Whether the well-known ports (6443, 10000, 10002; for DNS 5300, and 10053 and on) are taken where they are free. Default false: free ones.</summary>
    public bool WellKnownPorts { get; init; }

    /// <summary>Whether the directory is removed at the end, also when this process is killed. Default false.</summary>
    public bool RemoveDirectory { get; init; }

    /// <summary>Where the logs of a failed start are kept when the directory is removed; null: beside it, with <c>-logs</c> at the end.</summary>
    public string? KeptLogsDirectory { get; init; }

    /// <summary>More <c>key=value</c> settings for cloudcore.</summary>
    public IReadOnlyList<string> CloudCoreSettings { get; init; } = [];

    /// <summary>More <c>key=value</c> settings for every edgecore.</summary>
    public IReadOnlyList<string> EdgeCoreSettings { get; init; } = [];

    /// <summary>How long a part may take to become ready. Default 60 s; a busy machine needs it.</summary>
    public TimeSpan ReadyDeadline { get; init; } = TimeSpan.FromSeconds(60);

    public TimeProvider Time { get; init; } = TimeProvider.System;
}

/// <summary>One step of starting or stopping, reported when it begins (<see cref="Took"/> null) and when it is done.</summary>
/// <param name="Name">What is done, e.g. <c>cloudcore</c>.</param>
/// <param name="Took">How long it took.</param>
/// <param name="Detail">What came out, e.g. the ports.</param>
public sealed record LocalStep(string Name, TimeSpan? Took, string Detail)
{
    /// <summary>Something that is left out or different, which the user should know.</summary>
    public bool IsNote { get; init; }
}

/// <summary>A part could not be started, or did not get ready in time; the message has the end of its log.</summary>
public sealed class LocalEdgeException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Where cloudcore listens.</summary>
/// <param name="Dns">0 where it does not answer DNS.</param>
public sealed record LocalPorts(int Api, int WebSocket, int Https, int Metrics, string Kubeconfig, int Dns = 0);
