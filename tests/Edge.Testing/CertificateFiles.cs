using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Edge.Testing;

/// <summary>A certificate authority of a test, and what it signs, as PEM files.</summary>
public sealed class CertificateFiles : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly X509Certificate2 _ca;

    public CertificateFiles()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=ca", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        _ca = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        File.WriteAllText(Ca, _ca.ExportCertificatePem());
    }

    /// <summary>The authority's certificate.</summary>
    public string Ca => _directory.File("ca.crt");

    /// <summary>Files of a certificate with this common name, good for a server on 127.0.0.1 and for a client.</summary>
    public (string Certificate, string Key) Issue(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        names.AddDnsName("localhost");
        request.CertificateExtensions.Add(names.Build());
        using var signed = request.Create(_ca, _ca.NotBefore, _ca.NotAfter, Guid.NewGuid().ToByteArray()); // never beyond the issuer's, whatever the second
        var (certificate, keyFile) = (_directory.File(name + ".crt"), _directory.File(name + ".key"));
        File.WriteAllText(certificate, signed.ExportCertificatePem());
        File.WriteAllText(keyFile, key.ExportPkcs8PrivateKeyPem());
        return (certificate, keyFile);
    }

    /// <summary>Lines of mosquitto.conf for a listener that speaks TLS with a certificate of this authority, and asks for one, and for this user's password.</summary>
    public string Mosquitto(string user, string password)
    {
        var (certificate, key) = Issue("mosquitto");
        var passwords = _directory.File("passwords");

        // mosquitto's own hash: $7$ROUNDS$SALT$KEY, PBKDF2 with SHA-512.
        var salt = RandomNumberGenerator.GetBytes(12);
        var hash = Rfc2898DeriveBytes.Pbkdf2(password, salt, 101, HashAlgorithmName.SHA512, 64);
        File.WriteAllText(passwords, $"{user}:$7$101${Convert.ToBase64String(salt)}${Convert.ToBase64String(hash)}\n");
        return $"user root\ncafile {Ca}\ncertfile {certificate}\nkeyfile {key}\nrequire_certificate true\npassword_file {passwords}\nallow_anonymous false";
    }

    public void Dispose()
    {
        _ca.Dispose();
        _directory.Dispose();
    }
}
