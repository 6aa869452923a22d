namespace Edge.ApiServer;

/// <summary>Settings of the embedded Kubernetes API.</summary>
public sealed record ApiServerOptions
{
    /// <summary>Where the database, the CA, the serving certificate and <c>admin.kubeconfig</c> live (directory 0700, keys 0600).</summary>
    public required string DataDirectory { get; init; }

    /// <summary>Address to listen on. Default 127.0.0.1: the API is for the machine itself.</summary>
    public string BindAddress { get; init; } = "127.0.0.1";

    /// <summary>TCP port; 0 chooses a free one. Default 6443.</summary>
    public int Port { get; init; } = 6443;

    /// <summary>Opens a stream to a node's kubelet API, on which HTTP/1.1 is spoken, for logs, exec, attach, port-forward and metrics. Throws <see cref="IOException"/> with a message for the user.
    /// Null answers that there is none.</summary>
    public Func<string, CancellationToken, ValueTask<Stream>>? DialNode { get; init; }

    /// <summary>The audit log; empty writes none (the default).</summary>
    public string AuditLogPath { get; init; } = "";

    /// <summary>Size in bytes at which the audit log is renamed. Default 100 MiB.</summary>
    public long AuditLogBytesMax { get; init; } = 100L << 20;

    /// <summary>Renamed audit logs that are kept. Default 10.</summary>
    public int AuditLogBackupsMax { get; init; } = 10;

    /// <summary>How many past changes a watch can resume from before it gets 410 Gone. Default 10,000; each costs the object's size on disk.</summary>
    public int WatchHistoryMax { get; init; } = 10_000;
}
