using System.Net;
using System.Net.Http.Headers;

namespace Edge.Kubernetes;

/// <summary>Passes requests to a Kubernetes API as they came, in the name of whoever's token comes with them, or in our own.</summary>
/// <remarks>Safe for concurrent calls. With somebody's token no client certificate is shown: a certificate would win over the token.</remarks>
public sealed class KubeProxy(KubeClientOptions options, TimeProvider time) : IDisposable
{
    private readonly KubeConnection _own = new(options, time);
    private readonly KubeConnection _others = new(options.Anonymous(), time);
    private readonly string _server = options.Server.AbsoluteUri.TrimEnd('/');
    private readonly string _prefix = options.Server.AbsolutePath.TrimEnd('/');

    public void Dispose()
    {
        _own.Dispose();
        _others.Dispose();
    }

    /// <summary>Sends once; returns when the head of the answer is there, whatever its status is. The caller disposes the answer.</summary>
    /// <param name="target">Path and query, beginning with <c>/</c>.</param>
    /// <param name="token">Who asks; empty: we ourselves.</param>
    /// <exception cref="KubeException">There was no answer (code 0), or the path is one that a URI's parser rewrites, as it does <c>\</c>, <c>..</c> and what is not ASCII (code 400): what is sent
    /// is the path that the caller has judged.</exception>
    public async Task<HttpResponseMessage> SendAsync(
        HttpMethod method, string target, string accept, string contentType, ReadOnlyMemory<byte> body, string token, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(method, Resolve(target)) { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionOrLower };
        request.Headers.TryAddWithoutValidation("Accept", accept.Length > 0 ? accept : "application/json");
        try
        {
            if (token.Length > 0)
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            if (!body.IsEmpty)
            {
                request.Content = new ReadOnlyMemoryContent(body);
                request.Content.Headers.TryAddWithoutValidation("Content-Type", contentType.Length > 0 ? contentType : "application/json");
            }

            return await (token.Length > 0 ? _others : _own).SendAsync(request, isWatch: target.Contains("watch=", StringComparison.Ordinal), cancellationToken);
        }
        catch (Exception e) when (e is HttpRequestException or IOException && !cancellationToken.IsCancellationRequested)
        {
            throw new KubeException(0, "ConnectionLost", $"{method} {target.Split('?')[0]}: {_server}: {e.Message}", inner: e);
        }
    }

    private Uri Resolve(string target)
    {
        var path = target.Split('?')[0];
        return path.StartsWith('/') && Uri.TryCreate(_server + target, UriKind.Absolute, out var uri) && uri.AbsolutePath == _prefix + path ? uri
            : throw new KubeException(400, "BadRequest", $"the path '{path}' would not be sent as it stands; write it escaped, without \\, # and ..");
    }
}
