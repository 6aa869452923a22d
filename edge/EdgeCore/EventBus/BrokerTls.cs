using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Edge.Common.Configuration;
using Edge.Core.Configuration;

namespace Edge.Core.EventBus;

/// <summary>The embedded broker's certificate and whose clients it takes, from files; a file that was replaced serves the next connection. Safe for many threads.</summary>
internal sealed class BrokerTls
{
    private readonly EventBusOptions _options;
    private readonly Lock _gate = new();
    private SslServerAuthenticationOptions? _current;
    private DateTime _readAt;

    /// <exception cref="ConfigException">A file cannot be read, or is no certificate.</exception>
    public BrokerTls(EventBusOptions options)
    {
        _options = options;
        try
        {
            _current = Read();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new ConfigException([$"modules.eventBus.serverTLS: {e.Message}"]);
        }
    }

    /// <summary>What a connection is served with.</summary>
    public SslServerAuthenticationOptions Current()
    {
        lock (_gate)
        {
            try
            {
                if (Newest() > _readAt)
                    _current = Read();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
            {
                // Half of a new pair: the old one serves until the new one is whole.
            }

            return _current!;
        }
    }

    private DateTime Newest()
        => new[] { _options.ServerCertFile, _options.ServerKeyFile, _options.ServerClientCaFile }.Where(file => file.Length > 0).Max(File.GetLastWriteTimeUtc);

    private SslServerAuthenticationOptions Read()
    {
        var newest = Newest();
        using var pem = X509Certificate2.CreateFromPemFile(_options.ServerCertFile, _options.ServerKeyFile);

        // SslStream on some systems takes no key that lives in memory alone; a PKCS#12 copy always does.
        var certificate = X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null);
        var tls = new SslServerAuthenticationOptions { ServerCertificateContext = SslStreamCertificateContext.Create(certificate, additionalCertificates: null, offline: true) };
        if (_options.ServerClientCaFile.Length > 0)
        {
            // Asked for in any case; one that is shown and is not the authority's is refused also where none is needed.
            tls.ClientCertificateRequired = true;
            if (_options.IsClientCertificateOptional)
                tls.RemoteCertificateValidationCallback = (_, shown, _, errors) => shown is null || errors == SslPolicyErrors.None;
            tls.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            tls.CertificateChainPolicy.CustomTrustStore.ImportFromPemFile(_options.ServerClientCaFile);
        }

        _readAt = newest;
        return tls;
    }
}
