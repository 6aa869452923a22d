using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Edge.ApiServer.Auth;

/// <summary>The API's own CA, its serving certificate, the administrator's client certificate and the token key, kept in
/// <c>DATA/pki</c> (directory 0700, keys 0600). Made once; the serving certificate is made anew when the host's name has changed
/// or less than thirty days are left.</summary>
internal sealed class ServerPki : IDisposable
{
    private const int RenewDays = 30;
    private static readonly TimeSpan s_life = TimeSpan.FromDays(3650);

    private ServerPki(X509Certificate2 authority, X509Certificate2 serving, X509Certificate2 admin, ECDsa tokenKey)
    {
        Authority = authority;
        Serving = serving;
        Admin = admin;
        TokenKey = tokenKey;
    }

    /// <summary>The CA, with its key.</summary>
    public X509Certificate2 Authority { get; }

    public X509Certificate2 Serving { get; }

    /// <summary>CN kubernetes-admin, O system:masters.</summary>
    public X509Certificate2 Admin { get; }

    /// <summary>Signs service account tokens (ES256).</summary>
    public ECDsa TokenKey { get; }

    public static ServerPki LoadOrCreate(string dataDirectory, TimeProvider time, string hostName)
    {
        var directory = Path.Combine(dataDirectory, "pki");
        PrivateFiles.CreateDirectory(directory);
        var now = time.GetUtcNow();
        var authority = Load(directory, "ca") ?? Save(directory, "ca", CreateAuthority(now));
        var names = new[] { "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", hostName };
        var serving = Load(directory, "apiserver");
        if (serving is null || serving.NotAfter.ToUniversalTime() < now.UtcDateTime.AddDays(RenewDays) || !serving.MatchesHostname(hostName))
        {
            serving?.Dispose();
            serving = Save(directory, "apiserver", CreateLeaf(authority, "CN=kube-apiserver", names, now));
        }

        var admin = Load(directory, "admin");
        if (admin is null || admin.NotAfter.ToUniversalTime() < now.UtcDateTime.AddDays(RenewDays))
        {
            admin?.Dispose();
            admin = Save(directory, "admin", CreateLeaf(authority, "O=system:masters, CN=kubernetes-admin", null, now));
        }

        return new ServerPki(authority, serving, admin, LoadOrCreateTokenKey(Path.Combine(directory, "sa.key")));
    }

    public void Dispose()
    {
        Authority.Dispose();
        Serving.Dispose();
        Admin.Dispose();
        TokenKey.Dispose();
    }

    /// <summary>The private key of a loaded certificate as PKCS#8 PEM.</summary>
    public static string KeyPem(X509Certificate2 certificate)
    {
        using var key = certificate.GetECDsaPrivateKey() ?? throw new CryptographicException($"{certificate.Subject} has no ECDSA key");
        return key.ExportPkcs8PrivateKeyPem() + "\n";
    }

    public static string CertificatePem(X509Certificate2 certificate) => certificate.ExportCertificatePem() + "\n";

    private static X509Certificate2 CreateAuthority(DateTimeOffset now)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=edge-kubernetes-ca", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign | X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        using var made = request.CreateSelfSigned(now.AddHours(-1), now + s_life);
        return Reload(made, key);
    }

    /// <summary>A client certificate where <paramref name="names"/> is null, else a serving certificate for those and the loopback addresses.</summary>
    private static X509Certificate2 CreateLeaf(X509Certificate2 authority, string subject, IEnumerable<string>? names, DateTimeOffset now)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(names is null ? "1.3.6.1.5.5.7.3.2" : "1.3.6.1.5.5.7.3.1")], critical: false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(authority, includeKeyIdentifier: true, includeIssuerAndSerial: false));
        if (names is not null)
        {
            var alternatives = new SubjectAlternativeNameBuilder();
            foreach (var name in names.Distinct(StringComparer.OrdinalIgnoreCase))
                alternatives.AddDnsName(name);
            alternatives.AddIpAddress(IPAddress.Loopback);
            alternatives.AddIpAddress(IPAddress.IPv6Loopback);
            request.CertificateExtensions.Add(alternatives.Build());
        }

        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] &= 0x7F; // a positive number
        var end = now + s_life < authority.NotAfter ? now + s_life : authority.NotAfter;
        using var made = request.Create(authority, now.AddHours(-1) > authority.NotBefore ? now.AddHours(-1) : authority.NotBefore, end, serial);
        return Reload(made, key);
    }

    /// <summary>A key that is not tied to a native handle of its maker, so that the TLS stack takes it.</summary>
    private static X509Certificate2 Reload(X509Certificate2 certificate, ECDsa key)
        => X509Certificate2.CreateFromPem(certificate.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem());

    private static X509Certificate2? Load(string directory, string name)
    {
        var (certificate, key) = (Path.Combine(directory, name + ".crt"), Path.Combine(directory, name + ".key"));
        return File.Exists(certificate) && File.Exists(key) ? X509Certificate2.CreateFromPemFile(certificate, key) : null;
    }

    private static X509Certificate2 Save(string directory, string name, X509Certificate2 certificate)
    {
        PrivateFiles.Write(Path.Combine(directory, name + ".key"), Encoding.ASCII.GetBytes(KeyPem(certificate)));
        PrivateFiles.Write(Path.Combine(directory, name + ".crt"), Encoding.ASCII.GetBytes(CertificatePem(certificate)));
        return certificate;
    }

    private static ECDsa LoadOrCreateTokenKey(string path)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        if (File.Exists(path))
            key.ImportFromPem(File.ReadAllText(path));
        else
            PrivateFiles.Write(path, Encoding.ASCII.GetBytes(key.ExportPkcs8PrivateKeyPem() + "\n"));
        return key;
    }
}
