using System.Security.Cryptography.X509Certificates;

namespace Edge.Kubernetes;

/// <summary>As whom requests are made, where the API server lets us act for others (a kubeconfig's <c>as</c>, <c>as-uid</c>, <c>as-groups</c>, <c>as-user-extra</c>).</summary>
/// <param name="Groups">One at most: .NET joins headers of one name, which the API server would take for one group.</param>
/// <param name="Extra">Each key once.</param>
public sealed record ImpersonatedUser(string User, string Uid, IReadOnlyList<string> Groups, IReadOnlyList<KeyValuePair<string, string>> Extra);

/// <summary>Where a Kubernetes API is and who we are there. Holds secrets: do not log it (the record prints only the server).</summary>
public sealed record KubeClientOptions
{
    /// <summary>Scheme, host, port and, behind some proxies, a path: <c>https://127.0.0.1:6443</c>.</summary>
    public required Uri Server { get; init; }

    /// <summary>The only authorities (PEM, one or more) that may have signed the server's certificate; null trusts the system's.</summary>
    public string? CertificateAuthorityPem { get; init; }

    /// <summary>The file that <see cref="CertificateAuthorityPem"/> is from; read again each minute. Null where it is from no file.</summary>
    public string? CertificateAuthorityFile { get; init; }

    /// <summary>The name the server's certificate must have, when it is not the host of <see cref="Server"/>.</summary>
    public string? TlsServerName { get; init; }

    /// <summary>Accepts every server certificate. Only what a kubeconfig says with <c>insecure-skip-tls-verify</c>.</summary>
    public bool InsecureSkipTlsVerify { get; init; }

    /// <summary>The proxy to go through: http, https or socks5, with a user where it wants one. Null for what HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment say.</summary>
    public Uri? ProxyUrl { get; init; }

    /// <summary>The client certificate with its private key, or null.</summary>
    public X509Certificate2? ClientCertificate { get; init; }

    /// <summary>The files (PEM) that <see cref="ClientCertificate"/> is from, both or none; read again each minute. Connections made after a change show the new one.</summary>
    public string? ClientCertificateFile { get; init; }

    public string? ClientKeyFile { get; init; }

    /// <summary>A program that gives token or client certificate; null where there is none. <see cref="Token"/> and <see cref="TokenFile"/> win over it.</summary>
    public ExecPlugin? Exec { get; init; }

    /// <summary>A bearer token, or null.</summary>
    public string? Token { get; init; }

    /// <summary>A file with a bearer token that is read again each minute, as projected service account tokens change; wins over <see cref="Token"/>.</summary>
    public string? TokenFile { get; init; }

    /// <summary>As whom requests are made; null as who we are.</summary>
    public ImpersonatedUser? Impersonate { get; init; }

    /// <summary>Takes the requests instead of a connection, for a server in the same process; null dials <see cref="Server"/>. Shared by the clients of these options, so none disposes it.</summary>
    public HttpMessageHandler? Handler { get; init; }

    /// <summary>The context's namespace, <c>default</c> where the file names none.</summary>
    public string DefaultNamespace { get; init; } = "default";

    /// <summary>Objects a list page holds at most. Default 500; smaller costs round trips, larger costs memory for one answer.</summary>
    public int PageSize { get; init; } = 500;

    /// <summary>What holds requests to a rate; watches are exempt, as they last. Null for no bound. Shared by the clients of these options.</summary>
    public RequestRate? Rate { get; init; }

    /// <summary>How long one request other than a watch may take, with its retries and the waits between. Default 60 s.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>The shortest time after which the server is asked to end a watch; the longest is twice that. Default 5 minutes.</summary>
    public TimeSpan WatchTimeoutMin { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>The largest watch event, in bytes. Default 16 MiB; Kubernetes' own objects end at about 1.5 MiB.</summary>
    public int WatchLineSizeMax { get; init; } = 16 * 1024 * 1024;

    /// <summary>The largest answer to any other request, in bytes. Default 256 MiB.</summary>
    public int AnswerSizeMax { get; init; } = 256 * 1024 * 1024;

    /// <summary>These options for requests that bring their own identity: nothing of ours is shown.</summary>
    public KubeClientOptions Anonymous() => this with
    {
        ClientCertificate = null, ClientCertificateFile = null, ClientKeyFile = null, Exec = null, Token = null, TokenFile = null, Impersonate = null,
    };

    public override string ToString() => $"{nameof(KubeClientOptions)} {{ {Server} }}";
}
