using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Edge.Cloud.CloudHub.Certificates;

/// <summary>KubeEdge's CA: ECDSA P-256, CN KubeEdge. Issues the hub's serving certificate and the nodes' certificates.</summary>
/// <remarks>Safe for concurrent calls. The private key never leaves this class but as <see cref="KeyDer"/> for the Secret.</remarks>
internal sealed class CertificateAuthority : IDisposable
{
    /// <summary>The key purpose of a certificate that identifies a client (RFC 5280 §4.2.1.12).</summary>
    public const string ClientAuth = "1.3.6.1.5.5.7.3.2";

    /// <summary>The key purpose of a certificate that identifies a server.</summary>
    public const string ServerAuth = "1.3.6.1.5.5.7.3.1";

    private readonly X509Certificate2 _certificate;
    private readonly TimeProvider _time;

    private CertificateAuthority(X509Certificate2 certificate, byte[] keyDer, TimeProvider time)
    {
        _certificate = certificate;
        KeyDer = keyDer;
        _time = time;
        CertificateDer = certificate.RawData;
    }

    public byte[] CertificateDer { get; }

    /// <summary>The private key as SEC 1 DER; secret. It also signs the join tokens.</summary>
    public byte[] KeyDer { get; }

    public X509Certificate2 Certificate => _certificate;

    /// <summary>A new CA, valid about 100 years.</summary>
    public static CertificateAuthority Create(TimeProvider time) => Create("CN=KubeEdge", time);

    /// <summary>The CA whose certificate and key are given in DER.</summary>
    /// <exception cref="CryptographicException">They are not DER, the key is no EC key, or it does not belong to the certificate.</exception>
    /// <exception cref="ArgumentException">The key does not belong to the certificate.</exception>
    public static CertificateAuthority Load(byte[] certificateDer, byte[] keyDer, TimeProvider time)
    {
        using var key = ECDsa.Create();
        key.ImportECPrivateKey(keyDer, out _);
        using var bare = X509CertificateLoader.LoadCertificate(certificateDer);
        return new CertificateAuthority(bare.CopyWithPrivateKey(key), keyDer, time);
    }

    /// <summary>The CA that follows this one, with a subject of its own (a chain of two CAs of one name would be ambiguous), and the new CA's
    /// certificate signed by this one: with it in the chain, a peer that trusts only this CA accepts what the new one issued.</summary>
    public (CertificateAuthority Next, byte[] CrossDer) CreateSuccessor()
    {
        Span<byte> unit = stackalloc byte[4];
        RandomNumberGenerator.Fill(unit);
        var next = Create($"OU={Convert.ToHexStringLower(unit)}, CN=KubeEdge", _time);
        var request = new CertificateRequest(next._certificate.SubjectName, next._certificate.PublicKey, HashAlgorithmName.SHA256);
        AddAuthorityExtensions(request);
        AddIssuerKey(request);
        using var cross = Sign(request, Until(next._certificate.NotAfter.ToUniversalTime()));
        return (next, cross.RawData);
    }

    /// <summary>A serving certificate for the hub: CN and O KubeEdge, valid as long as the CA. Returns it with its key as SEC 1 DER.</summary>
    public (byte[] CertificateDer, byte[] KeyDer) IssueServer(IEnumerable<string> hosts)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("O=KubeEdge, CN=KubeEdge", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        foreach (var host in hosts)
        {
            if (IPAddress.TryParse(host, out var address))
                names.AddIpAddress(address);
            else
                names.AddDnsName(host);
        }

        request.CertificateExtensions.Add(names.Build());
        AddLeafExtensions(request, [ServerAuth]);
        using var certificate = Sign(request, _certificate.NotAfter.ToUniversalTime());
        return (certificate.RawData, key.ExportECPrivateKey());
    }

    /// <summary>A client certificate for the node of a checked request; the subject is the request's.</summary>
    public X509Certificate2 IssueNode(CertificateRequest checkedRequest, TimeSpan lifetime, bool alsoServer)
    {
        var request = new CertificateRequest(checkedRequest.SubjectName, checkedRequest.PublicKey, HashAlgorithmName.SHA256);
        AddLeafExtensions(request, alsoServer ? [ClientAuth, ServerAuth] : [ClientAuth]);
        return Sign(request, Until(_time.GetUtcNow() + lifetime));
    }

    /// <summary>A client certificate with its key, for this process itself.</summary>
    public X509Certificate2 IssueClient(string subject, TimeSpan lifetime)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        AddLeafExtensions(request, [ClientAuth]);
        using var bare = Sign(request, Until(_time.GetUtcNow() + lifetime));
        return bare.CopyWithPrivateKey(key);
    }

    public void Dispose() => _certificate.Dispose();

    private static CertificateAuthority Create(string subject, TimeProvider time)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        AddAuthorityExtensions(request);
        var now = time.GetUtcNow();
        return new CertificateAuthority(request.CreateSelfSigned(now.AddHours(-1), now.AddYears(100)), key.ExportECPrivateKey(), time);
    }

    private DateTimeOffset Until(DateTimeOffset wanted)
        => wanted < _certificate.NotAfter.ToUniversalTime() ? wanted : _certificate.NotAfter.ToUniversalTime();

    private X509Certificate2 Sign(CertificateRequest request, DateTimeOffset until)
    {
        Span<byte> serial = stackalloc byte[16];
        RandomNumberGenerator.Fill(serial);
        // A serial number is a positive integer (RFC 5280 §4.1.2.2).
        serial[0] &= 0x7f;
        serial[0] |= 0x01;
        // For nodes whose clock is slow; but no certificate is older than its CA, and KubeEdge's is as old as its first cloudcore.
        var (from, authority) = (_time.GetUtcNow().AddHours(-1), new DateTimeOffset(_certificate.NotBefore));
        return request.Create(_certificate, from > authority ? from : authority, until, serial);
    }

    private static void AddAuthorityExtensions(CertificateRequest request)
    {
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign | X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
    }

    private void AddLeafExtensions(CertificateRequest request, string[] usages)
    {
        var oids = new OidCollection();
        foreach (var usage in usages)
            oids.Add(new Oid(usage));
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: false, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.KeyEncipherment, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension(oids, critical: false));
        AddIssuerKey(request);
    }

    // Which key signed; a CA from a file may lack the identifier it would refer to.
    private void AddIssuerKey(CertificateRequest request)
    {
        if (_certificate.Extensions.OfType<X509SubjectKeyIdentifierExtension>().FirstOrDefault() is { } key)
            request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(key));
    }
}
