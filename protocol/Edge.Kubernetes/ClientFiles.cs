using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Edge.Kubernetes;

/// <summary>Whom to trust and what to show in TLS. Compared by reference: another one is another connection.</summary>
internal sealed record TlsIdentity(string? AuthorityPem, X509Certificate2? Certificate);

/// <summary>The token, CA and client certificate of options that name files, read again each minute: short-lived ones are replaced in place while we run.</summary>
/// <remarks>Safe for concurrent calls. The files are small and local, so they are read in place.</remarks>
internal sealed class ClientFiles(KubeClientOptions options, TimeProvider time)
{
    private static readonly TimeSpan s_ageMax = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private string? _token;
    private DateTimeOffset? _tokenRead;
    private TlsIdentity _tls = new(options.CertificateAuthorityPem, options.ClientCertificate);
    private (string? Authority, string? Certificate, string? Key) _texts;
    private DateTimeOffset? _tlsRead;
    private string? _problem;

    /// <summary>The token, or null where there is none.</summary>
    /// <exception cref="KubeException">Code 0, reason Unauthorized: its file cannot be read.</exception>
    public string? Token()
    {
        if (options.TokenFile is not { } file)
            return options.Token;
        lock (_gate)
        {
            if (IsFresh(_tokenRead))
                return _token;
            try
            {
                _token = File.ReadAllText(file).Trim();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new KubeException(0, "Unauthorized", $"token file {file} cannot be read: {e.Message}", inner: e);
            }

            _tokenRead = time.GetUtcNow();
            return _token;
        }
    }

    /// <summary>The same object while the files say the same. Files that cannot be used, as halfway through their replacement, leave the former in force; <paramref name="problem"/> says so, for the error should
    /// the API refuse it.</summary>
    public TlsIdentity Tls(out string? problem)
    {
        lock (_gate)
        {
            if ((options.CertificateAuthorityFile ?? options.ClientCertificateFile ?? options.ClientKeyFile) is not null && !IsFresh(_tlsRead))
                ReadTls();
            problem = _problem;
            return _tls;
        }
    }

    /// <summary>The API refused what we are: the files are read again with the next request.</summary>
    public void Expire()
    {
        lock (_gate)
        {
            (_tokenRead, _tlsRead) = (null, null);
        }
    }

    private void ReadTls()
    {
        _tlsRead = time.GetUtcNow();
        _problem = null;
        try
        {
            var texts = (Read(options.CertificateAuthorityFile), Read(options.ClientCertificateFile), Read(options.ClientKeyFile));
            if (texts == _texts)
                return;
            var certificate = texts.Item2 is { } pem && texts.Item3 is { } key ? X509Certificate2.CreateFromPem(pem, key) : options.ClientCertificate;
            if (texts.Item1 is { } authority)
                Require(options.CertificateAuthorityFile!, authority);
            _tls = new TlsIdentity(texts.Item1 ?? options.CertificateAuthorityPem, certificate);
            _texts = texts;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException or ArgumentException)
        {
            _problem = $"the certificates of the kubeconfig cannot be read again, the former are in use: {e.Message}";
        }
    }

    // An empty file, as between its creation and its first byte, would trust nobody.
    private static void Require(string file, string pem)
    {
        var certificates = new X509Certificate2Collection();
        certificates.ImportFromPem(pem);
        if (certificates.Count == 0)
            throw new CryptographicException($"{file} has no PEM certificate");
    }

    private static string? Read(string? file) => file is null ? null : File.ReadAllText(file);

    private bool IsFresh(DateTimeOffset? read) => read is { } at && time.GetUtcNow() - at < s_ageMax;
}
