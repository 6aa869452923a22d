namespace Edge.Fleet;

/// <summary>What a fleet is and where it connects.</summary>
internal sealed record FleetOptions
{
    public required int Nodes { get; init; }

    /// <summary>Host and port of CloudCore's hub.</summary>
    public required string Server { get; init; }

    /// <summary>Base URL of CloudCore's enrolment server; used with <see cref="Token"/>.</summary>
    public string EnrolUrl { get; init; } = "";

    /// <summary>The join token, or empty when the fleet issues its own certificates.</summary>
    public string Token { get; init; } = "";

    /// <summary>PEM of the CA that signs the nodes' certificates; used without a token.</summary>
    public string CaFile { get; init; } = "";

    /// <summary>PEM of that CA's key.</summary>
    public string CaKeyFile { get; init; } = "";

    /// <summary>Where the shared database and enrolled identities lie.</summary>
    public required string DataDirectory { get; init; }

    /// <summary>Node i is called PREFIXi.</summary>
    public string NamePrefix { get; init; } = "fleet-";

    /// <summary>Connections that are being made at once. All nodes live in one process: too many handshakes at once only time one another out.</summary>
    public int DialsMax { get; init; } = 128;

    public int LeaseSeconds { get; init; } = 10;

    public int HeartbeatSeconds { get; init; } = 15;

    /// <summary>Whether nodes report their status after each connect and every five minutes, as NodeStatus does.</summary>
    public bool Status { get; init; } = true;

    public int Seed { get; init; } = 1;
}
