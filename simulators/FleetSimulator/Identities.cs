using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Edge.Common.Configuration;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;

namespace Edge.Fleet;

/// <summary>Gives each node a certificate of its own: enrolled with the token as a real node is, or signed here with the CA's key.</summary>
internal sealed class Identities : IDisposable
{
    private const string ClientAuth = "1.3.6.1.5.5.7.3.2";
    private static readonly TimeSpan s_lifetime = TimeSpan.FromDays(7);
    private readonly FleetOptions _options;
    private readonly TimeProvider _time;
    private readonly X509Certificate2? _authority;

    /// <exception cref="ConfigException">The CA's files cannot be used, or there is neither a CA nor a token.</exception>
    public Identities(FleetOptions options, TimeProvider time)
    {
        _options = options;
        _time = time;
        if (options.Token.Length > 0)
            return;
        if (options.CaFile.Length == 0 || options.CaKeyFile.Length == 0)
            throw new ConfigException(["give --token or --token-file, or both --ca-file and --ca-key-file (the Secret kubeedge/casecret holds them as cadata and cakeydata)"]);
        try
        {
            _authority = X509Certificate2.CreateFromPemFile(options.CaFile, options.CaKeyFile);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new ConfigException([$"--ca-file {options.CaFile} and --ca-key-file {options.CaKeyFile} are no usable CA (PEM): {e.Message}"]);
        }
    }

    /// <exception cref="EnrolmentException">CloudCore could not be asked, or refused.</exception>
    public async Task<Credentials> GetAsync(string node, CancellationToken cancellationToken)
    {
        if (_authority is not null)
            return Issue(node);
        var directory = Path.Combine(_options.DataDirectory, "nodes", node);
        var hub = new EdgeHubOptions
        {
            HttpServer = _options.EnrolUrl,
            Token = _options.Token,
            CaFile = Path.Combine(directory, "rootCA.crt"),
            CertificateFile = Path.Combine(directory, "server.crt"),
            KeyFile = Path.Combine(directory, "server.key"),
        };
        var identity = new NodeIdentity(hub, node, _time);
        return identity.Load(out var problem) ?? await identity.EnrolAsync(problem, cancellationToken);
    }

    public void Dispose() => _authority?.Dispose();

    private Credentials Issue(string node)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"O=system:nodes, CN=system:node:{node}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: false, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(ClientAuth)], critical: false));
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] = (byte)((serial[0] & 0x7f) | 0x01); // a positive integer (RFC 5280 §4.1.2.2)
        var now = _time.GetUtcNow();
        using var bare = request.Create(_authority!, now.AddHours(-1), now + s_lifetime, serial);
        return new Credentials(bare.CopyWithPrivateKey(key), _authority!);
    }
}
