using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.Common.Configuration;
using Edge.Core.Configuration;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>What MetaServer serves with.</summary>
/// <param name="AuthorityPem">The CA that pods are to trust; empty where the certificate comes from the config.</param>
internal sealed record ServingCertificate(X509Certificate2 Certificate, string AuthorityPem)
{
    private const int RenewDays = 30;
    private static readonly TimeSpan s_caLife = TimeSpan.FromDays(3650);
    private static readonly TimeSpan s_life = TimeSpan.FromDays(365);

    /// <summary>The configured certificate, or one in <paramref name="directory"/> of a CA of this node's own, which is made at first (keys with mode 0600).</summary>
    /// <param name="addresses">Where it listens, beside loopback.</param>
    /// <exception cref="ConfigException">The configured one cannot be used.</exception>
    /// <exception cref="IOException">The files cannot be written or read.</exception>
    public static ServingCertificate Load(MetaServerOptions options, string directory, IEnumerable<IPAddress> addresses, string clusterDomain, DateTimeOffset now)
    {
        if (options.TlsCertificateFile.Length > 0)
        {
            try
            {
                return new ServingCertificate(X509Certificate2.CreateFromPemFile(options.TlsCertificateFile, options.TlsKeyFile), "");
            }
            catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
            {
                throw new ConfigException([$"modules.metaManager.metaServer.tlsCertFile: {options.TlsCertificateFile} with {options.TlsKeyFile} cannot be used: {e.Message}"]);
            }
        }

        if (!Directory.Exists(directory))
            Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var names = new[] { "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", $"kubernetes.default.svc.{clusterDomain}" };
        var all = addresses.Concat([IPAddress.Loopback, IPAddress.IPv6Loopback]).Distinct().ToList();
        try
        {
            using var authority = Read(directory, "ca") is { } kept && kept.NotAfter.ToUniversalTime() > now.UtcDateTime.AddDays(RenewDays) ? kept : Write(directory, "ca", Authority(now));
            var serving = Read(directory, "server");
            if (serving is null || serving.NotAfter.ToUniversalTime() < now.UtcDateTime.AddDays(RenewDays) || serving.NotBefore.ToUniversalTime() > now.UtcDateTime
                || serving.Issuer != authority.Subject || !IsSignedBy(serving, authority) || !all.TrueForAll(address => serving.MatchesHostname(address.ToString())) || !names.All(name => serving.MatchesHostname(name)))
                serving = Write(directory, "server", Leaf(authority, names, all, now));
            // The form that the TLS stack takes.
            return new ServingCertificate(X509CertificateLoader.LoadPkcs12(serving.Export(X509ContentType.Pkcs12), null), authority.ExportCertificatePem() + "\n");
        }
        catch (CryptographicException e)
        {
            throw new IOException($"the certificates in {directory} cannot be used: {e.Message}; remove the directory, and new ones are made", e);
        }
    }

    private static bool IsSignedBy(X509Certificate2 certificate, X509Certificate2 authority)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(authority);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationFlags = X509VerificationFlags.IgnoreNotTimeValid; // looked at by the caller
        return chain.Build(certificate);
    }

    private static X509Certificate2 Authority(DateTimeOffset now)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        // Each made anew has a name of its own, so that none is taken for another.
        var request = new CertificateRequest($"CN=edge-metaserver-ca, OU={Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(6))}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign | X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        using var made = request.CreateSelfSigned(now.AddDays(-1), now + s_caLife);
        return X509Certificate2.CreateFromPem(made.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem());
    }

    private static X509Certificate2 Leaf(X509Certificate2 authority, IEnumerable<string> names, IEnumerable<IPAddress> addresses, DateTimeOffset now)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=edge-metaserver", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], critical: false));
        // Python's strict checks want it.
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(authority, includeKeyIdentifier: true, includeIssuerAndSerial: false));
        var alternatives = new SubjectAlternativeNameBuilder();
        foreach (var name in names)
            alternatives.AddDnsName(name);
        foreach (var address in addresses)
            alternatives.AddIpAddress(address);
        request.CertificateExtensions.Add(alternatives.Build());
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] &= 0x7F; // a positive number
        var from = now.AddDays(-1) > authority.NotBefore ? now.AddDays(-1) : authority.NotBefore;
        var end = now + s_life < authority.NotAfter ? now + s_life : authority.NotAfter;
        using var made = request.Create(authority, from, end, serial);
        return X509Certificate2.CreateFromPem(made.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem());
    }

    private static X509Certificate2? Read(string directory, string name)
    {
        var (certificate, key) = (Path.Combine(directory, name + ".crt"), Path.Combine(directory, name + ".key"));
        return File.Exists(certificate) && File.Exists(key) ? X509Certificate2.CreateFromPemFile(certificate, key) : null;
    }

    private static X509Certificate2 Write(string directory, string name, X509Certificate2 certificate)
    {
        using var key = certificate.GetECDsaPrivateKey() ?? throw new CryptographicException($"{certificate.Subject} has no ECDSA key");
        Write(Path.Combine(directory, name + ".key"), key.ExportPkcs8PrivateKeyPem() + "\n", UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Write(Path.Combine(directory, name + ".crt"), certificate.ExportCertificatePem() + "\n", UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        return certificate;
    }

    // Written aside and renamed: a power cut leaves no half file.
    private static void Write(string path, string text, UnixFileMode mode)
    {
        File.Delete(path + ".tmp");
        using (var file = new FileStream(path + ".tmp", new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = mode }))
        {
            file.Write(Encoding.ASCII.GetBytes(text));
            file.Flush(flushToDisk: true);
        }

        File.Move(path + ".tmp", path, overwrite: true);
    }
}
