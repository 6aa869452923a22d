namespace Edge.Kubernetes;

/// <summary>A program that gives the credentials of a user: <c>users[].user.exec</c> of a kubeconfig (client.authentication.k8s.io). It runs when a credential is first needed, shortly before one
/// expires, and once when the API answers 401.</summary>
public sealed record ExecPlugin
{
    /// <summary>A name that is looked for on PATH, or an absolute path.</summary>
    public required string Command { get; init; }

    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>Set over the environment of this process. May hold secrets.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Environment { get; init; } = [];

    /// <summary><c>client.authentication.k8s.io/v1</c> or <c>/v1beta1</c>; the program must answer in the same.</summary>
    public required string ApiVersion { get; init; }

    /// <summary>What the kubeconfig says to who has not got the program; part of the error then.</summary>
    public string InstallHint { get; init; } = "";

    /// <summary>The cluster as JSON (<c>spec.cluster</c> of ExecCredential), where <c>provideClusterInfo</c> asks for it.</summary>
    public string? ClusterJson { get; init; }

    /// <summary>How long one run may take; then it is killed with what it has started. Default 30 s.</summary>
    public TimeSpan TimeLimit { get; init; } = TimeSpan.FromSeconds(30);

    public override string ToString() => $"{nameof(ExecPlugin)} {{ {Command} }}";
}
