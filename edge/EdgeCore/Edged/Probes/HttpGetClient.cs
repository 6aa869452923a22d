using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;

namespace Edge.Core.Edged.Probes;

/// <summary>An answer to an httpGet.</summary>
/// <param name="Body">At most 10 KiB of it.</param>
internal sealed record HttpGetAnswer(int Status, string Body);

/// <summary>No answer came; the message is worded as a kubelet's.</summary>
internal sealed class HttpGetException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>True when a server that was asked for HTTPS answered with plain HTTP.</summary>
    public bool IsPlainHttp { get; init; }
}

/// <summary>GETs of probes and hooks, as a kubelet sends them: no proxy, no verification of certificates, a connection for each, redirects followed on the same
/// host only. May be used by any number at once.</summary>
internal sealed class HttpGetClient(TimeProvider time) : IDisposable
{
    /// <summary>User-Agent of probes.</summary>
    public const string ProbeAgent = "kube-probe/1.32";

    /// <summary>User-Agent of lifecycle hooks.</summary>
    public const string HookAgent = "kube-lifecycle/1.32";

    private const int BodyMax = 10 * 1024;
    private const int RedirectsMax = 10;

    private readonly HttpClient _http = new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        UseProxy = false,
        UseCookies = false,
        ActivityHeadersPropagator = null,
        PooledConnectionLifetime = TimeSpan.Zero,
        SslOptions = new()
        {
            // What a pod shows on its own port is seldom signed by anyone this node knows: the question is whether it serves.
#pragma warning disable CA5359
            RemoteCertificateValidationCallback = (_, _, _, _) => true,
#pragma warning restore CA5359
        },
    })
    {
        Timeout = Timeout.InfiniteTimeSpan,
    };

    /// <summary>Asks, and follows redirects that stay on the host; one that leads away, or nowhere, is the answer itself.</summary>
    /// <param name="podIp">The host when the target names none.</param>
    /// <param name="timeout">Of it all; not positive for none.</param>
    /// <exception cref="HttpGetException">No answer.</exception>
    /// <exception cref="FormatException">The target is no URL, or a header is none.</exception>
    public async Task<HttpGetAnswer> GetAsync(HttpGetTarget target, string podIp, string userAgent, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var first = Url(target, podIp);
        using var timer = timeout > TimeSpan.Zero ? new CancellationTokenSource(timeout, time) : null;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, timer?.Token ?? CancellationToken.None);
        var url = first;
        try
        {
            for (var redirects = 0; ; redirects++)
            {
                using var request = Request(url, target, userAgent, keepHost: url.Authority == first.Authority);
                using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token);
                if (Redirect(response, url) is not { } next || next.Host != first.Host)
                    return new HttpGetAnswer((int)response.StatusCode, await BodyAsync(response, limit.Token));
                if (redirects + 1 >= RedirectsMax)
                    throw new HttpGetException($"Get \"{next}\": stopped after {RedirectsMax} redirects");
                url = next;
            }
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new HttpGetException($"Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw new HttpGetException($"Get \"{url}\": {Reason(e, url.Host, url.Port)}", e) { IsPlainHttp = url.Scheme == "https" && IsPlainHttp(e) };
        }
    }

    public void Dispose() => _http.Dispose();

    /// <summary>Why a connection was not made or broke, in the words of Go's network library, which users of a kubelet know.</summary>
    public static string Reason(Exception error, string host, int port)
    {
        var at = host.Contains(':', StringComparison.Ordinal) && host[0] != '[' ? $"[{host}]:{port}" : $"{host}:{port}";
        for (var inner = error; inner is not null; inner = inner.InnerException)
        {
            if (inner is SocketException socket)
            {
                return socket.SocketErrorCode switch
                {
                    SocketError.ConnectionRefused => $"dial tcp {at}: connect: connection refused",
                    SocketError.HostUnreachable => $"dial tcp {at}: connect: no route to host",
                    SocketError.NetworkUnreachable => $"dial tcp {at}: connect: network is unreachable",
                    SocketError.HostNotFound or SocketError.NoData or SocketError.TryAgain => $"dial tcp: lookup {host}: no such host",
                    SocketError.ConnectionReset => $"read tcp {at}: read: connection reset by peer",
                    _ => socket.Message,
                };
            }
        }

        return error is HttpIOException { HttpRequestError: HttpRequestError.ResponseEnded } or HttpRequestException { HttpRequestError: HttpRequestError.ResponseEnded }
            ? "EOF"
            : (error.InnerException ?? error).Message;
    }

    // A handshake that meets "HTTP/1.1 400" in place of a TLS record finds no frame that it knows.
    private static bool IsPlainHttp(Exception error)
        => error.InnerException is AuthenticationException { InnerException: null } handshake && handshake.Message.Contains("frame", StringComparison.Ordinal);

    private static Uri Url(HttpGetTarget target, string podIp)
    {
        var host = target.Host.Length > 0 ? target.Host : podIp;
        if (host.Length == 0)
            throw new FormatException("the pod has no address to ask");
        if (host.Contains(':', StringComparison.Ordinal) && host[0] != '[')
            host = $"[{host}]";
        var path = target.Path.StartsWith('/') ? target.Path : "/" + target.Path;
        var text = string.Create(CultureInfo.InvariantCulture, $"{target.Scheme}://{host}:{target.Port}{path}");
        return target.Scheme is "http" or "https" && Uri.TryCreate(text, UriKind.Absolute, out var url) ? url : throw new FormatException($"\"{text}\" is no URL for httpGet");
    }

    private static HttpRequestMessage Request(Uri url, HttpGetTarget target, string userAgent, bool keepHost)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, url) { Version = HttpVersion.Version11, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        request.Headers.ConnectionClose = true;
        var (hasAgent, hasAccept) = (false, false);
        foreach (var (name, value) in target.Headers)
        {
            // An empty one of these two takes the default away.
            hasAgent |= name.Equals("User-Agent", StringComparison.OrdinalIgnoreCase);
            hasAccept |= name.Equals("Accept", StringComparison.OrdinalIgnoreCase);
            if (value.Length == 0 && name.ToLowerInvariant() is "user-agent" or "accept")
                continue;
            if (name.Equals("Host", StringComparison.OrdinalIgnoreCase))
            {
                if (keepHost)
                    request.Headers.Host = value;
            }
            else if (!request.Headers.TryAddWithoutValidation(name, value))
            {
                // Headers of a body are refused on a request without one.
                request.Content ??= new ByteArrayContent([]);
                if (!request.Content.Headers.TryAddWithoutValidation(name, value))
                    throw new FormatException($"\"{name}\" is no name of a header");
            }
        }

        if (!hasAgent)
            request.Headers.TryAddWithoutValidation("User-Agent", userAgent);
        if (!hasAccept)
            request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("*/*"));
        return request;
    }

    private static Uri? Redirect(HttpResponseMessage response, Uri from)
        => (int)response.StatusCode is 301 or 302 or 303 or 307 or 308 && response.Headers.Location is { } location ? new Uri(from, location) : null;

    private static async Task<string> BodyAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
        var bytes = new byte[BodyMax];
        return Encoding.UTF8.GetString(bytes, 0, await body.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, cancellationToken));
    }
}
