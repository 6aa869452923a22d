using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;

namespace Edge.Kubernetes;

/// <summary>The way to an API server: adds to a request who we are, and follows credentials that change. Safe for concurrent calls.</summary>
internal sealed class KubeConnection : IDisposable
{
    private readonly KubeClientOptions _options;
    private readonly ClientFiles _files;
    private readonly ExecCredentialSource? _exec;
    private readonly Uri? _proxy;
    private readonly Lock _gate = new();
    private Line? _line;
    private bool _isDisposed;

    /// <exception cref="Common.Configuration.ConfigException">The environment names a proxy that is none.</exception>
    public KubeConnection(KubeClientOptions options, TimeProvider time)
    {
        _proxy = ProxyChoice.For(options.Server, options.ProxyUrl, Environment.GetEnvironmentVariable);
        _options = options;
        _files = new ClientFiles(options, time);
        _exec = options.Exec is { } plugin && options.Token is null && options.TokenFile is null ? new ExecCredentialSource(plugin, time) : null;
    }

    public void Dispose()
    {
        _exec?.Dispose();
        lock (_gate)
        {
            _isDisposed = true;
            _line?.Retire();
            _line = null;
        }
    }

    /// <summary>Why the certificates in use are older than their files; null where they are not.</summary>
    public string? Problem { get; private set; }

    /// <summary>Sends; answers when the head is there, whatever its status. After 401 credentials that can be had anew (of a program, of files) are, and the request is sent once more.</summary>
    /// <param name="request">With an Authorization header of its own it goes as it is.</param>
    /// <param name="isWatch">Goes without waiting for its turn by <see cref="KubeClientOptions.Rate"/>.</param>
    /// <exception cref="KubeException">Code 0: there are no credentials to show, or too many requests wait.</exception>
    public async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, bool isWatch, CancellationToken cancellationToken)
    {
        // SocketsHttpHandler takes the name for SNI and for the certificate's check from the Host header.
        if (_options.TlsServerName is { Length: > 0 } name)
            request.Headers.Host = name;
        var isOurs = request.Headers.Authorization is null;
        if (isOurs && _options.Impersonate is { } other)
            Impersonate(request.Headers, other);
        for (var isAgain = false; ; isAgain = true)
        {
            var credential = isOurs && _exec is not null ? await _exec.GetAsync(cancellationToken) : null;
            var token = isOurs ? credential is null ? _files.Token() : credential.Token : null;
            if (isOurs)
                request.Headers.Authorization = token is { Length: > 0 } ? new AuthenticationHeaderValue("Bearer", token) : null;
            var tls = _files.Tls(out var problem);
            Problem = problem;
            if (credential?.Certificate is not null)
                tls = tls with { Certificate = credential.Certificate };
            if (!isWatch && _options.Rate is { } rate)
                await rate.WaitAsync(_options.RequestTimeout, cancellationToken);
            var line = Rent(tls);
            HttpResponseMessage response;
            try
            {
                response = await line.Http.SendAsync(request, cancellationToken);
            }
            catch (HttpRequestException e) when (problem is not null)
            {
                throw new HttpRequestException(e.HttpRequestError, $"{e.Message}; {problem}", e, e.StatusCode);
            }
            finally
            {
                Return(line);
            }

            if (response.StatusCode != HttpStatusCode.Unauthorized || !isOurs || isAgain)
                return response;
            if (credential is not null)
                _exec!.Refused(credential);
            _files.Expire();
            if (credential is null && _files.Token() == token && _files.Tls(out _) == tls)
                return response;
            response.Dispose();
        }
    }

    // The keys of extras are percent-encoded, as in client-go's transport.
    private static void Impersonate(HttpRequestHeaders headers, ImpersonatedUser other)
    {
        headers.TryAddWithoutValidation("Impersonate-User", other.User);
        if (other.Uid.Length > 0)
            headers.TryAddWithoutValidation("Impersonate-Uid", other.Uid);
        foreach (var group in other.Groups)
            headers.TryAddWithoutValidation("Impersonate-Group", group);
        foreach (var (key, value) in other.Extra)
            headers.TryAddWithoutValidation($"Impersonate-Extra-{Uri.EscapeDataString(key)}", value);
    }

    // TLS shows its certificate once a connection: another certificate or CA needs new connections. What is under way on the former ones ends there in its own time.
    private Line Rent(TlsIdentity tls)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            if (_line is null || _line.AuthorityPem != tls.AuthorityPem || !ReferenceEquals(_line.Certificate, tls.Certificate))
            {
                _line?.Retire();
                _line = new Line(tls.AuthorityPem, tls.Certificate, _options.Handler is { } handler ? new HttpMessageInvoker(handler, disposeHandler: false) : new HttpMessageInvoker(KubeHandler.Create(_options, tls, _proxy)));
            }

            _line.Users++;
            return _line;
        }
    }

    private void Return(Line line)
    {
        lock (_gate)
        {
            line.Users--;
            line.DisposeIfUnused();
        }
    }

    // Disposing a handler closes its idle connections, and each other one when its answers have been read.
    private sealed class Line(string? authorityPem, X509Certificate2? certificate, HttpMessageInvoker http)
    {
        private bool _isRetired;

        public string? AuthorityPem => authorityPem;

        public X509Certificate2? Certificate => certificate;

        public HttpMessageInvoker Http => http;

        public int Users { get; set; }

        public void Retire()
        {
            _isRetired = true;
            DisposeIfUnused();
        }

        public void DisposeIfUnused()
        {
            if (_isRetired && Users == 0)
                http.Dispose();
        }
    }
}
